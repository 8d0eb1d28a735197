#!/usr/bin/env bash
# Returns an environment to what ran before: to a revision of the Deployment, or to another track.
set -euo pipefail
cd -- "$(dirname -- "$(realpath -- "$0")")/.." >/dev/null
# shellcheck source=scripts/lib/cluster.sh
source scripts/lib/cluster.sh
# shellcheck source=scripts/lib/render.sh
source scripts/lib/render.sh

usage() {
  cat <<'TEXT'
usage: scripts/rollback_k8s.sh ENV [--to-revision N | --to-version VERSION] [OPTIONS]
       scripts/rollback_k8s.sh ENV --track TRACK [OPTIONS]
       scripts/rollback_k8s.sh ENV --list

ENV is a directory in kustomize/overlays: dev, staging, prod. Without a revision or version it is $WAYBILL_VERSION, as
`waybill rollback` sets it, or else the revision before the current one, without those that failed or were left already.
The pods get the passwords of today, also where the revision had others. kustomize/overlays/ENV/image says afterwards what
runs; commit it.

  --to-revision N      that revision of the Deployment
  --to-version VERSION the newest revision of that version
  --track TRACK        canary: takes the canary away; blue, green, stable: lets the Service select this track again
  --list               shows the revisions there are, and which version each of them is
  --url URL            also asks the server at its public address in the end
  --context NAME       the context of kubectl (default: $KUBE_CONTEXT, or the current one)
  --timeout TIME       how long it may take (default: $DEPLOY_TIMEOUT, or 10m)
  --dry-run            says what would be done, and does nothing

The database is not rolled back, and need not be: migrations only add. Other objects stay as the newest manifests say.
Exit codes: 0 done, 1 not done, 2 wrong use.
TEXT
}

wrong_use() {
  printf 'error: %s\n\n' "$*" >&2
  usage >&2
  exit 2
}

parse() {
  environment='' track='' to_revision='' to_version='' url='' context=${KUBE_CONTEXT-} timeout=${DEPLOY_TIMEOUT:-10m} list='' dry_run=''
  local name
  pass=()
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit
        ;;
      --to-revision | --to-version | --track | --url | --context | --timeout)
        [[ -n ${2-} ]] || wrong_use "$1 needs a value"
        name=${1#--}
        printf -v "${name//-/_}" %s "$2"
        [[ $1 == --to-* || $1 == --track ]] || pass+=("$1" "$2")
        shift
        ;;
      --list) list=1 ;;
      --dry-run)
        dry_run=1
        pass+=("$1")
        ;;
      -*) wrong_use "there is no option $1" ;;
      *)
        [[ -z $environment ]] || wrong_use "one environment, not also $1"
        environment=$1
        ;;
    esac
    shift
  done
  [[ -n $environment ]] || wrong_use 'which environment?'
  environment=${environment%/} url=${url%/}
  [[ $environment =~ ^[A-Za-z0-9._-]+$ ]] || wrong_use "'$environment' is no name of a directory in kustomize/overlays"
  [[ -z $to_revision || $to_revision =~ ^[0-9]+$ ]] || wrong_use "$to_revision is no revision"
  [[ -z $to_revision || -z $to_version ]] || wrong_use 'a revision or a version, not both'
  [[ -z $track || -z $to_revision$to_version ]] || wrong_use 'a track has no revisions here: leave --to-… out'
  [[ -f kustomize/overlays/$environment/kustomization.yaml ]] || wrong_use "there is no overlay $environment"
  home=$(home_of "kustomize/overlays/$environment")
  namespace=$(sed -n 's/^namespace: *//p' "kustomize/overlays/$environment/kustomization.yaml")
}

