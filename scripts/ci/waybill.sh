#!/usr/bin/env bash
# `waybill` for pipelines, behind a circuit breaker: an outage of Waybill neither stops deployments for ever nor is made
# worse by them. Takes the arguments of `waybill`.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/ci/waybill.sh deploy OPTIONS -- COMMAND
       scripts/ci/waybill.sh rollback OPTIONS -- COMMAND
       scripts/ci/waybill.sh deploy start|heartbeat|finish …
       scripts/ci/waybill.sh release record …
       scripts/ci/waybill.sh scan upload …

Runs `waybill` with these arguments, and without Waybill the COMMAND alone, or nothing where there is none. That is so

  - when WAYBILL_URL is not set, or there is no `waybill`;
  - when Waybill does not answer (three attempts), and the call is a step without a command;
  - when the breaker is open: after WAYBILL_BREAKER_FAILURES (3) such calls in a row, Waybill is left alone for
    WAYBILL_BREAKER_COOLDOWN (600) seconds. The call after that decides whether it is closed or open again.

A refusal by the gate is an answer. It stops the deployment as ever, and closes the breaker.

WAYBILL_ON_ERROR=fail turns this round: without Waybill nothing is run, and the exit code is 122. The default is
`continue`. WAYBILL_BREAKER names the file that keeps the state from job to job (.ci-state/waybill-breaker).
TEXT
}

say() { printf 'waybill.sh: %s\n' "$*" >&2; }

# Goes on without Waybill: runs the command, if there is one.
without() {
  if [[ $on_error == fail ]]; then
    say "$1; nothing was run, as WAYBILL_ON_ERROR=fail says"
    exit 122
  fi
  say "$1; GOING ON WITHOUT IT"
  ((${#command[@]})) || exit 0
  # As `waybill` does.
  [[ " ${arguments[*]-} " == *' --pass-token '* ]] || unset WAYBILL_TOKEN WAYBILL_TOKEN_FILE
  exec "${command[@]}"
}

# Whether somebody answers there. An answer below 500 is one, whatever it says.
reachable() {
  local status attempt
  for attempt in 1 2 3; do
    status=$(curl -s -o /dev/null --max-time 5 -w '%{http_code}' "${WAYBILL_URL%/}/readyz") || status=000
    [[ $status == 000 || $status == 5?? ]] || return 0
    [[ $attempt -eq 3 ]] || sleep "$attempt"
  done
  return 1
}

remember() {
  mkdir -p "$(dirname "$state")"
  printf '%s %s\n' "$1" "$2" >"$state"
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

on_error=${WAYBILL_ON_ERROR:-continue}
limit=${WAYBILL_BREAKER_FAILURES:-3}
cooldown=${WAYBILL_BREAKER_COOLDOWN:-600}
state=${WAYBILL_BREAKER:-.ci-state/waybill-breaker}
if [[ $on_error != continue && $on_error != fail ]]; then
  say "WAYBILL_ON_ERROR is 'continue' or 'fail', not '$on_error'"
  exit 2
fi

arguments=() command=()
while (($#)); do
  if [[ $1 == -- ]]; then
    shift
    command=("$@")
    break
  fi
  arguments+=("$1")
  shift
done

if [[ -z ${WAYBILL_URL-} ]]; then
  on_error='continue'
  without 'WAYBILL_URL is not set'
fi
command -v waybill >/dev/null || without "there is no program 'waybill'"

failures=0 since=0
[[ ! -f $state ]] || read -r failures since <"$state" || true
[[ $failures =~ ^[0-9]+$ && $since =~ ^[0-9]+$ ]] || failures=0 since=0
now=$(date +%s)
if ((failures >= limit && now - since < cooldown)); then
  without "Waybill failed $failures times in a row and is left alone for another $((cooldown - (now - since))) s"
fi

if reachable; then
  ((failures == 0)) || say 'Waybill answers again'
  remember 0 0
elif ((failures + 1 >= limit)) || ((${#command[@]} == 0)); then
  remember $((failures + 1)) "$now"
  without "Waybill does not answer at $WAYBILL_URL"
else
  # It has its own retries, and reports afterwards what it could not ask about before.
  remember $((failures + 1)) "$now"
  say "Waybill does not answer at $WAYBILL_URL; trying on"
fi

((${#command[@]})) || exec waybill "${arguments[@]}"
exec waybill "${arguments[@]}" --on-error "$on_error" -- "${command[@]}"
