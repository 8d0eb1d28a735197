# shellcheck shell=bash disable=SC2034 # The scripts that read this use what it sets.
# What backup.sh and restore.sh share: where the database is, what a backup looks like, and the facts by which two
# ledgers are compared. It is read by them and does nothing by itself.
#
# A backup is a directory, so that one rename makes it appear whole or not at all:
#
#   waybill-20261121T061500Z/
#     ledger.dump    what pg_dump --format=custom wrote (ledger.db: a SQLite file)
#     facts          migrations, rows of every table and the head of the audit log, at the very moment of the backup
#     SHA256SUMS     of both

export LC_ALL=C PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10}
readonly NAME_PATTERN='^waybill-[0-9]{8}T[0-9]{6}Z$'

say() {
  printf '%s\n' "$*"
}

warn() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# fail MESSAGE [CODE]
fail() {
  warn "$1"
  exit "${2:-1}"
}

misuse() {
  fail "$1 (--help tells how it is used)" 2
}

need() {
  local program
  for program; do
    command -v "$program" >/dev/null ||
      fail "$program is not installed: it is part of postgresql-client, sqlite3, coreutils, findutils or util-linux"
  done
}

# number NAME VALUE
number() {
  [[ $2 =~ ^[0-9]{1,6}$ ]] || misuse "$1 must be a number, and is '$2'"
}

decode() {
  [[ $1 != *%* || $1 =~ ^([^%]|%[0-9A-Fa-f]{2})*$ ]] || misuse 'the database URL has a % that encodes nothing'
  printf '%b' "${1//%/\\x}"
}

# Takes a PostgreSQL URL apart into libpq's variables: as an argument, its password would show in the list of processes.
read_url() {
  local pattern='^postgres(ql)?://(([^:@/]*)(:([^@/]*))?@)?(\[[^]]+\]|[^:/?@]*)(:([0-9]+))?(/([^?]*))?(\?(.*))?$'
  [[ $1 =~ $pattern ]] || misuse 'the database URL is not like postgres://USER:PASSWORD@HOST:PORT/DATABASE'
  local user=${BASH_REMATCH[3]} password=${BASH_REMATCH[5]} host=${BASH_REMATCH[6]} port=${BASH_REMATCH[8]}
  local name=${BASH_REMATCH[10]} pairs=${BASH_REMATCH[12]} pair value
  host=${host#[}
  set_variable PGUSER "$user"
  set_variable PGPASSWORD "$password"
  set_variable PGHOST "${host%]}"
  set_variable PGPORT "$port"
  set_variable PGDATABASE "$name"
  while [[ -n $pairs ]]; do
    pair=${pairs%%&*}
    pairs=${pairs:${#pair}+1}
    value=${pair#*=}
    case ${pair%%=*} in
      host | port | user | password | sslmode | sslrootcert | sslcert | sslkey | options)
        pair=${pair%%=*}
        set_variable "PG${pair^^}" "$value"
        ;;
      dbname) set_variable PGDATABASE "$value" ;;
      application_name | connect_timeout | statement-cache-capacity) ;;
      *) misuse "the database URL has the parameter '${pair%%=*}', which is not known here" ;;
    esac
  done
}

# set_variable NAME ENCODED-VALUE: an empty value leaves what the environment says.
set_variable() {
  local value
  value=$(decode "$2")
  if [[ -n $value ]]; then
    export "$1=$value"
  fi
}

