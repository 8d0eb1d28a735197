#!/usr/bin/env bash
# Brings an overlay into a cluster: renders it, shows the difference, applies it, waits, asks the new pods, and takes the
# release back where one of these fails.
set -euo pipefail
cd -- "$(dirname -- "$(realpath -- "$0")")/.." >/dev/null
# shellcheck source=scripts/lib/cluster.sh
source scripts/lib/cluster.sh
# shellcheck source=scripts/lib/render.sh
source scripts/lib/render.sh

usage() {
  cat <<'TEXT'
usage: scripts/deploy_k8s.sh ENV [--image IMAGE] [--track TRACK] [OPTIONS]
       scripts/deploy_k8s.sh ENV --promote TRACK [OPTIONS]
       scripts/deploy_k8s.sh ENV --retire TRACK [OPTIONS]
       scripts/deploy_k8s.sh ENV --smoke TRACK [OPTIONS]
       scripts/deploy_k8s.sh ENV --write --image IMAGE [--version VERSION]

ENV is a directory in kustomize/overlays: dev, staging, prod. What it runs afterwards is written to
kustomize/overlays/ENV/image, to be committed: `kubectl apply -k`, Argo CD and Flux read it there.

  --image IMAGE      what to deploy, as REPOSITORY@sha256:… or REPOSITORY:TAG
                     (default: what the track runs already, or for a first release what ENV/image names)
  --track TRACK      stable (default): a rolling update; canary: one pod beside the stable ones;
                     blue, green: the colour that does not serve now, which is also called preview;
                     after a switch, preview is the track that served before
  --promote TRACK    canary: its image becomes the stable one, and it ends;
                     blue, green, stable: lets the Service select this track
  --retire TRACK     takes the pods of a track that does not serve
  --smoke TRACK      asks a pod of the track whether it is ready, and of the right version
  --version VERSION  the release's version, for `kubectl rollout history` and the smoke test (default: $WAYBILL_VERSION)
  --url URL          also asks the server at its public address in the end
  --context NAME     the context of kubectl (default: $KUBE_CONTEXT, or the current one)
  --timeout TIME     how long a rollout may take (default: $DEPLOY_TIMEOUT, or 10m)
  --admin            also applies what belongs to the cluster's administrator: Namespace, quota, the deployer's rights
  --dry-run          renders and shows the difference, and changes nothing
  --render           prints the manifests, and asks no cluster
  --write            only writes the image to ENV/image, and asks no cluster: for Argo CD and Flux

Exit codes: 0 done, 1 not done (a release that failed has been taken back), 2 wrong use.
TEXT
}

wrong_use() {
  printf 'error: %s\n\n' "$*" >&2
  usage >&2
  exit 2
}

parse() {
  environment='' track=stable image='' version=${WAYBILL_VERSION-} url='' context=${KUBE_CONTEXT-} timeout=${DEPLOY_TIMEOUT:-10m}
  action=deploy admin='' mode=apply explicit='' made=''
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit
        ;;
      --image | --track | --version | --url | --context | --timeout)
        [[ -n ${2-} ]] || wrong_use "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        [[ $1 != --track ]] || explicit=1
        shift
        ;;
      --promote | --retire | --smoke)
        [[ -n ${2-} ]] || wrong_use "$1 needs a track"
        action=${1#--} track=$2
        shift
        ;;
      --admin) admin=1 ;;
      --dry-run | --render | --write) mode=${1#--} ;;
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
  [[ $version =~ ^[A-Za-z0-9.+_-]*$ ]] || wrong_use "'$version' is no version: letters, digits and .+_- only"
  [[ $track =~ ^(stable|canary|blue|green|preview)$ ]] || wrong_use "there is no track $track"
  [[ -z $image || $image =~ ^[^@]+@sha256:[0-9a-f]{64}$ || $image =~ ^[^@]+:[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] ||
    wrong_use "'$image' is neither REPOSITORY@sha256:… nor REPOSITORY:TAG"
  [[ $image != *:latest ]] || wrong_use 'a tag that moves says nothing about what runs: name a digest'
  overlay=kustomize/overlays/$environment
  [[ -f $overlay/kustomization.yaml ]] || wrong_use "there is no $overlay/kustomization.yaml"
  [[ $mode != write || (-n $image && $action,$track == deploy,stable) ]] ||
    wrong_use '--write needs --image, and writes what the stable track is to run'
  home=$(home_of "$overlay")
  check_home "$home"
  case $mode,$action,$track in
    write,*) ;;
    *,deploy,* | *,promote,canary) check_secrets ;;
  esac
  ! grep -qE '^ *- .*/components/sqlite-statefulset/?$' "$overlay/kustomization.yaml" ||
    [[ $mode == write ]] ||
    fail "$environment is a StatefulSet, and this releases Deployments: --write its image, and kubectl apply -k $overlay"
  [[ $action != deploy || $track == stable ]] ||
    ! grep -qE '^ *- .*/components/sqlite/?$' "$overlay/kustomization.yaml" ||
    fail "$environment keeps its ledger in a file that one process owns: it can have no track but stable"
  namespace=$(sed -n 's/^namespace: *//p' "$overlay/kustomization.yaml")
}

