# syntax=docker/dockerfile:1
# Builds the agent, with the kernel side embedded, into an image that holds nothing but the static binary.
#
# The base is pinned by tag. No digest is given here because none could be verified when this was written: add the one
# your registry shows (FROM rust:1.95.0-slim-bookworm@sha256:...) to build the same image every time.

FROM rust:1.95.0-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src

# Debian's second Rust compiler brings a core library for BPF, and LLVM 22 links what it makes (agent/build.rs).
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        rustc-web cargo-web libstd-rust-web-dev-bpf llvm-22-dev libzstd-dev zlib1g-dev g++ make \
    && rm -rf /var/lib/apt/lists/*
RUN LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --locked --no-default-features --features llvm-22

COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY common common
COPY probe-ebpf probe-ebpf
COPY agent agent
# Static: the image has no C library. BuildKit sets TARGETARCH, and a default here would win over it; an older builder sets
# nothing, and builds for the machine it runs on.
ARG TARGETARCH
# What `--version` names; the repository itself is not copied.
ARG COMMIT=unknown
RUN architecture="${TARGETARCH:-$(dpkg --print-architecture)}" \
    && case "$architecture" in amd64) arch=x86_64 ;; arm64) arch=aarch64 ;; *) echo "no build for $architecture" >&2; exit 1 ;; esac \
    && target="$arch-unknown-linux-gnu" \
    && SCOPE_HTTP_REQUESTS_COMMIT="$COMMIT" RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --bin scope-http-requests --target "$target" \
    && strip --strip-debug -o /scope-http-requests "target/$target/release/scope-http-requests"

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="scope-http-requests" \
      org.opencontainers.image.description="Counts the HTTP requests every process receives, inside the kernel, and shows them in Weave Scope" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /scope-http-requests /scope-http-requests
# Root by necessity: loading BPF needs BPF and PERFMON in the effective set, which Kubernetes gives to root only.
# hadolint ignore=DL3002
USER 0:0
ENTRYPOINT ["/scope-http-requests"]
