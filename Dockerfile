# The worker, and nothing else. The binary is built outside, so that no base
# image has to be pulled; it carries its own root certificates.
#
#   CGO_ENABLED=0 go build -trimpath -o bin/worker ./cmd/worker
#   docker build -t passcode-worker .
FROM scratch

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="passcode-worker" \
      org.opencontainers.image.description="Sends passcodes by SMS: takes jobs from NATS JetStream, calls Aliyun, announces what became of each" \
      org.opencontainers.image.source="https://github.com/passcode-worker/passcode-worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY bin/worker /worker

# Not root: nothing in the container needs to be written. With nats.embedded a
# volume that this user may write belongs at nats.embedded.store_dir.
USER 65532:65532

# It asks the worker itself whether it is ready: scratch has no shell and no curl.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/worker", "health"]

# SIGTERM, Docker's own signal, lets the jobs in hand finish; give it longer than
# worker.shutdown_timeout (30s): docker run --stop-timeout 40.
ENTRYPOINT ["/worker"]
CMD ["run"]
