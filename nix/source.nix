# The files that builds see; what is not named here does not exist for them. tests/it/shipping/nix.rs reads the two lists
# and fails when the code includes a file that they lack.
{ lib }:
let
  # What the binary is made of.
  package = [
    ../.cargo/config.toml
    ../Cargo.lock
    ../Cargo.toml
    ../NOTICE
    ../askama.toml
    ../migration
    ../src
  ];

  # What lints and tests read on top of that.
  checks = [
    ../.checkov.yaml
    ../.ci
    ../.dockerignore
    ../.env.example
    ../.github
    ../.gitignore
    ../.gitlab
    ../.gitlab-ci.yml
    ../Dockerfile
    ../README.md
    ../benches
    ../clippy.toml
    ../docker-compose.prod.yml
    ../docker-compose.yml
    ../docs
    ../examples
    ../flake.nix
    ../justfile
    ../kustomize
    ../monitoring
    ../nix
    ../renovate.json
    ../rustfmt.toml
    ../scripts
    ../tests
  ];

  manifests = [
    ../kustomize
  ];

  nix = [
    ../flake.nix
    ../nix
  ];

  # What use leaves in a work tree: databases, tokens, secrets. In a git repository Nix does not see them anyway; built by
  # `path:` they would be copied into its store, which everybody can read.
  ignored = lib.fileset.fileFilter (
    file:
    file.hasExt "db"
    || file.hasExt "db-lock"
    || file.hasExt "db-shm"
    || file.hasExt "db-wal"
    || file.name == "admin.token"
    || file.name == "secret.env"
    || file.name == ".env"
  ) ../.;

  sourceOf =
    paths:
    let
      listed = lib.fileset.unions (map lib.fileset.maybeMissing paths);
    in
    lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.difference listed ignored;
    };
in
{
  package = sourceOf package;
  checks = sourceOf (package ++ checks);
  manifests = sourceOf manifests;
  nix = sourceOf nix;
}
