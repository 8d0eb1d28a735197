#!/usr/bin/env bash
# Runs Waybill in one container, with its data in a SQLite file on a named volume.
set -euo pipefail

DOCKER=${DOCKER:-docker}
image=${WAYBILL_IMAGE:-waybill:latest}
name=${WAYBILL_CONTAINER:-waybill}
data=${WAYBILL_DATA:-$name}
port=${WAYBILL_PORT:-3000}

usage() {
  cat <<'END'
Usage: scripts/container.sh start|stop|restart|status|logs [LOG_OPTION…]

  start    runs the image until it is ready, on http://127.0.0.1:3000, and tells where the admin token is
  stop     stops and removes the container; the data stays in the volume
  restart  stops and starts; this is also how a newer image is taken up
  status   tells whether it runs and is ready, its image, limits and volume; exit code 0 when ready, 3 when not
  logs     prints the log; options such as --follow go to `docker logs`

The log is kept in five files of at most 10 MiB.

Environment:
  WAYBILL_IMAGE      the image to run (waybill:latest, as scripts/build_image.sh --latest tags it)
  WAYBILL_CONTAINER  the name of the container (waybill)
  WAYBILL_DATA       the volume that keeps the data, or, with a / in it, the directory (named like the container)
  WAYBILL_PORT       the port on 127.0.0.1 (3000)
  DOCKER             the client to use (docker)
END
}

# die MESSAGE [CODE]
die() {
  echo "container: $1" >&2
  exit "${2:-1}"
}

misuse() {
  die "$1 (--help tells how it is used)" 2
}

state() {
  local state
  state=$("$DOCKER" container ls --all --filter "name=^/?$name\$" --format '{{.State}}')
  echo "${state:-absent}"
}

ready() {
  for _ in {1..60}; do
    [[ $(state) == running ]] || return 1
    "$DOCKER" exec "$name" waybill healthcheck >/dev/null 2>&1 && return
    sleep 0.5
  done
  return 1
}

need_image() {
  "$DOCKER" image inspect "$image" >/dev/null 2>&1 ||
    die "there is no image $image: run scripts/build_image.sh --latest, or name another by WAYBILL_IMAGE"
}

# The port is the same within and without, so that the server's own URL is right for the client in the container, too.
start() {
  if [[ $(state) == running ]]; then
    echo "$name is running already; restart takes up another image"
    return
  fi
  need_image
  [[ $(state) == absent ]] || "$DOCKER" rm "$name" >/dev/null
  "$DOCKER" run --detach --name "$name" --restart unless-stopped \
    --read-only --cap-drop=ALL --security-opt=no-new-privileges --pids-limit=256 --memory=512m \
    --log-driver=json-file --log-opt=max-size=10m --log-opt=max-file=5 \
    --publish "127.0.0.1:$port:$port" --env "WAYBILL__SERVER__LISTEN=0.0.0.0:$port" \
    --env "WAYBILL__SERVER__PUBLIC_URL=http://127.0.0.1:$port" \
    --volume "$data:/var/lib/waybill" "$image" >/dev/null || remove_and_die 'it did not start'
  ready || { "$DOCKER" logs "$name" >&2; remove_and_die 'it did not become ready; its log is above'; }
  cat <<END
$name serves http://127.0.0.1:$port (API: /docs)
admin token:  $DOCKER cp $name:/var/lib/waybill/admin.token - | tar -xO
client:       $DOCKER exec $name waybill status
END
}

# A container that never worked is not left behind: it would restart for ever.
remove_and_die() {
  "$DOCKER" rm --force "$name" >/dev/null 2>&1 || true
  die "$1; the container was removed, and its data was kept in $data"
}

stop() {
  if [[ $(state) == absent ]]; then
    echo "$name does not run"
    return
  fi
  # Longer than server.drain_timeout, in which open requests may end.
  "$DOCKER" stop --time 25 "$name" >/dev/null
  "$DOCKER" rm "$name" >/dev/null
  if [[ $data == */* ]]; then
    echo "stopped $name; its data is in $data"
  else
    echo "stopped $name; its data is in the volume ($DOCKER volume rm $data deletes it)"
  fi
}

# field TEMPLATE
field() {
  "$DOCKER" container inspect --format "$1" "$name"
}

status() {
  local state answer
  state=$(state)
  if [[ $state == absent ]]; then
    echo "$name: does not run"
    return 3
  fi
  answer='not ready'
  ! "$DOCKER" exec "$name" waybill healthcheck --path /readyz >/dev/null 2>&1 || answer=ready
  echo "$name: $state, $answer"
  field '  since    {{.State.StartedAt}}, restarted {{.RestartCount}} times'
  field '  image    {{.Config.Image}} ({{.Image}})'
  # shellcheck disable=SC2016 # They are Go's variables.
  field '  reached  {{range $to, $from := .HostConfig.PortBindings}}{{range $from}}http://{{.HostIp}}:{{.HostPort}} {{end}}{{end}}'
  field '  data     {{range .Mounts}}{{or .Name .Source}} {{end}}'
  "$DOCKER" stats --no-stream --format '{{.CPUPerc}} of a processor, {{.MemUsage}} of memory, {{.PIDs}} threads' \
    "$name" | sed 's/^/  uses     /'
  [[ $answer == ready ]] || return 3
}

command=${1-}
[[ $# -eq 0 ]] || shift
case $command in
  -h | --help) usage && exit ;;
  start | stop | restart | status) [[ $# -eq 0 ]] || misuse "$command takes no arguments, and '$1' is one" ;;
  logs) ;;
  '') misuse 'what is to be done? start, stop, restart, status or logs' ;;
  *) misuse "'$command' is not start, stop, restart, status or logs" ;;
esac
[[ $port =~ ^[0-9]{1,5}$ ]] || misuse "WAYBILL_PORT must be a number, and is '$port'"
command -v "$DOCKER" >/dev/null || die "there is no $DOCKER: install Docker, or name another client by DOCKER=" 2
"$DOCKER" info >/dev/null 2>&1 || die "$DOCKER reaches no Docker daemon: start it, or name another client by DOCKER=" 2
case $command in
  start | stop | status) "$command" ;;
  restart)
    # Asked first: what runs now goes on where there is nothing to take its place.
    need_image
    stop
    start
    ;;
  logs)
    [[ $(state) != absent ]] || die "$name does not run: scripts/container.sh start"
    "$DOCKER" logs "$@" "$name"
    ;;
esac
