# shellcheck shell=bash
# Sourced by scripts/check-docs before the commands of a page that release: `kubectl` is from now on the cluster in a file, and
# `curl` asks its pods.
export FAKE_CLUSTER REAL_KUBECTL=/usr/local/lib/kubectl PATH=$PWD/tests/cluster:$PATH
FAKE_CLUSTER=$(mktemp -d)

# serves VERSION: what the pods say that they are, where their image is named by a digest.
serves() { echo "$1" >"$FAKE_CLUSTER/version"; }
