# Everything that `nix flake check` proves.
{
  pkgs,
  programs,
  craneLib,
  common,
  source,
  package,
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
      # All but what runs packages from npm, which the sandbox does not reach.
      cargoTestExtraArgs = "--test it -- --skip people::issuer --skip people::browser --skip people::pages_browser --skip people::stories --skip people::hostile --skip people::auditor";
      nativeCheckInputs = [
        programs.flock
        programs.jq
        programs.kubectl
        programs.psql
        programs.python3 # the cluster that is played
        programs.sqlite3
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

  # What `.ci/run` looks at beside Rust, as far as its tools are in nixpkgs: the schemas of every Kubernetes
  # (kubernetes-validate) and the examples for Jenkins (groovy-parser) are not.
  shipping =
    pkgs.runCommand "waybill-shipping"
      {
        nativeBuildInputs = [
          pkgs.actionlint
          pkgs.check-jsonschema
          pkgs.checkov
          pkgs.hadolint
          pkgs.shellcheck
          programs.jq
          programs.kubectl
          programs.prometheus
          programs.promtool
          programs.python3
        ];
      }
      ''
        cp -r ${source.checks} source
        chmod -R u+w source
        cd source
        patchShebangs --build scripts
        export HOME=$TMPDIR TOOLS_FROM_PATH=1
        scripts/lint-shipping checkov dockerfile schemas workflows documents shell rules
        touch $out
      '';

  # Every program that a script or a test calls is in the package that is said to have it.
  programs =
    pkgs.runCommand "waybill-programs"
      {
        files = lib.mapAttrsToList (name: package: "${lib.getBin package}/bin/${name}") programs;
      }
      ''
        for file in $files; do
          test -x "$file" || { echo "there is no $file" >&2 && exit 1; }
        done
        touch $out
      '';

  image =
    pkgs.runCommand "waybill-image-check"
      {
        nativeBuildInputs = [ pkgs.jq ];
        closure = pkgs.writeClosure imageArguments.contents;
      }
      ''
        bash ${./check-image.sh} ${image} $closure ${lib.getExe package}
        touch $out
      '';
}