# What makes Secrets needs their values; what merely selects, scales or asks pods does not.
check_secrets() {
  local weak
  grep -q 'secret\.env' "$overlay/kustomization.yaml" || return 0
  [[ -f $overlay/secret.env ]] ||
    fail "$overlay/secret.env is missing: copy secret.env.example and fill it in, or let the pipeline write it"
  weak=$(awk '
    /^[ \t]*(#|\r?$)/ { next }
    { key = $0; sub(/=.*/, "", key); value = $0; if (!sub(/^[^=]*=/, "", value)) value = ""; sub(/\r$/, "", value) }
    length(value) < 32 { printf " %s", key }' "$overlay/secret.env")
  [[ -z $weak ]] ||
    fail "values in $overlay/secret.env are shorter than 32 characters ('openssl rand -hex 32' makes good ones):$weak"
}

# What is called preview has a name only once the cluster is asked: for a new release the colour that does not serve, and
# else what the Service waybill-preview selects, which after a switch is the track that served before.
resolve() {
  if [[ $track == preview ]]; then
    track=''
    if [[ $action != deploy ]]; then
      track=$(field service/waybill-preview .spec.selector.track)
      [[ -n $track ]] || fail "there is no preview in $namespace"
    elif [[ $mode != render && $(serving) == blue ]]; then
      track=green
    fi
    track=${track:-blue}
    say "preview is $track"
  fi
  deployment=$(deployment_of "$track")
}

# The track that the Service `waybill` selects in the cluster; empty where it selects them all.
serving() { field service/waybill .spec.selector.track; }

# Without an image, a track keeps the one it runs, and a first release takes the one that git names. Where these differ, somebody
# deployed from elsewhere or changed the file, and only a person knows which is meant.
keep_image() {
  local named tried=''
  [[ -z $image ]] || return 0
  named=$(image_in "$home" "$track")
  if [[ $mode != render && ($track == stable || $(replicas_of "$deployment") -gt 0) && $(cause_of "$deployment") != *'(failed)' ]]; then
    tried=$(image_of "$deployment")
  fi
  if [[ -z $tried ]]; then
    [[ -n $named ]] || fail "$deployment runs nothing yet: name what it is to run by --image"
    image=$named
    version=${version:-$(version_in "$(cause_in "$home" "$track")" "$named")}
    return
  fi
  [[ $track != stable || $named == "$tried" ]] ||
    fail "$deployment runs $tried, and $home names $named: bring the file up to date (git pull), or say by --image which is meant"
  image=$tried
  say "$deployment keeps $image; --image names another"
  # The version as well: it is asked of the pods, and `rollback_k8s.sh --to-version` looks for it.
  version=${version:-$(version_of "$deployment")}
}

# Writes to git's file what a track runs now; without an image, that it runs nothing.
write_home() {
  cp "$home" "$work/home"
  if [[ -n ${2-} ]]; then set_image "$home" "$1" "$2" "$3"; else forget_image "$home" "$1"; fi
  cmp -s "$home" "$work/home" || say "$home says so now: commit it"
}

# The colours that are to have pods.
colours() {
  local colour
  for colour in blue green; do
    (($(replicas_of "waybill-$colour") == 0)) || printf '%s ' "$colour"
  done
}

# Decides what the Services are to select, and refuses what would disturb the track that serves.
plan() {
  local now
  active='' preview=''
  [[ $mode != render && $mode != write ]] || return 0
  now=$(serving)
  case $track in
    stable)
      if [[ -n $now && $now != stable ]]; then
        [[ -n $explicit ]] || fail "$now serves in $namespace: deploy the other colour by --track preview, or end this by --track stable and then --promote stable"
        active=$now
      elif [[ -n $now && -n $(colours) ]]; then
        # Without a track the Service would send requests to the colours again.
        active=$now
      fi
      [[ $action == promote ]] || (($(replicas_of waybill-canary) == 0)) ||
        fail "a canary runs in $namespace: end it by scripts/rollback_k8s.sh $environment --track canary, or by --promote canary"
      ;;
    canary)
      [[ -z $now || $now == stable ]] ||
        fail "$now serves in $namespace, so that a canary would get no requests. Release by --track preview, or return to rolling releases: --track stable --image IMAGE, --promote stable, --retire $now"
      # Where only the stable pods are left, the Service selects all tracks again.
      [[ -z $(colours) ]] || fail "the Service waybill selects $now alone while there are pods of $(colours): take them away by --retire, each"
      exists deployment/waybill ||
        fail "there is nothing in $namespace that a canary could stand beside: deploy without --track first"
      ;;
    blue | green)
      # Without a track the Service would send requests to the new colour before anyone has looked at it.
      active=${now:-stable} preview=$track
      [[ $active != "$track" ]] || fail "$track serves in $namespace: deploy the other colour"
      exists "deployment/$(deployment_of "$active")" ||
        fail "there is nothing in $namespace that could serve meanwhile: deploy without --track first"
      ;;
  esac
}

