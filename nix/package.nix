# The binary. It knows its version and not its commit: sources that are the same give the same bits, whatever commit they
# are in. The migrations are compiled into it.
{
  lib,
  cargo-auditable,
  craneLib,
  common,
  src,
}:
let
  arguments = common // {
    inherit src;
    # The tests are checks of their own, built with debug assertions and from more files.
    doCheck = false;
  };
in
craneLib.buildPackage (
  arguments
  // {
    # Nothing is linted here, so that the dependencies need not be checked before they are built.
    cargoArtifacts = craneLib.buildDepsOnly (arguments // { cargoCheckCommand = "true"; });
    # The binary says which crates are in it, so that a scanner of the image knows them without this source.
    nativeBuildInputs = [ cargo-auditable ];
    cargoBuildCommand = "cargo auditable build --release";
    meta = {
      description = "A self-hosted deployment ledger and release gate";
      license = lib.licenses.asl20;
      mainProgram = "waybill";
      platforms = lib.platforms.linux;
    };
  }
)
