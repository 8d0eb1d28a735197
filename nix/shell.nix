# The development shell: everything that building, testing and shipping need, and a database of its own.
{
  pkgs,
  craneLib,
  programs,
}:
craneLib.devShell {
  name = "waybill";
  # What scripts and tests call, and what people do besides.
  packages =
    pkgs.lib.unique (builtins.attrValues programs)
    ++ (with pkgs; [
      cargo-audit
      cargo-deny
      cargo-nextest
      cosign
      hadolint
      just
      kubeconform
      kustomize
      nixfmt
      rust-analyzer
      sea-orm-cli
      shellcheck
      skopeo
    ]);
  shellHook = ''
    source ${./database.sh}
  '';
}