# Sets `current`, and `revision`, `cause` and `maps` of the one to return to. What would be the very pods that run, once they
# have the passwords of today, is not another one.
choose() {
  current=$(revision_of waybill)
  [[ -n $current ]] || fail "there is no Deployment waybill in $namespace"
  local chosen
  chosen=$(jq -c --arg current "$current" --arg revision "$to_revision" --arg version "$to_version" '
    (.[] | select(.revision == ($current | tonumber)) | .pod) as $pod
    # Of revisions that differ in their passwords alone, the newest knows how it went.
    | (if $revision != "" then . else reduce .[] as $one ([]; if any(.[]; .pod == $one.pod) then . else . + [$one] end) end)
    | [.[] | select(.pod != $pod)
       | select(if $revision != "" then .revision == ($revision | tonumber)
                elif $version != "" then .cause | startswith($version + " ") or . == $version
                else .cause | endswith(")") | not end)] | first // empty' <<<"$all")
  local wanted=${to_version:+release $to_version}${to_revision:+revision $to_revision}
  [[ -n $chosen ]] ||
    fail "there is no ${wanted:-earlier release} to return to in $namespace: --list shows what there is, and scripts/deploy_k8s.sh $environment --image brings any release back"
  revision=$(jq -r .revision <<<"$chosen") cause=$(jq -r .cause <<<"$chosen")
  maps=$(jq -r '[.pod.spec | (.containers + (.initContainers // []))[].envFrom[]?.configMapRef.name // empty] | unique[]' <<<"$chosen")
}

# A rollback that fails must not stay half done: what ran before it did run.
give_up() {
  no_interrupt
  stop_child
  say "$1; returning to revision $current"
  # What was interrupted has not failed.
  if [[ $1 == interrupted ]]; then note waybill "$cause"; else mark waybill failed; fi
  remember_warnings
  return_to waybill "$current" "$secret"
  note waybill "$cause_before"
  [[ $1 != interrupted ]] || exit 130
  wait_for_rollout waybill || fail 'the rollback failed, AND WHAT RAN BEFORE IT DOES NOT COME UP EITHER'
  fail "the rollback to revision $revision failed; $cause_before runs as before"
}

parse "$@"
need kubectl jq curl
case $track in
  '') ;;
  canary) exec scripts/deploy_k8s.sh "$environment" --retire canary "${pass[@]}" ;;
  *) exec scripts/deploy_k8s.sh "$environment" --promote "$track" "${pass[@]}" ;;
esac

work=$(mktemp -d)
trap 'stop_child; rm -rf "$work"' EXIT
reach_cluster
# Where PostgreSQL is ours it knows the passwords of this Secret, and else those that the pods of today have.
secret=$(secret_in_use)
secret=${secret:-$(field deployment/waybill '[.spec.template.spec.volumes[]?.secret.secretName // empty] | first')}
all=$(revisions_of waybill "$secret")
if [[ -n $list ]]; then
  jq -r '.[] | [.revision, .cause] | @tsv' <<<"$all"
  exit
fi
serving=$(field service/waybill .spec.selector.track)
[[ -z $serving || $serving == stable ]] || fail "$serving serves in $namespace: name the colour to return to by --track"
[[ -n $to_revision ]] || to_version=${to_version:-${WAYBILL_VERSION-}}
choose
for map in $maps; do
  exists "configmap/$map" ||
    fail "the ConfigMap $map of revision $revision is gone: deploy that release anew with scripts/deploy_k8s.sh"
done
say "returning to revision $revision: $cause"
[[ -z $dry_run ]] || exit 0
cause_before=$(cause_of waybill)
cause_before=${cause_before:-$(image_of waybill)}
on_interrupt 'give_up interrupted'
mark waybill 'rolled back'
remember_warnings
return_to waybill "$revision" "$secret"
wait_for_rollout waybill || give_up 'the pods do not come up'
smoke_test stable "$to_version" || give_up 'the pods do not answer as they should'
public_test "$url" "$to_version" || give_up "$url does not answer as it should"
no_interrupt
# It serves again, so that a later rollback may choose it.
cause=${cause% (*)}
note waybill "$cause"
say "waybill runs $cause; the rest of the manifests in git is newer, so revert that too where it matters"
if [[ -f $home ]]; then
  set_image "$home" stable "$(image_of waybill)" "$cause"
  say "$home says so now: commit it, or the next deployment brings the newer release back"
fi
