#!/usr/bin/env bash
# Makes one verified backup of a Waybill ledger while its server runs. This very script is what the CronJob runs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../kustomize/components/backup source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

usage() {
  cat <<'TEXT'
usage: backup.sh [--dir DIR] [--sqlite FILE] [--keep-days N] [--keep-min N] [--dry-run]
       backup.sh [--dir DIR] --list

Makes one backup of a Waybill ledger in DIR while the server runs: written under a temporary name, read back,
checksummed, flushed to the disk, and only then renamed. Old backups are deleted after that, and never before.
DATABASE_URL or libpq's variables (PGHOST, PGUSER, PGDATABASE, …) say where the database is.

  --dir DIR        where backups are kept (BACKUP_DIR)
  --sqlite FILE    back up this SQLite file; DATABASE_URL=sqlite://FILE means the same
  --keep-days N    delete backups that are older than N days (BACKUP_KEEP_DAYS, 14)
  --keep-min N     but always keep the newest N (BACKUP_KEEP_MIN, 7)
  --dry-run        check everything and say what would be done
  --list           list the backups in DIR, newest first
  --help           print this

  PGPASSWORD_FILE  a file with the password, instead of PGPASSWORD or ~/.pgpass
  BACKUP_UPLOAD    a shell command that copies the backup elsewhere; it gets BACKUP_DIR and BACKUP_NAME. Nothing is
                   deleted when it fails
  WAYBILL_BINARY   the waybill program; a SQLite backup is also checked with `waybill audit verify` when there is one

Exit codes: 0 done; 1 no backup was made; 2 wrong use; 3 the backup was made and BACKUP_UPLOAD failed;
4 the backup was made, but does not continue the one before it, so that nothing was deleted; 75 another backup runs.
TEXT
}

