# What there is to do; `just` alone lists it.
default:
    @just --list

# The server, on the development shell's database.
serve *ARGUMENTS: migrate
    cargo run -- serve {{ ARGUMENTS }}

# Brings the database up to date.
migrate:
    cargo run -- migrate up

# Every test, on SQLite and PostgreSQL.
test *ARGUMENTS:
    scripts/test {{ ARGUMENTS }}

# Everything that a change must pass.
check:
    .ci/run

# The reproducible image, loaded into Docker.
image:
    docker load <"$(nix build --no-link --print-out-paths .#image)"
