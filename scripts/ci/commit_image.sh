#!/usr/bin/env bash
# Brings the image that a job has deployed back to git, so that `kubectl apply -k`, Argo CD and Flux know it.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
usage: scripts/ci/commit_image.sh ENV

Commits kustomize/overlays/ENV/image as it is in this work tree to the branch IMAGE_BRANCH (the default branch) and pushes it,
with IMAGE_PUSH_TOKEN: a project access token that may write the repository. Without one it says so and does nothing.
No pipeline runs for the commit. Where the branch has moved meanwhile it is tried again on top of it, five times.

IMAGE_REPOSITORY names another repository than that of the pipeline.
TEXT
}

say() { printf 'commit_image.sh: %s\n' "$*" >&2; }

case ${1-} in
  -h | --help)
    usage
    exit
    ;;
  '' | -*)
    usage >&2
    exit 2
    ;;
esac
file=kustomize/overlays/$1/image/kustomization.yaml
[[ -f $file ]] || { say "there is no $file" && exit 2; }
repository=${IMAGE_REPOSITORY:-${CI_SERVER_URL-}/${CI_PROJECT_PATH-}.git}
branch=${IMAGE_BRANCH:-${CI_DEFAULT_BRANCH:-main}}
if [[ -z ${IMAGE_PUSH_TOKEN-} ]]; then
  say "IMAGE_PUSH_TOKEN is not set: $file is not committed, and whoever applies the overlay by hand brings the old image back"
  exit 0
fi
# Not in an argument, which the list of processes shows.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader
GIT_CONFIG_VALUE_0="Authorization: Basic $(printf 'waybill:%s' "$IMAGE_PUSH_TOKEN" | base64 -w 0)"
export GIT_CONFIG_VALUE_0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git init --quiet "$work"
git -C "$work" config user.name "${GITLAB_USER_NAME:-the pipeline}"
git -C "$work" config user.email "${GITLAB_USER_EMAIL:-pipeline@localhost}"
for attempt in 1 2 3 4 5; do
  git -C "$work" fetch --quiet --depth=1 "$repository" "$branch"
  git -C "$work" checkout --quiet --force --detach FETCH_HEAD
  mkdir -p "$work/${file%/*}"
  cp "$file" "$work/$file"
  git -C "$work" add "$file"
  if git -C "$work" diff --cached --quiet; then
    say "$branch says so already"
    exit 0
  fi
  git -C "$work" commit --quiet --message "Run ${RELEASE_VERSION:-another image} in $1"
  if git -C "$work" push --quiet --push-option=ci.skip "$repository" "HEAD:refs/heads/$branch"; then
    say "$branch says what $1 runs"
    exit 0
  fi
  sleep "$attempt"
done
say "the image of $1 could not be pushed to $branch; it runs, and git does not say so"
exit 1