# Sets `dir`, `sqlite`, `keep_days`, `keep_min` and `task`.
read_options() {
  dir=${BACKUP_DIR-} sqlite='' keep_days=${BACKUP_KEEP_DAYS:-14} keep_min=${BACKUP_KEEP_MIN:-7} task=backup
  while (($# > 0)); do
    case $1 in
      --dir | --sqlite | --keep-days | --keep-min)
        [[ -n ${2-} ]] || misuse "$1 needs a value"
        case $1 in
          --dir) dir=$2 ;;
          --sqlite) sqlite=$2 ;;
          --keep-days) keep_days=$2 ;;
          --keep-min) keep_min=$2 ;;
        esac
        shift
        ;;
      --dry-run) task=dry-run ;;
      --list) task=list ;;
      -h | --help)
        usage
        exit
        ;;
      *) misuse "'$1' is not an option" ;;
    esac
    shift
  done
  number --keep-days "$keep_days"
  number --keep-min "$keep_min"
  ((10#$keep_min >= 1)) || misuse '--keep-min must be at least 1: the last good backup is never deleted'
  [[ -n $dir ]] || misuse 'where are the backups kept? Give --dir DIR or set BACKUP_DIR'
  [[ -d $dir && -r $dir ]] || fail "$dir is no directory that can be read: make it first"
}

# The lock goes with the process that holds it, however that ends.
lock() {
  [[ -w $dir ]] || fail "$dir cannot be written to"
  exec 9>>"$dir/.lock"
  flock --nonblock 9 || fail "another backup into $dir is running" 75
  # What a killed run has left behind can only be in the way.
  rm -rf "$dir"/.partial-*
}

# How much there must be room for: twice the last backup, or else the whole database, which compresses well.
check_space() {
  local last needed free
  last=$(newest "$dir" "$engine")
  if [[ -n $last ]]; then
    needed=$(($(du -sb "$dir/$last" | cut -f 1) * 2))
  elif [[ $engine == sqlite ]]; then
    needed=$(stat -Lc %s "$sqlite")
  else
    needed=$(query "$database" <<<'SELECT pg_database_size(current_database())') ||
      fail "the database $database cannot be asked"
  fi
  free=$(df --output=avail -B1 "$dir" | tail -n 1)
  ((free > needed)) || fail "$dir has $((free >> 20)) MiB free, and the backup may need $((needed >> 20)) MiB"
}

# The facts and the dump come from one snapshot: psql keeps its transaction open while pg_dump runs within it.
dump_postgres() {
  export DUMP=$1/ledger.dump
  {
    cat <<'SQL'
SET idle_in_transaction_session_timeout = 0;
SET statement_timeout = 0;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT 'server', current_setting('server_version_num');
SELECT pg_export_snapshot() AS snapshot \gset
\setenv SNAPSHOT :snapshot
SQL
    facts_sql
    # psql 15 does not tell whether the command failed, so that it leaves a mark when it did not.
    echo "\\! pg_dump --format=custom --lock-wait-timeout=60s --snapshot=\"\$SNAPSHOT\" --file=\"\$DUMP\" && : >\"\$DUMP.whole\""
    echo 'COMMIT;'
  } | query "$database" >>"$1/facts" || fail "the database $database cannot be read"
  [[ -e $DUMP.whole ]] || fail 'pg_dump failed'
  rm "$DUMP.whole"
  # The table of contents, and then every byte of what it lists.
  pg_restore --list "$DUMP" >/dev/null || fail 'the dump has no readable table of contents'
  pg_restore --file=/dev/null "$DUMP" || fail 'the dump cannot be read back'
}

dump_sqlite() {
  local copy=$1/ledger.db said
  # Waybill's own mode of opening: read-only would fail when no server has left a -shm file.
  sqlite3 -batch -bail -cmd '.timeout 30000' "file:$(uri_path "$sqlite")?mode=rw" "VACUUM INTO '${copy//\'/\'\'}'" ||
    fail "$sqlite cannot be read"
  said=$(read_sqlite "$copy" 'PRAGMA integrity_check' 'PRAGMA foreign_key_check')
  [[ $said == ok ]] || fail "the copy is damaged: ${said:0:500}"
  sqlite_facts "$copy" >>"$1/facts" || fail "$sqlite is not a ledger of Waybill"
  find_waybill
  if [[ -n $program ]]; then
    # It opens the file for writing, so that it gets a copy of its own.
    cp "$copy" "$1/check.db"
    "$program" audit verify --database-url "sqlite://$1/check.db" || fail 'the audit log of the ledger does not verify'
    rm -f "$1"/check.db*
  fi
}

# Sets `name`. Everything is on the disk before the rename, and the rename before success is told.
make() {
  local work
  work=$(mktemp -d "$dir/.partial-XXXXXX")
  # shellcheck disable=SC2064 # The name is meant as it is now.
  trap "rm -rf '${work//\'/\'\\\'\'}'" EXIT
  {
    echo "format 1"
    echo "engine $engine"
    echo "source ${database:-${sqlite##*/}}"
  } >"$work/facts"
  "dump_$engine" "$work"
  check_ledger "$work/facts"
  (cd "$work" && sha256sum "$(payload "$engine")" facts >SHA256SUMS)
  chmod u=rwx,g=rx,o= "$work"
  sync "$work"/* "$work"
  name=waybill-$(date -u +%Y%m%dT%H%M%SZ)
  # Two backups within one second would have one name.
  while [[ -e $dir/$name ]]; do
    sleep 0.2
    name=waybill-$(date -u +%Y%m%dT%H%M%SZ)
  done
  mv -T "$work" "$dir/$name"
  sync "$dir"
}

# Events are never deleted and never change. A ledger that no longer holds the head of the last backup is therefore
# another one, or an older one, or a forged one: no reason to delete what may be the last good copy.
check_continues() {
  local previous=$1 head found sql
  [[ -n $previous ]] || return 0
  [[ $name > $previous ]] || fail "$name was made, but $previous claims to be newer: is the clock right?" 4
  head=$(fact "$dir/$previous" head)
  [[ $head =~ ^([0-9]+):([0-9a-f]{64})$ ]] || fail "$name was made, but $previous has no readable facts" 4
  if ((BASH_REMATCH[1] == 0)); then
    return 0
  fi
  sql="SELECT count(*) FROM event WHERE seq = ${BASH_REMATCH[1]} AND hash = '${BASH_REMATCH[2]}'"
  if [[ $engine == sqlite ]]; then
    found=$(read_sqlite "$dir/$name/ledger.db" "$sql")
  else
    found=$(query "$database" <<<"$sql") || fail "$name was made, but the database can no longer be asked whether it continues $previous"
  fi
  [[ $found == 1 ]] || fail "$name was made, but the ledger no longer holds event ${head%%:*} as $previous knows it: \
it was restored or replaced, or someone tampered with it. Nothing was deleted" 4
}

upload() {
  if [[ -n ${BACKUP_UPLOAD-} ]]; then
    BACKUP_DIR=$dir BACKUP_NAME=$name bash -c "$BACKUP_UPLOAD" ||
      fail "$name was made, but BACKUP_UPLOAD failed. Nothing was deleted" 3
  fi
}

# The names that are too old, oldest last; the argument tells how many of the newest are kept whatever their age.
outdated() {
  local limit name
  limit=waybill-$(date -u -d "$((10#$keep_days)) days ago" +%Y%m%dT%H%M%SZ)
  for name in $(backups "$dir" | tail -n "+$(($1 + 1))"); do
    if [[ $name < $limit ]]; then
      echo "$name"
    fi
  done
}

# A backup that is half deleted must not be taken for one, so that it loses its name first.
prune() {
  local old
  for old in $(outdated "$((10#$keep_min))"); do
    mv -T "$dir/$old" "$dir/.partial-$old"
    rm -rf "$dir/.partial-$old"
    say "$old was deleted"
  done
}

dry_run() {
  local old
  if [[ $engine == sqlite ]]; then
    sqlite_facts "$sqlite" || fail "$sqlite is not a ledger of Waybill"
  else
    facts_sql | query "$database" || fail "the database $database cannot be read"
  fi
  say "would make $dir/waybill-$(date -u +%Y%m%dT%H%M%SZ)"
  for old in $(outdated "$((10#$keep_min - 1))"); do
    say "would delete $old"
  done
}

main() {
  umask 027
  engine='' database='' program='' name=''
  read_options "$@"
  if [[ $task == list ]]; then
    list_backups "$dir"
    return
  fi
  need flock sha256sum
  settle_database
  export PGAPPNAME=waybill-backup
  [[ $engine != sqlite || -f $sqlite ]] || fail "$sqlite is no file"
  if [[ $task == dry-run ]]; then
    check_space
    dry_run
    return
  fi
  lock
  check_space
  local begin=$SECONDS previous
  previous=$(newest "$dir")
  make
  say "$name was made in $((SECONDS - begin)) s: $(fact "$dir/$name" 'rows event') events, head $(fact "$dir/$name" head)"
  upload
  check_continues "$previous"
  prune
}

main "$@"
