# shellcheck shell=bash
# Sourced by the scripts that need Prometheus' programs.

# Puts prometheus and promtool on the PATH. Debian's package is unpacked and not installed: it would start a Prometheus.
need_prometheus() {
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/waybill/prometheus download
  PATH=$PATH:$cache/usr/bin
  if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    return
  fi
  download=$(mktemp -d)
  mkdir -p "$cache"
  if ! (
    cd "$download"
    apt-get download prometheus >&2 || { apt-get update >&2 && apt-get download prometheus >&2; }
    dpkg -x prometheus_*.deb "$cache"
  ); then
    rm -rf "$download"
    echo 'Prometheus is missing: https://prometheus.io/download, or on Debian apt-get install prometheus' >&2
    return 1
  fi
  rm -rf "$download"
}
