# The worker, and nothing else. The binary is built outside, so that no base
# image has to be pulled; it is static and carries its own root certificates.
# "make images" builds for the machine at hand, as these two lines do:
#
#   CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags='-s -w' -o bin/linux/$(go env GOARCH)/ ./cmd/worker
#   docker build --build-arg TARGETARCH=$(go env GOARCH) -t passcode-worker .
#
# One image for several architectures: build the binary for each, and name them.
# Nothing is run while the image is built, so no emulation of a CPU is needed; only
# a builder that can make such images ("docker buildx create --use").
#
#   CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -ldflags='-s -w' -o bin/linux/amd64/ ./cmd/worker
#   CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -trimpath -ldflags='-s -w' -o bin/linux/arm64/ ./cmd/worker
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/passcode-worker:TAG --push .
FROM scratch

# BuildKit sets it for each platform. It has no default here, which would win over
# that; the older builder, which sets nothing, is told with --build-arg.
ARG TARGETARCH

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="passcode-worker" \
      org.opencontainers.image.description="Sends passcodes by SMS: takes jobs from NATS JetStream, calls Aliyun, announces what became of each" \
      org.opencontainers.image.source="https://github.com/passcode-worker/passcode-worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY bin/linux/${TARGETARCH:-amd64}/worker /worker

# Not root: nothing in the container needs to be written. With nats.embedded a
# volume that this user may write belongs at nats.embedded.store_dir.
USER 65532:65532

# It asks the worker itself whether it is ready: scratch has no shell and no curl.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/worker", "health"]

# SIGTERM, Docker's own signal, lets the jobs in hand finish; give it longer than
# worker.shutdown_timeout (30s): docker run --stop-timeout 40.
ENTRYPOINT ["/worker"]
CMD ["run"]
