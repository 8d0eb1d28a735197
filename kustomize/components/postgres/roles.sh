#!/usr/bin/env bash
# Makes the roles of the ledger and gives them the mounted passwords. PostgreSQL's image runs it when the database is new, and
# the pod each time it starts, so that a new Secret is all that a change of passwords takes.
set -euo pipefail

case ${1-} in
  '') ;;
  --at-start)
    # In the background of a server that starts and may have a crash to recover from. Whatever goes wrong here, it must not
    # take the server along: the log says it, and the roles have the passwords that they had.
    if { : >/proc/1/fd/2; } 2>/dev/null; then
      exec >/proc/1/fd/2 2>&1
    fi
    for _ in {1..1800}; do
      # Over TCP: the server that runs the first initialisation listens on its socket only.
      if pg_isready --quiet --host=127.0.0.1 --dbname=waybill --username=postgres; then
        bash "$0" || echo 'roles.sh: the roles have the passwords that they had before'
        exit 0
      fi
      sleep 1
    done
    echo 'roles.sh: the server takes no connections; the roles have the passwords that they had before'
    exit 0
    ;;
  *)
    echo 'Usage: roles.sh [--at-start]   (in the container of PostgreSQL; reads /run/secrets/waybill/*-password)'
    [[ $1 == --help ]]
    exit
    ;;
esac
for role in superuser owner app backup; do
  if [[ ! -s /run/secrets/waybill/$role-password ]]; then
    echo "roles.sh: /run/secrets/waybill/$role-password is missing or empty: set $role-password in secret.env" >&2
    exit 1
  fi
done

# psql reads the passwords from the files itself: an argument of a process can be read by others.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=waybill <<'SQL'
\set superuser_password `cat /run/secrets/waybill/superuser-password`
\set owner_password `cat /run/secrets/waybill/owner-password`
\set app_password `cat /run/secrets/waybill/app-password`
\set backup_password `cat /run/secrets/waybill/backup-password`

BEGIN;
-- A statement that fails is not logged with the password that it holds.
SET LOCAL log_min_error_statement = panic;
SET LOCAL log_min_duration_statement = -1;
SET LOCAL client_min_messages = warning;

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['waybill_owner', 'waybill_app', 'waybill_backup']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec

ALTER ROLE CURRENT_USER PASSWORD :'superuser_password';
ALTER ROLE waybill_owner PASSWORD :'owner_password';
ALTER ROLE waybill_app PASSWORD :'app_password';
ALTER ROLE waybill_backup PASSWORD :'backup_password';

-- The owner changes the schema; as owner of the database it also owns the schema public.
ALTER DATABASE waybill OWNER TO waybill_owner;
REVOKE ALL ON DATABASE waybill FROM PUBLIC;
GRANT CONNECT ON DATABASE waybill TO waybill_app, waybill_backup;

-- The server reads and writes rows, whatever tables the owner makes, and cannot change the schema.
GRANT USAGE ON SCHEMA public TO waybill_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO waybill_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO waybill_app;
ALTER DEFAULT PRIVILEGES FOR ROLE waybill_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO waybill_app;
ALTER DEFAULT PRIVILEGES FOR ROLE waybill_owner IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO waybill_app;

-- The backup reads everything and writes nothing.
GRANT pg_read_all_data TO waybill_backup;
COMMIT;
SQL
echo 'The roles are as they should be.'
