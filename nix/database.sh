# shellcheck shell=bash
# Sourced by the development shell: a PostgreSQL cluster in the repository's .pg, which git ignores, reached by a socket
# there and by nothing else. It starts with the first shell and stays; `pg_ctl stop` ends it, and `rm -r .pg` forgets it.

start_waybill_database() {
  local root
  root=$(git rev-parse --show-toplevel 2>/dev/null) || root=$PWD
  export PGDATA=$root/.pg/data PGHOST=$root/.pg PGUSER=waybill PGDATABASE=waybill
  export DATABASE_URL="postgres:///waybill?host=$PGHOST&user=$PGUSER"

  if [ "$(id -u)" = 0 ]; then
    echo 'PostgreSQL does not run as root: this shell has no database.' >&2
    unset PGDATA PGHOST PGUSER PGDATABASE DATABASE_URL
    return
  fi
  if pg_ctl status >/dev/null 2>&1; then
    return
  fi
  if [ ! -f "$PGDATA/PG_VERSION" ]; then
    # In a directory of its own until it is complete: half a cluster would be taken for a whole one.
    rm -rf "$PGDATA.new" && mkdir -p "$PGHOST" &&
      initdb --pgdata "$PGDATA.new" --username "$PGUSER" --auth trust --encoding UTF8 --no-locale >/dev/null &&
      mv "$PGDATA.new" "$PGDATA" || return
  fi
  if ! pg_ctl start --wait --log "$PGHOST/log" --options "-k '$PGHOST' -c listen_addresses=''" >/dev/null; then
    echo "PostgreSQL did not start: $PGHOST/log says why." >&2
    return
  fi
  psql --quiet --no-psqlrc --dbname postgres --tuples-only --command \
    "SELECT 1 FROM pg_database WHERE datname = '$PGDATABASE'" | grep -q 1 || createdb "$PGDATABASE"
}

start_waybill_database
unset -f start_waybill_database
