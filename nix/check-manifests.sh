#!/usr/bin/env bash
# Usage: check-manifests.sh KUSTOMIZE
# Fails unless every overlay below KUSTOMIZE builds, without a word on standard error. The example secrets stand in for
# the real ones, which are in no repository.
set -euo pipefail

work=$(mktemp -d)
cp -R "$1/." "$work"
chmod -R u+w "$work"
mapfile -t examples < <(find "$work" -name secret.env.example)
for example in "${examples[@]}"; do
  cp "$example" "${example%.example}"
done

built=0
for overlay in "$work"/overlays/*/; do
  [[ -d $overlay ]] || continue
  kubectl kustomize "$overlay" >"$work/manifests" 2>"$work/warnings" || true
  if [[ -s $work/warnings ]]; then
    echo "manifests: $(basename "$overlay") does not build cleanly:" >&2
    cat "$work/warnings" >&2
    exit 1
  fi
  [[ -s $work/manifests ]]
  built=$((built + 1))
done
((built > 0)) || { echo "manifests: there are no overlays in $1" >&2; exit 1; }
echo "$built overlays built"
