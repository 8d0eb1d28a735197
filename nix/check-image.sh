#!/usr/bin/env bash
# Usage: check-image.sh IMAGE CLOSURE BINARY
# Fails unless IMAGE, an archive as `docker load` takes it, is what a hardened cluster expects. CLOSURE lists its store
# paths, and BINARY is the one of them that it starts.
set -euo pipefail

fail() {
  echo "image: $*" >&2
  exit 1
}

# Fails unless the image's configuration has this property.
configured() {
  jq --exit-status "$1" "$config" >/dev/null || fail "its configuration lacks: $1"
}

work=$(mktemp -d)
tar -xf "$1" -C "$work"
config=$work/$(jq --raw-output '.[0].Config' "$work/manifest.json")

configured '.created == "1970-01-01T00:00:01+00:00" or .created == "1970-01-01T00:00:01Z"'
configured '.config.User | test("^[1-9][0-9]*:[1-9][0-9]*$")'
configured '.config.Cmd == ["serve"]'
configured '.config.StopSignal == "SIGTERM"'
configured '.config.Healthcheck.Test[-2:] == ["--path", "/readyz"]'
configured '.config.ExposedPorts | has("3000/tcp") and has("9090/tcp")'
for label in title description version revision source licenses; do
  configured ".config.Labels[\"org.opencontainers.image.$label\"] | length > 0"
done

mapfile -t layers < <(jq --raw-output '.[0].Layers[]' "$work/manifest.json")
((${#layers[@]} > 1 && ${#layers[@]} <= 100)) || fail "it has ${#layers[@]} layers"
for layer in "${layers[@]}"; do
  tar --list --absolute-names --verbose --numeric-owner --file "$work/$layer"
done >"$work/files"

for file in .$(jq --raw-output '.config.Entrypoint[0]' "$config") ./etc/passwd ./etc/ssl/certs/ca-bundle.crt; do
  grep --quiet --extended-regexp " ${file//./\\.}( -> .*)?\$" "$work/files" || fail "it lacks $file"
done
# A scanner reads there which crates are in the binary.
grep --quiet --text --fixed-strings .dep-v0 "$3" || fail 'its binary does not say which crates are in it'
! grep --extended-regexp '/s?bin/((ba|da|a|z|k)?sh|busybox)( -> .*)?$' "$work/files" || fail 'it has a shell'
! grep --extended-regexp '/s?bin/(rustc|cargo|cc|gcc|clang|ld)( -> .*)?$' "$work/files" || fail 'it has a compiler'
! grep --extended-regexp '^-[rwx-]*s' "$work/files" || fail 'it has a file that runs as another user'
! grep --extended-regexp -- '-(rustc?|cargo|gcc-wrapper|clang|bash)-[^/]*$' "$2" || fail 'its closure has a toolchain'
