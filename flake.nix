{
  description = "Waybill, a self-hosted deployment ledger and release gate";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
  };

  outputs =
    {
      self,
      nixpkgs,
      crane,
    }:
    let
      inherit (nixpkgs) lib;
      revision = self.rev or self.dirtyRev or "unknown";
      waybillFor =
        system:
        import ./nix {
          inherit crane revision;
          pkgs = nixpkgs.legacyPackages.${system};
        };
      forEachSystem =
        outputs:
        lib.genAttrs [
          "x86_64-linux"
          "aarch64-linux"
        ] (system: outputs (waybillFor system));
    in
    {
      packages = forEachSystem (waybill: {
        inherit (waybill) image image-stream;
        waybill = waybill.package;
        default = waybill.package;
      });
      apps = forEachSystem (waybill: {
        default = {
          type = "app";
          program = lib.getExe waybill.package;
          inherit (waybill.package) meta;
        };
      });
      checks = forEachSystem (waybill: waybill.checks);
      devShells = forEachSystem (waybill: {
        default = waybill.shell;
      });
      formatter = forEachSystem (waybill: waybill.formatter);
    };
}
