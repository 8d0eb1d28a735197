#!/usr/bin/env bash
# Tests waybill.sh against a real server that comes and goes. Takes the directory of the `waybill` to use, or finds it
# in PATH. Half a minute.
set -euo pipefail
script=$(realpath "$(dirname "$0")/waybill.sh")
PATH=$(realpath "${1:-.}"):$PATH
binary=$(command -v waybill) || {
  echo "there is no waybill in PATH: name its directory, such as target/debug" >&2
  exit 1
}

# shellcheck source=scripts/lib/server.sh
source "${script%/ci/*}/lib/server.sh"
cd "$work"
export HOME=$work XDG_STATE_HOME=$work/state WAYBILL_BREAKER=$work/breaker WAYBILL_TOKEN_FILE=$work/server/admin.token
export CI_COMMIT_SHA=8f3c0ab1d2e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8
unset WAYBILL_URL WAYBILL_TOKEN WAYBILL_ON_ERROR

# Runs waybill.sh and asserts its exit code and something that it says or prints.
expect() {
  local code=$1 text=$2 got=0
  shift 2
  "$script" "$@" >"$work/out" 2>&1 || got=$?
  if [[ $got -ne $code ]] || ! grep -qF -- "$text" "$work/out"; then
    echo "FAILED: $* gave $got instead of $code, or does not say '$text':" >&2
    cat "$work/out" >&2
    exit 1
  fi
  echo "ok: $code, '$text'"
}

target=(--service shop --environment prod)
deploy=(deploy "${target[@]}" --version 1)

expect 0 'WAYBILL_URL is not set' "${deploy[@]}" -- true
expect 7 'GOING ON WITHOUT IT' "${deploy[@]}" -- sh -c 'exit 7'
# shellcheck disable=SC2016 # The command's own shell expands it.
tell_token=(sh -c 'echo "token: ${WAYBILL_TOKEN_FILE:-none}"')
expect 0 'token: none' "${deploy[@]}" -- "${tell_token[@]}"
expect 0 "token: $WAYBILL_TOKEN_FILE" "${deploy[@]}" --pass-token -- "${tell_token[@]}"

serve server
export WAYBILL_URL=$url
expect 0 'shop 1 to prod' "${deploy[@]}" -- true
expect 0 'token: none' "${deploy[@]}" -- "${tell_token[@]}"
expect 0 "token: $WAYBILL_TOKEN_FILE" "${deploy[@]}" --pass-token -- "${tell_token[@]}"
expect 0 '' deploy start "${target[@]}" --version 2
id=$(tail -n 1 "$work/out")
expect 121 'refused by the gate' deploy "${target[@]}" --version 3 -- touch "$work/touched"
[[ ! -e $work/touched ]]
expect 0 'succeeded' deploy finish "$id" --status succeeded
[[ $(<"$work/breaker") == '0 0' ]]

stop
expect 0 'does not answer' deploy finish "$id" --status succeeded
expect 0 'does not answer' deploy finish "$id" --status succeeded
expect 0 'GOING ON WITHOUT IT' "${deploy[@]}" -- true
before=$SECONDS
expect 9 'left alone' "${deploy[@]}" -- sh -c 'exit 9'
((SECONDS - before <= 1))
WAYBILL_ON_ERROR=fail expect 122 'nothing was run' "${deploy[@]}" -- touch "$work/touched"
[[ ! -e $work/touched ]]

WAYBILL_BREAKER_COOLDOWN=0 expect 0 'does not answer' "${deploy[@]}" -- true
serve server WAYBILL__SERVER__LISTEN="${url#*//}"
expect 0 'left alone' "${deploy[@]}" -- true
WAYBILL_BREAKER_COOLDOWN=0 expect 0 'Waybill answers again' deploy "${target[@]}" --version 4 -- true
[[ $(<"$work/breaker") == '0 0' ]]
expect 0 '4' status --service shop
echo 'the breaker works'
