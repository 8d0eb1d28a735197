#!/usr/bin/env bash
# Puts a backup of a Waybill ledger in the place of the ledger. This very script is what the restore Job and the weekly
# restore drill run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source-path=SCRIPTDIR/../kustomize/components/backup source=common.sh
. "$(dirname "$(realpath "$0")")/common.sh"

usage() {
  cat <<'TEXT'
usage: restore.sh [--dir DIR] [--sqlite FILE] --confirm NAME [--stage | --swap] [--terminate] [BACKUP]
       restore.sh [--dir DIR] [--sqlite FILE] --dry-run [BACKUP]
       restore.sh [--dir DIR] --list

Restores BACKUP: `latest` (the default, or RESTORE_BACKUP), a name that --list shows, or the path of a backup. Stop the
server first. The backup is restored beside the ledger, compared with what was written down when it was made, and only
then the names are swapped. The old ledger is kept under another name. When anything fails, the ledger is as before.
DATABASE_URL or libpq's variables (PGHOST, PGUSER, PGDATABASE, …) say where it is; the role must be a superuser, or
may create databases and is a member of the roles that own what is in the backup.

  --dir DIR        where backups are kept (BACKUP_DIR)
  --sqlite FILE    restore this SQLite file; DATABASE_URL=sqlite://FILE means the same
  --confirm NAME   the name of the database or file that is replaced, as a person says it (RESTORE_CONFIRM)
  --stage          stop before the swap; the copy is in the database NAME_restored
  --swap           only swap what --stage left
  --terminate      end sessions that use the database, instead of refusing
  --create-roles   create roles that the backup names and the server lacks; they get no passwords
  --jobs N         restore with N connections (RESTORE_JOBS, 2)
  --dry-run        check the backup and the target, and change nothing
  --list           list the backups in DIR, newest first
  --help           print this

  PGPASSWORD_FILE  a file with the password, instead of PGPASSWORD or ~/.pgpass
  WAYBILL_BINARY   the waybill program; when there is one, `waybill audit verify` must succeed before the swap

Exit codes: 0 done; 1 the ledger is as before; 2 wrong use.
TEXT
}

