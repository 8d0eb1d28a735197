# Everything that `nix flake check` proves.
{
  pkgs,
  craneLib,
  common,
  source,
  image,
  imageArguments,
  formatter,
}:
let
  inherit (pkgs) lib;

  # The profile of the tests, whose dependencies are built once for all of these checks.
  arguments = common // {
    src = source.checks;
    CARGO_PROFILE = "dev";
  };
  withDependencies = arguments // {
    cargoArtifacts = craneLib.buildDepsOnly arguments;
    doInstallCargoArtifacts = false;
  };
in
{
  fmt = craneLib.cargoFmt {
    inherit (common) pname version;
    src = source.checks;
    cargoExtraArgs = "--all";
    doInstallCargoArtifacts = false;
    nativeBuildInputs = [ formatter ];
    preBuild = "(cd ${source.nix} && format-nix --check)";
  };

  clippy = craneLib.cargoClippy (
    withDependencies // { cargoClippyExtraArgs = "--all-targets -- --deny warnings"; }
  );

  doc = craneLib.cargoDoc (
    withDependencies
    // {
      cargoDocExtraArgs = "--no-deps --document-private-items";
      env.RUSTDOCFLAGS = "--deny warnings";
    }
  );

  # What needs no database server.
  test = craneLib.cargoTest (withDependencies // { cargoTestExtraArgs = "--lib --bins --examples"; });

  # The whole system, on SQLite and on a PostgreSQL server that the tests start inside the sandbox.
  integration = craneLib.cargoTest (
    withDependencies
    // {
      pname = "waybill-integration";
      cargoTestExtraArgs = "--test it";
      nativeCheckInputs = [
        pkgs.jq
        pkgs.kubectl
        pkgs.postgresql_17
        pkgs.python3 # the cluster that is played
        pkgs.sqlite
        pkgs.util-linuxMinimal # flock
      ];
      # The sandbox has neither certificates nor a home nor /usr/bin/env.
      env.SSL_CERT_FILE = "${pkgs.cacert}/etc/ssl/certs/ca-bundle.crt";
      preCheck = ''
        export HOME=$TMPDIR
        patchShebangs --build .
      '';
    }
  );

  manifests = pkgs.runCommand "waybill-manifests" { nativeBuildInputs = [ pkgs.kubectl ]; } ''
    bash ${./check-manifests.sh} ${source.manifests}/kustomize
    touch $out
  '';

  image =
    pkgs.runCommand "waybill-image-check"
      {
        nativeBuildInputs = [ pkgs.jq ];
        closure = pkgs.writeClosure imageArguments.contents;
      }
      ''
        bash ${./check-image.sh} ${image} $closure
        touch $out
      '';
}