# Sorts what was rendered into what is applied now. Secrets are made and never changed: their names carry a hash. The jobs
# that run the image by themselves get it last: a release that is taken back must not leave them one that fails.
choose() {
  case $track in
    stable)
      documents not admin secret job >"$work/apply.json"
      documents job >"$work/jobs.json"
      ;;
    canary) documents config track=canary service=waybill >"$work/apply.json" ;;
    *) documents config "track=$track" service=waybill service=waybill-preview >"$work/apply.json" ;;
  esac
  documents secret >"$work/secrets.json"
  documents admin >"$work/admin.json"
}

# PostgreSQL gets new passwords by a rolling deployment alone. Pods of another track would wait for them in vain.
check_passwords() {
  local mounted in_use
  [[ $track != stable ]] || return 0
  in_use=$(secret_in_use)
  mounted=$(jq -r --arg name "$deployment" 'select(.kind == "Deployment" and .metadata.name == $name)
    | [.spec.template.spec.volumes[]?.secret.secretName // empty] | first' "$work/objects.json")
  [[ -z $in_use || $in_use == "$mounted" ]] ||
    fail "PostgreSQL does not have the passwords of $overlay/secret.env: bring them there first, by scripts/deploy_k8s.sh $environment"
}

server_side() { kube "$1" --server-side --force-conflicts --field-manager="$manager" "${@:2}"; }

# Applies a file, and leaves on each object what `kubectl apply` looks for: without it, a later `kubectl apply -k` by hand
# warns about every object, and does not take away what is no longer in the manifests.
apply() {
  server_side apply -f "$1" >&2 || return
  kube apply set-last-applied --create-annotation=true -f "$1" >/dev/null ||
    say 'what was applied could not be noted for a later kubectl apply, which will warn'
}

# The Namespace comes first; whoever may not look at it goes on as if it were there.
look_at_namespace() {
  if kube get "namespace/$namespace" >/dev/null 2>"$work/error" || grep -q Forbidden "$work/error"; then
    return
  fi
  grep -q NotFound "$work/error" || fail "$(tail -n 1 "$work/error")"
  [[ -n $admin ]] || fail "there is no namespace $namespace: an administrator makes it by --admin"
  if [[ $mode == dry-run ]]; then
    say "there is no namespace $namespace yet, so that everything is new:"
    jq -r '"\(.kind | ascii_downcase)/\(.metadata.name)"' "$work/objects.json"
    exit
  fi
  kube create namespace "$namespace" >&2
  made='the namespace was made, and nothing else'
}

# Of a first release, everything is new, and the names say it.
show_difference() {
  local code=0 file command=(diff)
  say 'what changes (Secrets are not shown):'
  exists deployment/waybill || command=(apply --dry-run=server)
  for file in ${admin:+"$work/admin.json"} "$work/apply.json" "$work/jobs.json"; do
    [[ -s $file ]] || continue
    server_side "${command[@]}" -f "$file" || code=$?
    ((code == 0)) || [[ ${command[0]} == diff && $code == 1 ]] ||
      fail "the cluster does not accept this; ${made:-nothing was changed}"
    code=0
  done
}

create_secrets() {
  [[ -s $work/secrets.json ]] || return 0
  kube create --save-config -f "$work/secrets.json" >&2 2>"$work/error" && return
  # Beside the errors there may be warnings; where there is neither, kubectl did not get as far as the Secrets.
  if grep '^[Ee]rror' "$work/error" | grep -qv AlreadyExists || ! grep -q AlreadyExists "$work/error"; then
    cat "$work/error" >&2
    fail "the Secrets cannot be made; ${made:-nothing else was changed}"
  fi
}

# Two runs at once: the one that was first must neither take credit for the other's release nor take it back.
still_ours() { [[ -z $applied || $(image_of "$deployment") == "$applied" ]]; }

# Notes that the current revision failed. One that was there before, and worked then, is noted as it was: it stays a release to
# return to.
mark_failed() {
  local revision before
  revision=$(revision_of "$deployment")
  before=$(revisions_of "$deployment" | jq -r --argjson known "$known" --arg revision "$revision" '
    .[] | select(.revision == ($revision | tonumber)) | .name as $name | $known[] | select(.name == $name) | .cause')
  if [[ -n $before ]]; then note "$deployment" "$before"; else mark "$deployment" failed; fi
}

# Takes a release back: the stable track to the revision before, any other to no pods, since nobody depends on it.
take_back() {
  no_interrupt
  still_ours || fail "somebody else deployed to $deployment meanwhile; nothing was taken back"
  if [[ $track != stable ]]; then
    say "taking the pods of $deployment away"
    scale "$deployment" 0
  elif [[ -z $revision_before ]]; then
    say 'no release worked before this one: there is nothing to return to, and it is left as it is'
    mark_failed
  elif [[ $(revision_of "$deployment") == "$revision_before" ]]; then
    say 'the pods were not changed, so that there is nothing to take back'
  else
    say "returning to revision $revision_before"
    mark_failed
    remember_warnings
    return_to "$deployment" "$revision_before" "$(secret_in_use)"
    [[ ${1-} == at-once ]] || wait_for_rollout "$deployment" || say 'THE REVISION BEFORE DOES NOT COME UP EITHER'
    say 'objects other than the Deployment are as the new manifests say; deploying the old commit returns them too'
  fi
}

interrupted() {
  stop_child
  say 'interrupted'
  take_back at-once
  exit 130
}

# Gives a colour as many pods as the one that serves, and a first release as many as its autoscaler begins with. The
# autoscaler goes on from there.
fill_up() {
  local wanted
  if [[ -n $active ]]; then
    wanted=$(replicas_of "$(deployment_of "$active")")
  elif [[ $known == '[]' ]]; then
    wanted=$(jq -r --arg name "$deployment" 'select(.kind == "HorizontalPodAutoscaler" and .metadata.name == $name) | .spec.minReplicas' "$work/objects.json")
  fi
  (($(replicas_of "$deployment") >= ${wanted:-0})) || scale "$deployment" "$wanted"
}

# Whether somebody has scaled the track to nothing, as the restore of a backup asks for. Then there is nobody to wait for.
at_rest() {
  [[ $track == stable ]] && (($(replicas_of "$deployment") == 0)) &&
    say "$deployment was scaled to no pods and stays so; nobody was asked whether the release works"
}

proves_itself() {
  wait_for_rollout "$deployment" && smoke_test "$track" "$version" && public_test "$url" "$version" && still_ours
}

deploy() {
  plan
  keep_image
  cause=$version${version:+ }$image
  if [[ $mode == write ]]; then
    write_home stable "$image" "$cause"
    return
  fi
  render "$copy"
  choose
  if [[ $mode == render ]]; then
    cat "$work/all.yaml"
    return
  fi
  look_at_namespace
  check_passwords
  show_difference
  [[ $mode != dry-run ]] || return 0
  adopt "$deployment"
  known=$(revisions_of "$deployment" | jq -c 'map({name, cause})')
  revision_before=$(revision_of "$deployment")
  # What never worked is nothing to return to.
  [[ $(cause_of "$deployment") != *'(failed)' ]] || revision_before=''
  create_secrets
  remember_warnings
  applied=''
  on_interrupt interrupted
  [[ -z $admin ]] || apply "$work/admin.json"
  if apply "$work/apply.json" && applied=$(image_of "$deployment") && fill_up && { at_rest || proves_itself; }; then
    no_interrupt
    [[ ! -s $work/jobs.json ]] || apply "$work/jobs.json" ||
      fail "$deployment runs $cause, but its CronJobs are as before: run this again"
    say "$deployment runs $cause"
    write_home "$track" "$image" "$cause"
    return
  fi
  take_back
  fail "the release of $cause failed"
}

promote_canary() {
  local tried
  tried=$(image_of waybill-canary)
  (($(replicas_of waybill-canary) > 0)) || fail "there is no canary in $namespace"
  [[ -z $image || $image == "$tried" ]] || fail "the canary is $tried, not $image: deploy that as a canary first"
  version=${version:-$(version_of waybill-canary)}
  image=$tried track=stable deployment=waybill
  deploy
  [[ $mode == apply ]] || return 0
  scale waybill-canary 0
  write_home canary
  say 'the canary has ended'
}

# Applies the two Services alone, so that they select these tracks.
switch_services() {
  active=$1 preview=$2
  rm -rf "$copy" && mkdir "$copy"
  render "$copy"
  documents service=waybill service=waybill-preview >"$work/apply.json"
}

# Lets the Service select the track that served before.
switch_back() {
  no_interrupt
  stop_child
  say "switching back to $before"
  switch_services "$before" "$promoted"
  apply "$work/apply.json"
}

switch_interrupted() {
  say 'interrupted'
  switch_back
  exit 130
}

promote_colour() {
  before=$(serving)
  before=${before:-stable} promoted=$track
  [[ $before != "$promoted" ]] || fail "$promoted serves in $namespace already"
  [[ $(field "deployment/$deployment" .status.readyReplicas) -gt 0 ]] || fail "no pod of $deployment is ready"
  kube rollout status "deployment/$deployment" --timeout=10s >&2 || fail "$deployment is not complete"
  image='' cause=''
  # The component with the preview Service is needed in both directions.
  [[ $track != stable ]] || track=$before
  switch_services "$promoted" "$before"
  show_difference
  [[ $mode != dry-run ]] || return 0
  # Asked while nobody depends on it, so that the wrong version never serves.
  smoke_test "$promoted" "$version" || fail "$promoted does not answer as it should; $before serves"
  on_interrupt switch_interrupted
  if apply "$work/apply.json" && public_test "$url" "$version"; then
    no_interrupt
    say "$promoted serves; $before is what to go back to: scripts/rollback_k8s.sh $environment --track $before"
    return
  fi
  switch_back
  fail "$promoted failed; $before serves"
}

smoke() {
  if smoke_test "$track" "$version" && public_test "$url" "$version"; then return; fi
  fail "the track $track does not answer as it should"
}

retire() {
  local now
  now=$(serving)
  [[ ${now:-stable} != "$track" ]] || fail "$track serves in $namespace"
  exists "deployment/$deployment" || fail "there is no $deployment in $namespace"
  say "taking the pods of $deployment away"
  [[ $mode != dry-run ]] || return 0
  scale "$deployment" 0
  write_home "$track"
}

parse "$@"
need kubectl jq curl
work=$(mktemp -d)
copy=$(mktemp -d "kustomize/overlays/.rendered-$environment-XXXXXX")
trap 'stop_child; rm -rf "$work" "$copy"' EXIT
[[ $mode == render || $mode == write ]] || reach_cluster
[[ $mode == write ]] || resolve
case $action in
  promote) if [[ $track == canary ]]; then promote_canary; else promote_colour; fi ;;
  *) "$action" ;;
esac
