#!/usr/bin/env bash
# Runs the migrations as installations do, on a new database of the PostgreSQL server that WAYBILL_TEST_DATABASE_URL
# names: several at once, once more, all the way back and up again. Takes the directory of the `waybill` to use, or
# finds it in PATH.
set -euo pipefail
: "${WAYBILL_TEST_DATABASE_URL:?names a PostgreSQL server, like postgres://postgres:secret@localhost/postgres}"
PATH=$(realpath "${1:-.}"):$PATH

database=waybill_migrations_$$
admin() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --command "$1" "$WAYBILL_TEST_DATABASE_URL"; }
trap 'admin "DROP DATABASE IF EXISTS $database WITH (FORCE)"' EXIT
admin "CREATE DATABASE $database"
base=${WAYBILL_TEST_DATABASE_URL%%\?*}
export DATABASE_URL=${base%/*}/$database

echo '==> eight at once' >&2
pids=()
for _ in {1..8}; do
  waybill migrate up &
  pids+=("$!")
done
for pid in "${pids[@]}"; do wait "$pid"; done
waybill migrate status

echo '==> again, with nothing to do' >&2
waybill migrate up

echo '==> all the way back, and up' >&2
waybill migrate down --steps "$(waybill migrate status | grep -c '^applied ')" --yes
if waybill migrate status; then
  echo 'the status should say that migrations are pending' >&2
  exit 1
fi
waybill migrate up
waybill migrate status
