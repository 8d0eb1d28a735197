#!/usr/bin/env bash
# Builds the container image, runs it to see that it is what it should be, and only then tags it by commit.
set -euo pipefail
cd "$(dirname "$0")/.."

DOCKER=${DOCKER:-docker}
LIMIT_MIB=45

usage() {
  cat <<'END'
Usage: scripts/build_image.sh [--latest] [--dirty] [--push REGISTRY] [-- BUILD_OPTION…]

Builds waybill:COMMIT from this work tree (12 digits of the commit), and verifies it by running it.

  --latest         also moves waybill:latest, which scripts/container.sh runs and no manifest names
  --dirty          builds what is not committed, too; the tag then ends in -dirty
  --push REGISTRY  pushes the image as REGISTRY/waybill:COMMIT and prints its digest; not with --dirty
  -- OPTION…       the rest goes to `docker build`, such as --network=host or --no-cache

Environment: DOCKER is the client to use (docker). BuildKit is needed: Docker 20.10 or later.
END
}

# die MESSAGE [CODE]
die() {
  echo "build_image: $1" >&2
  exit "${2:-1}"
}

misuse() {
  die "$1 (--help tells how it is used)" 2
}

# Docker 23 has given BuildKit to a program of its own, without which it only says how to install that.
need_tools() {
  local version
  command -v git >/dev/null || die 'git is missing, and the image is named by its commit: install git' 2
  command -v "$DOCKER" >/dev/null || die "there is no $DOCKER: install Docker, or name another client by DOCKER=" 2
  "$DOCKER" info >/dev/null 2>&1 || die "$DOCKER reaches no Docker daemon: start it, or name another client by DOCKER=" 2
  version=$("$DOCKER" version --format '{{.Client.Version}}')
  [[ ${version%%.*} -lt 23 ]] || "$DOCKER" buildx version >/dev/null 2>&1 ||
    die "$DOCKER has no buildx, which builds the image: install docker-buildx (Debian) or docker-buildx-plugin (Docker)" 2
  git rev-parse HEAD >/dev/null 2>&1 || die 'this is no git work tree with a commit, and the image is named by its commit' 2
}

# The image's own field, by a Go template.
field() {
  "$DOCKER" image inspect --format "$2" "$1"
}

expect() {
  [[ $2 == "$3" ]] || die "the image's $1 is '$2' and should be '$3'; nothing was tagged"
  echo "  $1: $2"
}

# Bytes that our Dockerfile put on top of the base image, whose own history was not written by this builder.
own_bytes() {
  "$DOCKER" history --no-trunc --human=false --format '{{.Comment}} {{.Size}}' "$1" |
    awk '/^buildkit/ { bytes += $NF } END { print bytes + 0 }'
}

verify_shell() {
  local shell code
  for shell in /bin/sh /bin/bash /bin/dash /busybox/sh; do
    code=0
    "$DOCKER" run --rm --network=none --entrypoint "$shell" "$1" -c true >/dev/null 2>&1 || code=$?
    [[ $code -eq 127 ]] || die "the image has $shell (exit code $code instead of 127); nothing was tagged"
  done
  echo '  shell: none'
}

# Without this section, a scanner of the image sees no crate.
verify_crates() {
  container=$("$DOCKER" create "$1")
  "$DOCKER" cp "$container:/usr/local/bin/waybill" "$scratch"
  "$DOCKER" rm "$container" >/dev/null
  container=
  grep --quiet --text --fixed-strings .dep-v0 "$scratch/waybill" ||
    die 'the binary does not say which crates are in it; nothing was tagged'
  echo '  list of crates: in the binary'
}

# Starts the server as hardened as the manifests run it, on SQLite in memory, until it is ready, and stops it again.
verify_server() {
  local state=none code
  container=$("$DOCKER" run --detach --network=none --read-only --cap-drop=ALL --security-opt=no-new-privileges \
    --tmpfs /var/lib/waybill:uid=65532,gid=65532,mode=0700 "$1")
  for _ in {1..60}; do
    "$DOCKER" exec "$container" waybill healthcheck --path /readyz >/dev/null 2>&1 && state=ready && break
    sleep 0.5
  done
  if [[ $state != ready ]]; then
    "$DOCKER" logs "$container" >&2
    die 'the server was not ready within 30 seconds; its log is above; nothing was tagged'
  fi
  "$DOCKER" stop --time 25 "$container" >/dev/null
  code=$("$DOCKER" inspect --format '{{.State.ExitCode}}' "$container")
  "$DOCKER" rm "$container" >/dev/null
  container=
  expect 'exit code after SIGTERM' "$code" 0
}

verify() {
  local image=$1 bytes
  expect version "$("$DOCKER" run --rm --network=none --read-only "$image" --version)" "waybill $version"
  expect 'version label' "$(field "$image" '{{index .Config.Labels "org.opencontainers.image.version"}}')" "$version"
  expect revision "$(field "$image" '{{index .Config.Labels "org.opencontainers.image.revision"}}')" "$revision"
  expect user "$(field "$image" '{{.Config.User}}')" 65532:65532
  expect command "$(field "$image" '{{.Config.Cmd}}')" '[serve]'
  verify_shell "$image"
  verify_crates "$image"
  verify_server "$image"
  bytes=$(own_bytes "$image")
  ((bytes > 0 && bytes < LIMIT_MIB * 1024 * 1024)) ||
    die "our layers have $((bytes / 1024)) KiB; more than 0 and less than $LIMIT_MIB MiB were expected; nothing was tagged"
  echo "  our layers: $((bytes / 1024)) KiB"
}

latest='' dirty='' registry=''
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit ;;
    --latest) latest=yes ;;
    --dirty) dirty=yes ;;
    --push)
      registry=${2-}
      [[ -n $registry && $registry != -* ]] || misuse '--push needs a REGISTRY, such as registry.example.com/group'
      shift
      ;;
    --) shift && break ;;
    *) misuse "'$1' is not an option; what goes to \`docker build\` comes after --" ;;
  esac
  shift
done

[[ -z $dirty || -z $registry ]] || misuse 'what is not committed is not pushed: leave out --dirty or --push'
need_tools
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
revision=$(git rev-parse HEAD)
tag=$(git rev-parse --short=12 HEAD)
if [[ -n $(git status --porcelain) ]]; then
  [[ -n $dirty ]] || die 'the work tree has changes that are not committed: commit them, or say --dirty'
  revision+=-dirty tag+=-dirty
fi

scratch=$(mktemp -d)
container=
cleanup() {
  [[ -z $container ]] || "$DOCKER" rm --force "$container" >/dev/null
  rm -rf "$scratch"
}
trap cleanup EXIT

DOCKER_BUILDKIT=1 "$DOCKER" build --iidfile "$scratch/id" --build-arg "VERSION=$version" \
  --build-arg "REVISION=$revision" --target runtime "$@" .
image=$(<"$scratch/id")
echo "verifying $image" && verify "$image"

"$DOCKER" tag "$image" "waybill:$tag" && echo "tagged waybill:$tag"
[[ -z $latest ]] || { "$DOCKER" tag "$image" waybill:latest && echo 'tagged waybill:latest'; }
if [[ -n $registry ]]; then
  "$DOCKER" tag "$image" "$registry/waybill:$tag"
  "$DOCKER" push "$registry/waybill:$tag"
  field "$image" '{{range .RepoDigests}}{{println .}}{{end}}' | grep "^$registry/waybill@"
fi
