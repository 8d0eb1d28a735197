# Targets: `runtime` (the last, so the default) is the image that is shipped; `development` rebuilds and restarts the
# server whenever the mounted source changes. Both need BuildKit, and nothing but its built-in front end.

# The version is that of rust-toolchain.toml; the Debian release is that of the runtime image, whose C library it needs.
FROM rust:1.95-slim-trixie AS rust
# The toolchain is the image's own: rustup must not fetch another because a file in the work tree names one.
ENV RUSTUP_TOOLCHAIN=$RUST_VERSION
WORKDIR /src


FROM rust AS chef
ARG CARGO_AUDITABLE_VERSION=0.7.7
ARG CARGO_CHEF_VERSION=0.1.78
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo install --locked --debug "cargo-auditable@$CARGO_AUDITABLE_VERSION" "cargo-chef@$CARGO_CHEF_VERSION"


# Reduces the source to what the dependencies depend on, so that their layer outlives every change but that of a manifest.
FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json


FROM chef AS build
# Fat link-time optimisation, as in Cargo.toml's release profile, would take minutes for each change.
ENV CARGO_INCREMENTAL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
COPY --from=plan /recipe.json /recipe.json
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo chef cook --release --locked --bin waybill --recipe-path /recipe.json
COPY . .
# The binary says which crates are in it, so that a scanner of the image knows them without this source.
# The incremental state is a cache and no layer: without it the same binary is built, only not as soon.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,id=waybill-incremental,target=/src/target/release/incremental,sharing=locked \
    cargo auditable build --release --locked --bin waybill && install -d -m 0700 /data/waybill


FROM rust AS development
# Debian's stable release keeps one version of a package.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bacon \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -m 1777 /var/cache/waybill
# All that is written is below one directory, so that a volume can keep it and the rest can be read-only. It is open to every
# user, because docker-compose.yml may run this as the one who owns the source.
ENV HOME=/var/cache/waybill \
    CARGO_HOME=/var/cache/waybill/cargo \
    CARGO_TARGET_DIR=/var/cache/waybill/target \
    PATH=/var/cache/waybill/target/debug:$PATH \
    WAYBILL__SERVER__LISTEN=0.0.0.0:3000
USER 65532:65532
EXPOSE 3000
STOPSIGNAL SIGTERM
# The first start compiles every dependency.
HEALTHCHECK --interval=5s --timeout=5s --start-period=15m CMD ["waybill", "healthcheck"]
CMD ["bacon", "--headless", "serve"]


FROM gcr.io/distroless/cc-debian13:nonroot AS runtime
COPY LICENSE NOTICE /usr/share/doc/waybill/
# The SQLite database and the admin token that the first start makes. It is no VOLUME: with PostgreSQL nothing is
# written, and an anonymous volume would be a writable place below a read-only root that nobody asked for.
COPY --from=build --chown=65532:65532 /data/ /var/lib/
COPY --from=build --chown=root:root --chmod=0755 /src/target/release/waybill /usr/local/bin/waybill
WORKDIR /var/lib/waybill
ENV WAYBILL__SERVER__LISTEN=0.0.0.0:3000 \
    XDG_STATE_HOME=/var/lib/waybill/.state
USER 65532:65532
EXPOSE 3000 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/waybill", "healthcheck", "--path", "/readyz"]
ENTRYPOINT ["/usr/local/bin/waybill"]
CMD ["serve"]
# Last, because they differ for every commit.
ARG VERSION=unknown
ARG REVISION=unknown
ENV WAYBILL_COMMIT=$REVISION
LABEL org.opencontainers.image.title="Waybill" \
      org.opencontainers.image.description="A self-hosted deployment ledger and release gate" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian13:nonroot" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION
