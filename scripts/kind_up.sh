#!/usr/bin/env bash
# A cluster on this machine with everything in it: what the overlays ask of a cluster, and Waybill as one of them has it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/render.sh
source scripts/lib/render.sh

cluster=waybill
# What the image is called in the nodes.
named=registry.example.com/waybill:kind
host=waybill.localhost
port=8443
# What a cluster must bring, from the internet. Versions are pinned; Renovate does not see them.
traefik=39.0.8
metrics_server=3.13.0
prometheus_stack=87.17.0

usage() {
  cat <<TEXT
usage: scripts/kind_up.sh [dev|staging|prod] [--image IMAGE] [--no-monitoring]
       scripts/kind_up.sh down

Makes the kind cluster \`$cluster\` (three nodes, two zones), installs Traefik, metrics-server, Prometheus and Grafana,
and deploys the overlay (prod, when none is named) with the image of this work tree and passwords of its own. Then it
prints where Waybill is and its admin token. Running it again brings the same cluster up to date; \`down\` deletes it.

  --image IMAGE     load this image of the local Docker, instead of building one by scripts/build_image.sh
  --no-monitoring   without Prometheus and Grafana, and without the monitoring of the overlay

Needs docker, kind, kubectl, helm, jq and openssl, and the internet for charts and images (not for ours).
TEXT
}

fail() {
  echo "kind_up: $*" >&2
  exit 1
}

step() {
  echo "==> $*" >&2
}

# Sets `task`, `overlay`, `image` and `monitoring`.
read_options() {
  task=up overlay=prod image='' monitoring=1
  while (($# > 0)); do
    case $1 in
      dev | staging | prod) overlay=$1 ;;
      down) task=down ;;
      --no-monitoring) monitoring='' ;;
      --image)
        [[ -n ${2-} ]] || fail '--image needs a name'
        image=$2
        shift
        ;;
      -h | --help)
        usage
        exit
        ;;
      *) fail "'$1' is not known (--help tells how this is used)" ;;
    esac
    shift
  done
}

k() {
  kubectl --context "kind-$cluster" "$@"
}

chart() {
  local release=$1 namespace=$2 repository=$3 version=$4
  shift 4
  step "the chart $release $version"
  helm --kube-context "kind-$cluster" upgrade --install "$release" "${repository##*/}" --repo "${repository%/*}" \
    --version "$version" --namespace "$namespace" --create-namespace --wait --timeout 10m "$@" >/dev/null
}

# The workers are in two zones, because production spreads its replicas over zones.
make_cluster() {
  if kind get clusters 2>/dev/null | grep -qx "$cluster"; then
    return
  fi
  step "the cluster $cluster"
  kind create cluster --name "$cluster" --wait 5m --config - <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraPortMappings:
      - {containerPort: 30443, hostPort: $port, listenAddress: 127.0.0.1}
  - role: worker
    labels: {topology.kubernetes.io/zone: a}
  - role: worker
    labels: {topology.kubernetes.io/zone: b}
YAML
}

install_prerequisites() {
  chart traefik traefik https://traefik.github.io/charts/traefik "$traefik" \
    --set service.type=NodePort --set ports.websecure.nodePort=30443
  # The kubelets of kind have certificates that nobody has signed.
  chart metrics-server kube-system https://kubernetes-sigs.github.io/metrics-server/metrics-server "$metrics_server" \
    --set 'args={--kubelet-insecure-tls}'
  if [[ -n $monitoring ]]; then
    chart monitoring monitoring https://prometheus-community.github.io/helm-charts/kube-prometheus-stack \
      "$prometheus_stack" --set prometheus.prometheusSpec.serviceMonitorSelectorNilUsesHelmValues=false \
      --set prometheus.prometheusSpec.ruleSelectorNilUsesHelmValues=false \
      --set grafana.sidecar.dashboards.searchNamespace=ALL
  fi
}

load_image() {
  if [[ -z $image ]]; then
    step 'the image of this work tree'
    image=$(scripts/build_image.sh --dirty | tee /dev/stderr | sed -n 's/^tagged //p' | tail -n 1)
  fi
  step "the image $image, as $named"
  docker tag "$image" "$named"
  kind load docker-image --name "$cluster" "$named"
}

# A copy of the overlay with a host on this machine. Its passwords stay as long as the cluster, whose volumes know them.
render_overlay() {
  rendered=kustomize/overlays/.rendered-kind-$overlay
  mkdir -p "$rendered"
  find "$rendered" -type f ! -name secret.env -delete
  local file key
  for file in kustomize/overlays/"$overlay"/*.yaml; do
    sed -E "s#https://waybill(\.staging)?\.example\.com#https://$host:$port#; s#waybill(\.staging)?\.example\.com#$host#" \
      "$file" >"$rendered/${file##*/}"
  done
  mkdir -p "$rendered/image"
  cp "$(home_of "kustomize/overlays/$overlay")" "$rendered/image"
  set_image "$(home_of "$rendered")" stable "$named" "$named"
  if [[ -z $monitoring ]]; then
    sed -i '/components\/monitoring/d' "$rendered/kustomization.yaml"
  fi
  if [[ ! -s $rendered/secret.env ]]; then
    umask 077
    while IFS='=' read -r key _; do
      [[ -z $key || $key == '#'* ]] || printf '%s=%s\n' "$key" "$(openssl rand -hex 32)"
    done <"kustomize/overlays/$overlay/secret.env.example" >"$rendered/secret.env.new"
    mv "$rendered/secret.env.new" "$rendered/secret.env"
  fi
}

deploy() {
  local namespace=waybill-$overlay certificate
  step "the overlay $overlay"
  k apply -f "$rendered/namespace.yaml" >/dev/null
  certificate=$(mktemp -d)
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
    -keyout "$certificate/key" -out "$certificate/certificate" 2>/dev/null
  k -n "$namespace" create secret tls waybill-tls --cert="$certificate/certificate" --key="$certificate/key" \
    --dry-run=client -o yaml | k apply -f - >/dev/null
  rm -r "$certificate"
  k apply -k "$rendered" >/dev/null
  # The same tag may be another image now.
  k -n "$namespace" rollout restart deployment/waybill >/dev/null
  k -n "$namespace" rollout status --timeout 5m statefulset/waybill-postgres >&2
  k -n "$namespace" rollout status --timeout 5m deployment/waybill >&2
}

report() {
  local namespace=waybill-$overlay
  if k -n "$namespace" get ingress waybill >/dev/null 2>&1; then
    echo "export WAYBILL_URL=https://$host:$port    # its certificate is signed by nobody"
  fi
  echo "kubectl --context kind-$cluster -n $namespace port-forward service/waybill 3000:80    # http://localhost:3000"
  sed -n 's/^admin-token=/export WAYBILL_TOKEN=/p' "$rendered/secret.env"
}

main() {
  read_options "$@"
  local program
  for program in docker kind kubectl helm jq openssl; do
    command -v "$program" >/dev/null || fail "$program is not installed"
  done
  if [[ $task == down ]]; then
    kind delete cluster --name "$cluster"
    rm -rf kustomize/overlays/.rendered-kind-*
    return
  fi
  render_overlay
  make_cluster
  load_image
  install_prerequisites
  deploy
  report
}

main "$@"
