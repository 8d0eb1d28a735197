#!/usr/bin/env bash
# Lists what is in an image, by Syft: the crates that its binary names, and the packages of Debian or Nix around them.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/ci/sbom.sh SOURCE NAME

SOURCE is what Syft takes, such as docker-archive:image.tar (not compressed) or registry:REPOSITORY@sha256:….
Writes NAME.cdx.json (CycloneDX), and NAME.syft.json for `grype sbom:NAME.syft.json`. Fails where either the C library or the
crates are not in it: a scan of such a list would find nothing, and look as if there was nothing to find.
TEXT
}

case $#,${1-} in
  1,-h | 1,--help)
    usage
    exit
    ;;
  2,[!-]*) ;;
  *)
    usage >&2
    exit 2
    ;;
esac
source=$1 name=$2

SYFT_CHECK_FOR_APP_UPDATE=false syft scan --quiet "$source" --output "syft-json=$name.all.json" --output "cyclonedx-json=$name.cdx.json"
# Of a path in Nix's store Syft knows the name and not whose it is, and Grype looks for GNU's library.
jq '.artifacts |= map(if .type == "nix" and .name == "glibc" then
      .cpes += [{cpe: "cpe:2.3:a:gnu:glibc:\(.version):*:*:*:*:*:*:*", source: "declared"}] else . end)' \
  "$name.all.json" >"$name.syft.json"
rm "$name.all.json"
jq --raw-output --exit-status '
  (.artifacts | map(select(.type == "rust-crate")) | length) as $crates
  | (.artifacts | map(select(.name | IN("glibc", "libc6", "musl"))) | first) as $libc
  | if $crates > 0 and $libc then "\($crates) crates, \($libc.name) \($libc.version) (\($libc.type)), \(.artifacts | length) in all"
    else "sbom.sh: it names \($crates) crates and \(if $libc then "a" else "no" end) C library\n" | halt_error(1) end' "$name.syft.json"