# Sets `dir`, `sqlite`, `confirm`, `backup`, `task`, `terminate`, `create_roles` and `jobs`.
read_options() {
  dir=${BACKUP_DIR-} sqlite='' confirm=${RESTORE_CONFIRM-} backup='' task=restore terminate='' create_roles=''
  jobs=${RESTORE_JOBS:-2}
  while (($# > 0)); do
    case $1 in
      --dir | --sqlite | --confirm | --jobs)
        [[ -n ${2-} ]] || misuse "$1 needs a value"
        case $1 in
          --dir) dir=$2 ;;
          --sqlite) sqlite=$2 ;;
          --confirm) confirm=$2 ;;
          --jobs) jobs=$2 ;;
        esac
        shift
        ;;
      --stage | --swap | --dry-run | --list)
        [[ $task == restore ]] || misuse "$1 and --$task exclude each other"
        task=${1#--}
        ;;
      --terminate) terminate=1 ;;
      --create-roles) create_roles=1 ;;
      -h | --help)
        usage
        exit
        ;;
      -*) misuse "'$1' is not an option" ;;
      *)
        [[ -z $backup ]] || misuse "two backups are named, '$backup' and '$1'"
        backup=$1
        ;;
    esac
    shift
  done
  backup=${backup:-${RESTORE_BACKUP:-latest}}
  number --jobs "$jobs"
  ((10#$jobs >= 1)) || misuse '--jobs must be at least 1'
}

need_directory() {
  [[ -n $dir ]] || misuse 'where are the backups? Give --dir DIR or set BACKUP_DIR'
  [[ -d $dir && -r $dir ]] || fail "$dir is no directory that can be read"
}

# Sets `path`, the directory of the backup, whose every byte is then checked.
choose() {
  if [[ $backup == */* ]]; then
    path=${backup%/}
  else
    need_directory
    if [[ $backup == latest ]]; then
      backup=$(newest "$dir" "$engine")
      [[ -n $backup ]] || fail "there is no $engine backup in $dir"
    fi
    path=$dir/$backup
  fi
  backup=${path##*/}
  [[ -f $path/SHA256SUMS && -f $path/facts ]] || fail "$path is no backup (--list shows what there is)"
  [[ -f $path/$(payload "$engine") ]] || fail "$backup is no backup of $engine: its engine is $(fact "$path" engine)"
  (cd "$path" && sha256sum --check --strict --quiet SHA256SUMS) || fail "$backup is damaged: take another one"
  [[ $(sort <(cut -d ' ' -f 3 "$path/SHA256SUMS")) == facts$'\n'$(payload "$engine") ]] ||
    fail "$backup is damaged: its checksums are not those of its files"
  check_ledger "$path/facts"
  if [[ $engine == postgres ]]; then
    pg_restore --list "$path/ledger.dump" >/dev/null || fail "$backup cannot be read by $(pg_restore --version)"
  fi
}

check_confirmed() {
  [[ $confirm == "$1" ]] ||
    fail "this replaces the ledger $1, and '$confirm' was confirmed: say --confirm $1 or set RESTORE_CONFIRM=$1" 2
}

same_facts() {
  local difference
  difference=$(diff <(comparable "$path/facts") <(comparable "$1")) ||
    fail "the restored copy is not what was backed up: $difference"
}

# ---- PostgreSQL: into a database of its own, which then takes the other's name.

admin() {
  query postgres "$@"
}

exists() {
  [[ -n $(admin "name=$1" <<<"SELECT 1 FROM pg_database WHERE datname = :'name'") ]]
}

# Sessions of the server's replicas, of people, of other jobs.
check_unused() {
  local sessions
  sessions=$(admin "name=$database" <<'SQL'
SELECT format('%s from %s as %s', coalesce(nullif(application_name, ''), 'a session'), coalesce(host(client_addr), 'here'), usename)
FROM pg_stat_activity WHERE datname = :'name' AND pid <> pg_backend_pid() AND backend_type = 'client backend'
SQL
  )
  [[ -z $sessions || -n $terminate ]] || fail "the database $database is in use: $(sort -u <<<"$sessions" | paste -sd ';')
Stop the server (kubectl scale deployment/waybill --replicas=0), or end these sessions with --terminate"
}

# The roles to whom the backup's objects belong or are granted, without those that every server has.
roles_of_backup() {
  pg_restore --create --schema-only --file=- "$path/ledger.dump" |
    sed -nE -e 's/^ALTER .* OWNER TO "?([^";]+)"?;$/\1/p' \
      -e 's/^(GRANT|ALTER DEFAULT PRIVILEGES) .* TO "?([^";]+)"?( WITH GRANT OPTION)?;$/\2/p' \
      -e 's/^ALTER DEFAULT PRIVILEGES FOR ROLE "?([^" ]+)"? .*$/\1/p' | sort -u |
    grep -vE '^(PUBLIC|pg_.*)$' || true
}

check_roles() {
  local role missing=''
  for role in $(roles_of_backup); do
    if [[ -z $(admin "role=$role" <<<"SELECT 1 FROM pg_roles WHERE rolname = :'role'") ]]; then
      missing+=" $role"
    fi
  done
  if [[ -n $missing && -z $create_roles ]]; then
    fail "the server lacks roles that the backup names:$missing. Create them with their passwords, or let \
--create-roles do it without"
  fi
  roles_to_create=$missing
}

create_missing_roles() {
  local role
  for role in $roles_to_create; do
    admin "role=$role" <<<'CREATE ROLE :"role" LOGIN'
    say "the role $role was created; it has no password yet"
  done
}

# The database as it was made: encoding, locale, owner, settings and who may connect.
database_sql() {
  local source list
  source=$(fact "$path" source)
  list=$(pg_restore --create --list "$path/ledger.dump" |
    grep -E '^[0-9]+; [0-9]+ [0-9]+ (DATABASE( PROPERTIES)? - |ACL - DATABASE )')
  pg_restore --create --use-list=<(printf '%s\n' "$list") --file=- "$path/ledger.dump" |
    sed -E -e '/^\\connect /d' -e "s/ DATABASE \"?$source\"?( |;|\$)/ DATABASE $staged\1/"
}

# Removes what an earlier attempt has left, and nothing that someone else made.
drop_staged() {
  local comment
  if exists "$staged"; then
    comment=$(admin "name=$staged" <<<"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :'name'")
    [[ $comment == 'restored from '* ]] ||
      fail "there is a database $staged that this script did not make: rename it or drop it"
    admin "name=$staged" <<<'DROP DATABASE :"name"' || fail "$staged is left of an earlier attempt and in use"
  fi
}

# shellcheck disable=SC2317 # The trap calls it.
forget_staged() {
  warn "the restored copy is given up; $database is as before"
  admin "name=$staged" <<<'DROP DATABASE IF EXISTS :"name"' || true
  finish
}

stage() {
  local begin=$SECONDS
  drop_staged
  create_missing_roles
  trap forget_staged EXIT
  database_sql | query postgres >/dev/null
  admin "name=$staged" "text=restored from $backup" <<<"COMMENT ON DATABASE :\"name\" IS :'text'"
  pg_restore --exit-on-error --jobs="$((10#$jobs))" --dbname="$staged" "$path/ledger.dump"
  query "$staged" <<<'ANALYZE'
  facts_sql | query "$staged" >"$work/facts"
  same_facts "$work/facts"
  # Restoring them has checked them, unless they were not valid before.
  [[ $(query "$staged" <<<'SELECT count(*) FROM pg_constraint WHERE NOT convalidated') == 0 ]] ||
    fail 'the backup has foreign keys or checks that were never validated'
  verify_staged
  trap finish EXIT
  say "$backup is in the database $staged after $((SECONDS - begin)) s, and is what was backed up"
}

# In Kubernetes, a container with waybill's image does this between --stage and --swap.
verify_staged() {
  find_waybill
  if [[ -n $program ]]; then
    # It takes the rest from libpq's variables.
    "$program" audit verify --database-url "postgres:///$staged" || fail 'the audit log of the backup does not verify'
  elif [[ $task == restore ]]; then
    warn 'there is no waybill program here: let waybill audit verify check the audit log'
  fi
}

# Both renames in one transaction. A session that comes in between makes it fail, and then it is tried again.
swap() {
  local before attempt comment
  before=${database}_before_$(date -u +%Y%m%dt%H%M%S)
  comment="replaced on $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  exists "$staged" || fail "there is no database $staged: --stage makes it"
  for attempt in 1 2 3; do
    if swap_sql "$before" "$comment" | admin "old=$database" "staged=$staged" "before=$before" "comment=$comment"; then
      say "the ledger $database is now the restored one"
      return
    fi
    [[ -n $terminate && $attempt != 3 ]] || fail "$database cannot be renamed; it is as before, and the copy is in $staged"
    sleep 1
  done
}

swap_sql() {
  if exists "$database"; then
    if [[ -n $terminate ]]; then
      echo "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'old' AND pid <> pg_backend_pid() \\g /dev/null"
    fi
    cat <<'SQL'
BEGIN;
ALTER DATABASE :"old" RENAME TO :"before";
ALTER DATABASE :"staged" RENAME TO :"old";
COMMENT ON DATABASE :"before" IS :'comment';
COMMENT ON DATABASE :"old" IS NULL;
COMMIT;
\echo the old one is kept as :before; drop it when nobody misses it
SQL
  else
    printf '%s\n' 'BEGIN;' 'ALTER DATABASE :"staged" RENAME TO :"old";' 'COMMENT ON DATABASE :"old" IS NULL;' 'COMMIT;'
  fi
}

restore_postgres() {
  staged=${database}_restored
  export PGAPPNAME=waybill-restore PGOPTIONS="${PGOPTIONS-} -c statement_timeout=0"
  [[ $task == dry-run ]] || check_confirmed "$database"
  admin <<<'SELECT' >/dev/null || fail 'the server cannot be reached'
  if [[ $task == dry-run ]]; then
    choose
    check_roles
    say "$backup is whole and can be restored as $database once nobody uses that"
    return
  fi
  check_unused
  if [[ $task != swap ]]; then
    choose
    check_roles
    stage
  fi
  if [[ $task != stage ]]; then
    swap
  fi
}

# ---- SQLite: into a file of its own, which then takes the other's name.

# Who has the file open in this system; another container shows in SQLite's locks.
check_file_unused() {
  local real open
  real=$(realpath "$sqlite")
  open=$(find /proc/[0-9]*/fd -lname "$real" -printf '%p\n' 2>/dev/null | cut -d / -f 3 | sort -u | paste -sd ' ') || true
  [[ -z $open ]] || fail "$sqlite is in use by the process $open: stop the server"
}

# Leaving WAL mode needs the file for oneself, and moves everything from -wal into it: then the file alone is the old
# ledger, and no -wal of the old one can be taken for one of the new.
fold_wal() {
  local said
  if said=$(sqlite3 -batch -bail "file:$(uri_path "$1")?mode=rw" 'PRAGMA journal_mode = DELETE' 2>&1); then
    [[ $said == delete ]] || fail "$1 is in use (its journal mode stays '$said'): stop the server"
  elif [[ $said == *locked* ]]; then
    fail "$1 is in use: stop the server"
  else
    warn "the old file is damaged ($said) and is kept as it is"
  fi
}

# The backup in $copy, checked like what is in use will be.
copy_sqlite() {
  local said
  [[ ! -e $copy ]] || fail "$copy is left of an earlier attempt: delete it"
  [[ -w $(dirname "$copy") ]] || fail "$(dirname "$copy") is no directory that can be written to"
  trap forget_copy EXIT
  (umask 077 && cp "$path/ledger.db" "$copy")
  said=$(read_sqlite "$copy" 'PRAGMA integrity_check' 'PRAGMA foreign_key_check')
  [[ $said == ok ]] || fail "the backup is damaged: ${said:0:500}"
  sqlite_facts "$copy" >"$work/facts"
  same_facts "$work/facts"
  find_waybill
  if [[ -n $program ]]; then
    "$program" audit verify --database-url "sqlite://$copy" || fail 'the audit log of the backup does not verify'
    # It has turned WAL mode on.
    fold_wal "$copy"
  else
    warn 'there is no waybill program here: let waybill audit verify check the audit log'
  fi
}

# shellcheck disable=SC2317 # The trap calls it.
forget_copy() {
  rm -f "$copy" "$copy-wal" "$copy-shm"
  finish
}

# The old file gets a second name, and the new one then takes the first: there is a ledger at every moment.
swap_sqlite() {
  local before suffix
  before=$sqlite.before-$(date -u +%Y%m%dT%H%M%SZ)
  if [[ -e $sqlite ]]; then
    fold_wal "$sqlite"
    chmod --reference="$sqlite" "$copy"
    chown --reference="$sqlite" "$copy" 2>/dev/null ||
      warn "the restored file belongs to $(id -un): see that the server may write it"
    ln -T "$sqlite" "$before"
  fi
  sync "$copy"
  # Only a damaged file still has them, or one that is gone; SQLite would take them for the new one's.
  for suffix in -wal -shm; do
    if [[ -e $sqlite$suffix ]]; then
      mv -T "$sqlite$suffix" "$before$suffix"
    fi
  done
  mv -T "$copy" "$sqlite"
  sync "$(dirname "$sqlite")"
  say "the ledger $sqlite is now $backup"
  if [[ -e $before ]]; then
    say "the old one is kept as $before; delete it when nobody misses it"
  fi
}

restore_sqlite() {
  if [[ $task == dry-run ]]; then
    choose
    say "$backup is whole and can be restored as $sqlite once nobody uses that"
    return
  fi
  check_confirmed "${sqlite##*/}"
  if [[ -e $sqlite ]]; then
    sqlite=$(realpath "$sqlite")
    check_file_unused
  fi
  choose
  copy=$sqlite.restored
  copy_sqlite
  swap_sqlite
}

# shellcheck disable=SC2317 # The trap calls it.
finish() {
  rm -rf "$work"
}

main() {
  umask 027
  engine='' database='' path='' program='' staged='' copy='' roles_to_create=''
  read_options "$@"
  if [[ $task == list ]]; then
    need_directory
    list_backups "$dir"
    return
  fi
  need sha256sum
  settle_database
  work=$(mktemp -d)
  trap finish EXIT
  if [[ $engine == sqlite ]]; then
    [[ $task == restore || $task == dry-run ]] || misuse "--$task is for PostgreSQL"
    restore_sqlite
  else
    restore_postgres
  fi
}

main "$@"
