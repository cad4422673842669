# Every task is one command, the first included: each installs what it needs and is missing.
# The work is done by scripts in .ci, which can be called without make.
.DEFAULT_GOAL := help
.PHONY: help setup run demo release test test-kernels bench beside churn lint fuzz fmt static image containers clean ci

TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
# Arguments for the agent: make run ARGS="--help"
ARGS ?=
CHURN_SECONDS ?= 60
# make setup SETUP="test kernels"; .ci/setup names the groups.
SETUP ?= build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

setup: ## install what the build needs (SETUP="all" for every task's needs)
	@.ci/setup $(SETUP)

run: ## build the agent and run it here, as root (ARGS="..." for its flags); needs no cluster
	@.ci/setup build
	cargo build --release --locked
	@.ci/root $(TARGET_DIR)/release/scope-http-requests $(ARGS)

demo: ## the agent, a server and a load that rises and falls, in the live table; q ends it
	@.ci/setup build demo
	cargo build --release --locked
	@.ci/root deploy/demo/run $(TARGET_DIR)/release/scope-http-requests

test: ## every test that runs on this machine's own kernel
	@.ci/setup test
	@.ci/test

test-kernels: ## the cases on stock Debian kernels in QEMU (KERNELS="6.1 arm64:6.12")
	@.ci/setup kernels:amd64 kernels:arm64
	@.ci/test-kernels $(KERNELS)

bench: ## the figures of docs/performance.md, measured here (BENCH_RECORD=1 keeps them)
	@.ci/setup test
	@.ci/bench

PEER ?=
beside: ## this agent's counts and cost by nginx's own, and another tool's (PEER="./beyla")
	@.ci/setup test kernels:amd64
	@.ci/beside $(PEER)

churn: ## memory of the agent while 10 pods a second come and go (CHURN_SECONDS=60)
	@.ci/setup build
	cargo run --release --locked --example churn -- $(CHURN_SECONDS)

lint: ## formatting, clippy, docs, licences, shellcheck
	@.ci/setup lint
	@.ci/lint

fuzz: ## every fuzz target, FUZZ_SECONDS each (60)
	@.ci/setup fuzz
	@.ci/fuzz

fmt: ## format the Rust code
	cargo fmt --all

ARCH ?=
static: ## a static binary, for images and for kernels in QEMU (ARCH=arm64)
	@.ci/setup build:$(ARCH)
	@.ci/static $(ARCH)

image: ## what the image would contain, built and run in an empty folder, for both architectures
	@.ci/setup kernels:amd64 kernels:arm64
	@.ci/image amd64 arm64

release: ## what a tag would publish, built and checked in target/dist; publishes nothing
	@.ci/setup release
	@rm -rf $(TARGET_DIR)/dist
	@.ci/release $(TARGET_DIR)/dist

containers: ## the chart's pods, run as containers by runc
	@.ci/setup containers
	@.ci/containers

ci: ## all that must pass before a change lands
	@.ci/run

clean: ## remove what was built (not the cache outside the clone)
	cargo clean
