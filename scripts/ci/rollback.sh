#!/usr/bin/env bash
# Returns an environment to what ran before: to what proved itself last, by Waybill's record, or where nobody can be asked
# to the revision before.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
usage: scripts/ci/rollback.sh ENV

ROLLBACK_TO names a version instead, ROLLBACK_TRACK a colour. With WAYBILL_ON_ERROR=fail nothing is done without Waybill.
TEXT
}

case ${1-} in
  -h | --help)
    usage
    exit
    ;;
  '')
    usage >&2
    exit 2
    ;;
esac
environment=$1
back=(scripts/rollback_k8s.sh "$environment" ${ROLLBACK_TRACK:+--track "$ROLLBACK_TRACK"}
  ${CI_ENVIRONMENT_URL:+--url "$CI_ENVIRONMENT_URL"})

[[ -n ${WAYBILL_URL-} ]] || exec "${back[@]}"
code=0
waybill rollback --service waybill --environment "$environment" --yes --preempt ${ROLLBACK_TO:+--to "$ROLLBACK_TO"} \
  ${CI_JOB_URL:+--reason "job $CI_JOB_URL"} -- "${back[@]}" || code=$?
# Nobody could say where to return to, which the cluster knows as well.
if [[ $code -eq 122 && ${WAYBILL_ON_ERROR-} == continue ]]; then
  echo 'rollback.sh: Waybill does not answer; GOING ON WITHOUT IT: put the rollback on record once it is back' >&2
  exec "${back[@]}"
fi
exit "$code"
