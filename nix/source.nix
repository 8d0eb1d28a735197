# The files that builds see; what is not named here does not exist for them. tests/it/shipping_nix.rs reads the two lists
# and fails when the code includes a file that they lack.
{ lib }:
let
  # What the binary is made of.
  package = [
    ../Cargo.lock
    ../Cargo.toml
    ../migration
    ../src
  ];

  # What lints and tests read on top of that.
  checks = [
    ../clippy.toml
    ../docs/openapi.json
    ../docs/sqlite-to-postgresql.md
    ../examples
    ../kustomize
    ../nix/source.nix
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

  sourceOf =
    paths:
    lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions (map lib.fileset.maybeMissing paths);
    };
in
{
  package = sourceOf package;
  checks = sourceOf (package ++ checks);
  manifests = sourceOf manifests;
  nix = sourceOf nix;
}
