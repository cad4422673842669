# syntax=docker/dockerfile:1
# Builds the agent, with the kernel side embedded, into an image that holds nothing but the static binary:
#
#   docker buildx build --platform linux/amd64,linux/arm64 .
#
# The compiler runs on the machine that builds, whatever it builds for; nothing of another architecture is run.
#
# The base is pinned by tag. No digest is given here because none could be verified when this was written: add the one
# your registry shows (FROM rust:1.95.0-slim-bookworm@sha256:...) to build the same image every time.

FROM --platform=$BUILDPLATFORM rust:1.95.0-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src

COPY rust-toolchain.toml ./
COPY .ci/lib.sh .ci/setup .ci/static .ci/
RUN .ci/setup build
# BuildKit and buildah set it, and a default here would win over it.
ARG TARGETARCH
RUN . .ci/lib.sh && rustup target add "$(machine_of "$TARGETARCH")-unknown-linux-gnu" && .ci/setup "build:$TARGETARCH"

COPY Cargo.toml Cargo.lock ./
COPY common common
COPY probe-ebpf probe-ebpf
COPY agent agent
# What `--version` names; the repository itself is not copied.
ARG COMMIT=unknown
# Static: the image has no C library.
RUN SCOPE_HTTP_REQUESTS_COMMIT="$COMMIT" .ci/static "$TARGETARCH" --output /scope-http-requests --bin scope-http-requests

FROM scratch
ARG VERSION=unknown
ARG COMMIT=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="scope-http-requests" \
      org.opencontainers.image.description="Counts the HTTP requests every process receives, inside the kernel, and shows them in Weave Scope" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /scope-http-requests /scope-http-requests
# Root by necessity: loading BPF needs BPF and PERFMON in the effective set, which Kubernetes gives to root only.
# hadolint ignore=DL3002
USER 0:0
ENTRYPOINT ["/scope-http-requests"]
