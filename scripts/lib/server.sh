# shellcheck shell=bash
# shellcheck disable=SC2034 # The scripts that source this use what it sets.
# Real servers for the scripts that check one. `work` is a directory of the script's own: when the script ends, it goes,
# and so does whatever still runs in the background.

work=$(mktemp -d)
# shellcheck disable=SC2317,SC2329 # The trap calls it.
clean_up() {
  local running
  mapfile -t running < <(jobs -p)
  kill "${running[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap clean_up EXIT

# find_binary PROFILE: sets `binary` to the one that WAYBILL_BINARY names, or else to the one that cargo builds.
find_binary() {
  [[ -n ${WAYBILL_BINARY-} ]] || cargo build --locked --profile "$1"
  binary=$(realpath "${WAYBILL_BINARY:-${CARGO_TARGET_DIR:-target}/${1/dev/debug}/waybill}")
}

# serve NAME [VARIABLE=VALUE…]: starts a server with a SQLite file in $work/NAME and a log in $work/NAME.log, and waits
# until it listens. Of the caller's own settings it gets none: they are about another ledger.
serve() {
  local directory=$work/$1
  mkdir -p "$directory"
  rm -f "$directory/waybill/local.json"
  (
    cd "$directory" || exit
    unset "${!WAYBILL@}" DATABASE_URL RUST_LOG
    exec env XDG_STATE_HOME="$directory" WAYBILL__SERVER__LISTEN=127.0.0.1:0 "${@:2}" "$binary" serve
  ) >"$directory.log" 2>&1 &
  listens "$!" "$directory"
}

# listens PID DIRECTORY: waits until the server that is this process, with this XDG_STATE_HOME, writes there for its
# clients where it listens. Sets `server`, `url` and `token`. `patience` and `pause` are in seconds.
listens() {
  local state=$2/waybill/local.json begin=$SECONDS said
  server=$1
  until [[ -e $state ]]; do
    if ! kill -0 "$server" 2>/dev/null || ((SECONDS - begin > ${patience:-30})); then
      echo 'the server does not listen; its log:' >&2
      tail -n 50 "$2.log" >&2
      exit 1
    fi
    sleep "${pause:-0.005}"
  done
  said=$(<"$state")
  token=${said#*\"token\":\"} token=${token%%\"*}
  url=${said#*\"url\":\"} url=${url%%\"*}
}

# Waits until the server at `url` is ready. The shell itself asks: footprint would measure the start of a program, too.
becomes_ready() {
  local begin=$SECONDS
  until is_ready; do
    ((SECONDS - begin <= 30)) || { echo "$url does not become ready" >&2 && exit 1; }
    sleep 0.005
  done
}

is_ready() (
  exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/${url##*:}" || return 1
  printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
  read -r status <&3
  [[ $status == *' 200 '* ]]
)

# Ends the server in order.
stop() {
  kill "$server"
  wait "$server"
}
