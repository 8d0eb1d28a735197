set positional-arguments

# Everything that can be done here; `just` alone prints it.
[private]
default:
    @just --list --unsorted

# The server, on the development shell's database.
[group('develop')]
serve *ARGUMENTS: migrate
    cargo run -- serve "$@"

# Bring the database up to date.
[group('develop')]
migrate:
    cargo run -- migrate up

# The release history of a public project, put into a server and printed as a matrix.
[group('develop')]
replay *ARGUMENTS:
    cargo run --example replay -- "$@"

# Every test, on SQLite and PostgreSQL, or those whose names contain NAME; --yes installs what they start.
[group('develop')]
test *NAME:
    scripts/test "$@"

# Everything that a change must pass.
[group('check')]
check:
    .ci/run

# All of that, and what takes longer.
[group('check')]
check-full:
    .ci/full

# README's two commands in a fresh clone: the server, then every test.
[group('check')]
check-readme:
    scripts/check-readme

# Whatever ships Waybill, with its linters: manifests, images, pipeline, scripts, rules.
[group('check')]
lint-shipping *STEP:
    scripts/lint-shipping "$@"

# docs/openapi.json, with an OpenAPI linter.
[group('check')]
lint-openapi:
    scripts/lint-openapi

# Generated requests to a server of their own, every answer checked against the OpenAPI document.
[group('check')]
schemathesis *ARGUMENTS:
    scripts/schemathesis "$@"

# Prometheus' rules and their unit tests; --write copies the rules to where Prometheus reads them.
[group('check')]
check-rules *ARGUMENTS:
    scripts/check-rules "$@"

# Every query of rules and dashboard, on a real Prometheus.
[group('check')]
check-queries *ARGUMENTS:
    scripts/check-queries "$@"

# Reports of Trivy and Grype below DIR, counted a second time.
[group('check')]
check-reports +DIR:
    scripts/check-reports "$@"

# Migrations as installations run them, on the server that WAYBILL_TEST_DATABASE_URL names.
[group('check')]
check-migrations:
    cargo build --locked
    scripts/ci/check_migrations.sh "${CARGO_TARGET_DIR:-target}/debug"

# The image, the script that runs it, and both compose files; needs Docker.
[group('check')]
check-docker *ARGUMENTS:
    scripts/check-docker "$@"

# What the documents show, run: the page about containers, backups, operations, Kubernetes, releases; needs Docker.
[group('check')]
check-docs *ARGUMENTS:
    scripts/check-docs "$@"

# How new versions and digests come in: Renovate's own reading of this work tree.
[group('check')]
check-renovate:
    scripts/check-renovate

# The Nix build, its outputs and that it is reproducible; needs Nix.
[group('check')]
check-nix:
    scripts/check-nix

# What a server does per second, beside what the machine could do at best.
[group('measure')]
bench *ARGUMENTS:
    scripts/bench "$@"

# What a server costs that only stands by: time to readiness, memory, size.
[group('measure')]
footprint:
    scripts/footprint

# The pictures of the README, made anew.
[group('check')]
screenshots:
    scripts/screenshots

# What the board costs the server and a browser.
[group('check')]
page-figures:
    scripts/page-figures

# What the tests of people run from npm, outside of the checkout.
[group('check')]
people-packages:
    scripts/people-packages

# The reproducible image, loaded into Docker.
[group('ship')]
image:
    docker load <"$(nix build --no-link --print-out-paths .#image)"

# The image by Docker, verified and tagged by commit.
[group('ship')]
build-image *ARGUMENTS:
    scripts/build_image.sh "$@"

# One container with its data on a volume: start, stop, restart, status, logs.
[group('run')]
container *ARGUMENTS:
    scripts/container.sh "$@"

# A kind cluster with everything in it.
[group('run')]
kind *ARGUMENTS:
    scripts/kind_up.sh "$@"

# An overlay into a cluster, with a smoke test and the way back.
[group('run')]
deploy *ARGUMENTS:
    scripts/deploy_k8s.sh "$@"

# An environment back to what ran before.
[group('run')]
rollback *ARGUMENTS:
    scripts/rollback_k8s.sh "$@"

# One verified backup of a ledger, while its server runs.
[group('run')]
backup *ARGUMENTS:
    scripts/backup.sh "$@"

# A backup in the place of the ledger.
[group('run')]
restore *ARGUMENTS:
    scripts/restore.sh "$@"
