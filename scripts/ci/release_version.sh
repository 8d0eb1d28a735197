#!/bin/sh
# Prints RELEASE_VERSION=… for the commit of a pipeline: the version of a tag, or else the source's version with the
# commit behind it. A tag that does not say what the source says is refused. Plain sh, grep and cut: images have little.
set -eu
cd "$(dirname "$0")/../.."

version=$(grep -m 1 '^version = "' Cargo.toml | cut -d '"' -f 2)
case ${CI_COMMIT_TAG-} in
  '') version="$version+${CI_COMMIT_SHORT_SHA:?}" ;;
  "v$version") ;;
  *)
    echo "the tag is $CI_COMMIT_TAG, and Cargo.toml says $version" >&2
    exit 1
    ;;
esac
echo "RELEASE_VERSION=$version"
