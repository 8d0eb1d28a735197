# The development shell: everything that building, testing and shipping need, and a database of its own.
{ pkgs, craneLib }:
craneLib.devShell {
  name = "waybill";
  packages = with pkgs; [
    cargo-deny
    cargo-nextest
    cosign
    hadolint
    just
    kubeconform
    kubectl
    kustomize
    nixfmt
    postgresql_17
    (lib.getOutput "cli" prometheus) # promtool
    rust-analyzer
    sea-orm-cli
    shellcheck
    skopeo
  ];
  shellHook = ''
    source ${./database.sh}
  '';
}
