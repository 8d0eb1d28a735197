#!/usr/bin/env bash
# The steps of a canary release, one for each job of the pipeline. To Waybill they are one deployment.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
usage: scripts/ci/canary.sh start|verify|promote|abandon ENV

  start    asks the gate, puts the canary beside the stable pods, and writes the deployment's id to deployment.env
  verify   watches it for CANARY_BAKE seconds (300): by Prometheus where PROMETHEUS_URL is set, else by smoke tests
  promote  makes its image the stable one, and finishes the deployment
  abandon  takes the canary away and finishes the deployment as CI_JOB_STATUS says; does nothing unless `start` came
           as far as the gate

Needs IMAGE (REPOSITORY@sha256:…) and RELEASE_VERSION; `verify` and `promote` also what is in deployment.env.
CANARY_MAX_ERRORS (0.01) is the largest share of 5xx, CANARY_MAX_P99 (0.5) the largest 99th percentile in seconds.
CANARY_LEASE (4h) is how long people may take over each step before Waybill gives the deployment up.
TEXT
}

say() { printf '==> %s\n' "$*" >&2; }

# Without an address, there is nobody to ask.
waybill() { [[ -z ${WAYBILL_URL-} ]] || command waybill "$@"; }

start() {
  WAYBILL_DEPLOYMENT_ID=$(waybill deploy start --service waybill --environment "$environment" --version "$RELEASE_VERSION" \
    --image "$IMAGE" --strategy canary --lease "${CANARY_LEASE:-4h}" --wait "${WAYBILL_WAIT:-30m}")
  echo "WAYBILL_DEPLOYMENT_ID=$WAYBILL_DEPLOYMENT_ID" >deployment.env
  scripts/deploy_k8s.sh "$environment" --track canary --image "$IMAGE" --version "$RELEASE_VERSION"
  step --phase canary --message 'one canary beside the stable pods'
}

# Says how far it is. That nobody takes note is no reason to stop.
step() {
  [[ -z ${WAYBILL_DEPLOYMENT_ID-} ]] || waybill deploy heartbeat "$WAYBILL_DEPLOYMENT_ID" "$@" >&2 || true
}

finish() {
  [[ -z ${WAYBILL_DEPLOYMENT_ID-} ]] ||
    waybill deploy finish "$WAYBILL_DEPLOYMENT_ID" --status "$1" --message "$2" >&2 ||
    say "that the deployment $WAYBILL_DEPLOYMENT_ID ended as $1 is not on record; waybill said how to put it there"
}

# The value of a query, empty where there is none.
query() {
  local answer
  answer=$(curl -fsS --max-time 10 --retry 3 --retry-all-errors --get "${PROMETHEUS_URL%/}/api/v1/query" \
    ${PROMETHEUS_TOKEN:+-H "Authorization: Bearer $PROMETHEUS_TOKEN"} --data-urlencode "query=$1") || return
  jq -r '.data.result[0].value[1] // empty | select(. != "NaN")' <<<"$answer"
}

at_most() { awk -v value="$1" -v limit="$2" 'BEGIN { exit !(value + 0 <= limit + 0) }'; }

# Whether Prometheus has nothing against the canary. Where it has seen no request yet, there is nothing to say.
metrics_are_good() {
  local pods quick errors p99
  # Probes and scrapes are no requests of users.
  pods="namespace=\"waybill-$environment\",pod=~\"waybill-canary-.+\",operation!~\"livez|readyz|health|version|metrics|unmatched\""
  # Who waits for the gate waits on purpose.
  quick="$pods,operation!=\"wait_gate\""
  errors=$(query "sum(rate(waybill_http_requests_total{$pods,status=~\"5..\"}[5m])) / sum(rate(waybill_http_requests_total{$pods}[5m])) or 0 * sum(rate(waybill_http_requests_total{$pods}[5m]))") || return
  p99=$(query "histogram_quantile(0.99, sum by (le) (rate(waybill_http_request_duration_seconds_bucket{$quick}[5m])))") ||
    return
  say "errors: ${errors:-no requests yet}, 99th percentile: ${p99:-no requests yet} s"
  at_most "${errors:-0}" "${CANARY_MAX_ERRORS:-0.01}" && at_most "${p99:-0}" "${CANARY_MAX_P99:-0.5}"
}

verify() {
  local bake=${CANARY_BAKE:-300} began=$SECONDS
  step --phase verification --message "watching it for $bake seconds"
  while true; do
    scripts/deploy_k8s.sh "$environment" --smoke canary --version "$RELEASE_VERSION"
    if [[ -n ${PROMETHEUS_URL-} ]] && ! metrics_are_good; then
      say 'the canary is worse than it may be, or Prometheus does not answer'
      return 1
    fi
    ((SECONDS - began < bake)) || break
    sleep "$((bake < 30 ? bake : 30))"
  done
  say 'the canary is good'
}

promote() {
  step --phase promotion --message 'rolling out to all pods'
  scripts/deploy_k8s.sh "$environment" --promote canary --image "$IMAGE" --version "$RELEASE_VERSION"
  finish succeeded 'canary promoted'
  rm -f deployment.env
}

abandon() {
  local status=failed
  if [[ ! -f deployment.env && -z ${WAYBILL_DEPLOYMENT_ID-} ]]; then
    say 'there is no canary of this pipeline'
    return
  fi
  # A job that a person runs to stop the canary is still running, so that its status is neither.
  [[ ${CI_JOB_STATUS-} == failed ]] || status=canceled
  # shellcheck source=/dev/null
  [[ ! -f deployment.env ]] || source deployment.env
  scripts/rollback_k8s.sh "$environment" --track canary || say 'there is no canary in the cluster'
  finish "$status" 'canary abandoned'
  rm -f deployment.env
}

case ${1-} in
  start | verify | promote | abandon) ;;
  -h | --help)
    usage
    exit
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
environment=${2:?which environment?}
if [[ $1 != abandon ]]; then
  : "${IMAGE:?is not set}" "${RELEASE_VERSION:?is not set}"
fi
"$1"