# Sets `engine`, and `sqlite` (the file) or `database` with libpq's variables. An option wins over DATABASE_URL, that
# over the PG… variables.
settle_database() {
  local url=${DATABASE_URL-} file
  if [[ -z $sqlite && $url == sqlite:* ]]; then
    file=${url#sqlite:}
    file=${file#//}
    sqlite=${file%%\?*}
  fi
  if [[ -n $sqlite ]]; then
    engine=sqlite
    need sqlite3
    return
  fi
  engine=postgres
  need psql pg_dump pg_restore
  if [[ -n $url ]]; then
    read_url "$url"
  elif [[ -z ${PGHOST-}${PGDATABASE-}${PGSERVICE-} ]]; then
    misuse 'which database? Set DATABASE_URL or PGHOST and PGDATABASE, or give --sqlite FILE'
  fi
  if [[ -n ${PGPASSWORD_FILE-} ]]; then
    [[ -r $PGPASSWORD_FILE ]] || fail "the password file $PGPASSWORD_FILE cannot be read"
    PGPASSWORD=$(<"$PGPASSWORD_FILE")
    export PGPASSWORD
  fi
  database=${PGDATABASE:-waybill}
  [[ $database =~ ^[a-z_][a-z0-9_]{0,38}$ ]] ||
    fail "the database '$database' has a name that is not handled: small letters, digits and _, at most 39 of them"
}

# query DATABASE [NAME=VALUE…]: runs the SQL on standard input; :'NAME' is the value there, quoted. Fails with 1: psql's own
# codes mean other things than ours, and its 2, a server that is away, is no wrong use.
query() {
  local name=$1 pair
  shift
  local -a settings=()
  for pair; do
    settings+=(-v "$pair")
  done
  psql -XAtq -F ' ' -v ON_ERROR_STOP=1 ${settings[@]+"${settings[@]}"} -d "$name" || return 1
}

# The lines by which two ledgers are compared: SQL for psql, which finds the tables by itself.
facts_sql() {
  cat <<'SQL'
SELECT 'migration', version FROM public.seaql_migrations ORDER BY version;
SELECT 'head', seq || ':' || hash FROM public.chain_head;
SELECT format('SELECT %L, %L, count(*) FROM public.%I', 'rows', tablename, tablename)
  FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename COLLATE "C" \gexec
SQL
}

# read_sqlite FILE SQL…
read_sqlite() {
  local file=$1
  shift
  sqlite3 -batch -bail -separator ' ' -cmd '.timeout 30000' "file:$(uri_path "$file")?mode=ro" "$@" || return 1
}

# A path as SQLite's URIs take it.
uri_path() {
  local path=${1//%/%25}
  path=${path//\?/%3f}
  echo "${path//#/%23}"
}

# The same for a SQLite file.
sqlite_facts() {
  local tables table
  read_sqlite "$1" "SELECT 'migration', version FROM seaql_migrations ORDER BY version" \
    "SELECT 'head', seq || ':' || hash FROM chain_head" || return
  tables=$(read_sqlite "$1" "SELECT name FROM sqlite_master
    WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name") || return
  for table in $tables; do
    read_sqlite "$1" "SELECT 'rows', '$table', count(*) FROM \"$table\"" || return
  done
}

# Of a file with facts, what must be the same in the copy.
comparable() {
  grep -E '^(migration|head|rows) ' "$1"
}

# fact BACKUP NAME: its value.
fact() {
  sed -n "s/^$2 //p" "$1/facts"
}

# A ledger without migrations, without a head or without a token is none, and not worth a backup's name.
check_ledger() {
  if ! grep -q '^migration ' "$1" || ! grep -q '^head ' "$1"; then
    fail 'the database has no Waybill ledger in it'
  fi
  grep -qE '^rows token [1-9]' "$1" || fail 'the ledger is empty: not even a token was ever made in it'
}

# payload ENGINE: the name of the file that holds the ledger.
payload() {
  case $1 in
    sqlite) echo ledger.db ;;
    *) echo ledger.dump ;;
  esac
}

# The names of the backups in a directory, newest first; with an engine, those of that engine.
backups() {
  local path
  for path in "$1"/waybill-*/; do
    path=${path%/}
    if [[ ${path##*/} =~ $NAME_PATTERN && -f $path/SHA256SUMS && (-z ${2-} || -f $path/$(payload "$2")) ]]; then
      echo "${path##*/}"
    fi
  done | sort -r
}

newest() {
  local names
  names=$(backups "$@")
  echo "${names%%$'\n'*}"
}

list_backups() {
  local name path
  printf '%-25s  %9s  %-8s  %9s  %s\n' NAME SIZE ENGINE EVENTS HEAD
  for name in $(backups "$1"); do
    path=$1/$name
    printf '%-25s  %9s  %-8s  %9s  %.24s…\n' "$name" "$(du -sh --apparent-size "$path" | cut -f 1)" \
      "$(fact "$path" engine)" "$(fact "$path" 'rows event')" "$(fact "$path" head)"
  done
}

# Sets `program` to the waybill program, or to nothing when there is none.
find_waybill() {
  program=${WAYBILL_BINARY-}
  if [[ -z $program ]]; then
    program=$(command -v waybill || true)
  elif [[ ! -x $program ]]; then
    fail "WAYBILL_BINARY names $program, which is no program"
  fi
}
