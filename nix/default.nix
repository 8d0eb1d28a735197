# What the flake offers for one system.
{
  pkgs,
  crane,
  revision,
}:
let
  inherit (pkgs) lib;
  craneLib = crane.mkLib pkgs;
  source = import ./source.nix { inherit lib; };
  inherit (craneLib.crateNameFromCargoToml { cargoToml = ../Cargo.toml; }) version;

  # Every step takes these, so that all of them agree on what a dependency is and none builds it again. The workspace is
  # named because its root is a package too.
  common = {
    pname = "waybill";
    inherit version;
    cargoExtraArgs = "--locked --workspace";
    strictDeps = true;
  };

  package = import ./package.nix {
    inherit lib craneLib common;
    inherit (pkgs) cargo-auditable;
    src = source.package;
  };
  imageArguments = import ./image.nix {
    inherit pkgs package revision;
  };
  image = pkgs.dockerTools.buildLayeredImage imageArguments;
  formatter = pkgs.writeShellScriptBin "format-nix" ''
    exec ${lib.getExe pkgs.nixfmt} "$@" flake.nix nix/*.nix
  '';
  programs = import ./programs.nix { inherit pkgs; };
  checks = import ./checks.nix {
    inherit
      pkgs
      programs
      craneLib
      common
      source
      package
      image
      imageArguments
      formatter
      ;
  };
in
{
  inherit
    package
    image
    formatter
    checks
    ;
  # The same image as a script that writes it to its standard output: nothing large is stored.
  image-stream = pkgs.dockerTools.streamLayeredImage imageArguments;
  shell = import ./shell.nix { inherit pkgs craneLib programs; };
}
