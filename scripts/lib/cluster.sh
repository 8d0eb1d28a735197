# shellcheck shell=bash
# shellcheck disable=SC2154 # The scripts that source this set `context`, `namespace`, `timeout` and `work`.
# What deploy_k8s.sh and rollback_k8s.sh ask of the cluster.

manager=waybill-deploy

say() { printf '==> %s\n' "$*" >&2; }

# What to do when someone ends the script. Where the terminal is gone, so is whoever could read on, and what is written
# there would fail.
on_interrupt() {
  # shellcheck disable=SC2064 # The name of the function is known now.
  trap "$1" INT TERM
  # shellcheck disable=SC2064
  trap "exec >/dev/null 2>&1; $1" HUP
}

no_interrupt() { trap - INT TERM HUP; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

need() {
  local program
  for program; do
    command -v "$program" >/dev/null || fail "$program is missing: install it, or use the development shell (nix develop)"
  done
}

# In the background, `$!` is kubectl itself, so that it can be ended.
exec_kube() { exec kubectl ${context:+--context "$context"} --namespace "$namespace" "$@"; }

kube() { (exec_kube "$@"); }

# Says which cluster this is, or why it cannot be asked.
reach_cluster() {
  local server
  if [[ -n $context ]] && ! kubectl config get-contexts "$context" >/dev/null 2>&1; then
    fail "kubectl knows no context '$context': 'kubectl config get-contexts' lists them; name one by --context"
  fi
  server=$(kube config view --minify -o 'jsonpath={.clusters[0].cluster.server}' 2>/dev/null) ||
    fail 'kubectl has no cluster to talk to: set KUBECONFIG, or name a context by --context'
  kube get --raw /version --request-timeout=15s >/dev/null 2>"$work/error" ||
    fail "the cluster at $server does not answer: $(tail -n 1 "$work/error")"
  say "namespace $namespace at $server"
}

deployment_of() { if [[ $1 == stable ]]; then echo waybill; else echo "waybill-$1"; fi; }

# A field of an object as text; empty where there is no such object or field.
field() { kube get "$1" --ignore-not-found -o json | jq -r "$2 // empty"; }

exists() { [[ -n $(field "$1" .metadata.name) ]]; }

image_of() { field "deployment/$1" '.spec.template.spec.containers[0].image'; }

cause_of() { field "deployment/$1" '.metadata.annotations["kubernetes.io/change-cause"]'; }

# version_in CAUSE IMAGE: the version, where the cause is a version and this image.
version_in() {
  local noted=${1% (*)}
  noted=${noted%" $2"}
  [[ ! $noted =~ ^[A-Za-z0-9.+_-]+$ ]] || echo "$noted"
}

version_of() { version_in "$(cause_of "$1")" "$(image_of "$1")"; }

# How many pods a Deployment is to have; 0 where it is not there.
replicas_of() {
  local number
  number=$(field "deployment/$1" .spec.replicas)
  echo "${number:-0}"
}

# The Secret that PostgreSQL has its passwords from; empty where PostgreSQL is somebody else's.
secret_in_use() {
  field statefulset/waybill-postgres '[.spec.template.spec.volumes[]?.secret.secretName // empty] | first'
}

# Until the controller has seen a change, the revision is still that of before it.
revision_of() {
  local generation observed
  for _ in {1..50}; do
    read -r generation observed < <(field "deployment/$1" '"\(.metadata.generation) \(.status.observedGeneration)"') || true
    [[ $generation != "$observed" ]] || break
    sleep 0.2
  done
  field "deployment/$1" '.metadata.annotations["deployment.kubernetes.io/revision"]'
}

selector_of() { echo "app.kubernetes.io/name=waybill,app.kubernetes.io/component=server,track=$1"; }

# `kubectl rollout undo` writes in kubectl's name and not in ours. What it brought back would stay for ever, since server-side apply
# only removes what is its own; so that is made ours.
adopt() {
  local patch
  patch=$(kube get "deployment/$1" --ignore-not-found --show-managed-fields -o json | jq -c --arg manager "$manager" '
    def theirs: (.manager | IN("kubectl", "kubectl-rollout")) and .operation == "Update" and (.subresource // "") == "";
    def ours: .manager == $manager and .operation == "Apply" and (.subresource // "") == "";
    .metadata.managedFields // [] | . as $all
    | (map(select(theirs).fieldsV1) | reduce .[] as $one ({}; . * $one)) as $fields
    | select(any($all[]; theirs) and any($all[]; ours))
    | [{op: "replace", path: "/metadata/managedFields",
        value: [$all[] | select(theirs | not) | if ours then .fieldsV1 *= $fields else . end]}]')
  if [[ -n $patch ]]; then
    kube patch "deployment/$1" --type=json --field-manager="$manager" --patch "$patch" >/dev/null
  fi
}

# The ReplicaSets of a Deployment as a JSON array, newest first. `revision`, `cause`, and `pod`: the template with the Secret
# that is named, if one is, in place of its own.
revisions_of() {
  kube get replicasets --selector app.kubernetes.io/component=server -o json | jq -c --arg name "$1" --arg secret "${2-}" '
    def with_secret: if $secret == "" then . else
        (.spec.volumes[]?.secret.secretName | select(. != null and test("^waybill-secrets(-|$)"))) = $secret
      end;
    [.items[] | select(any(.metadata.ownerReferences[]?; .kind == "Deployment" and .name == $name))
     | {revision: (.metadata.annotations["deployment.kubernetes.io/revision"] | tonumber),
        cause: (.metadata.annotations["kubernetes.io/change-cause"] // .spec.template.spec.containers[0].image),
        name: .metadata.name, hash: .metadata.labels["pod-template-hash"],
        pod: (.spec.template | del(.metadata.labels["pod-template-hash"]) | with_secret)}]
    | sort_by(-.revision)'
}

# Returns a Deployment to the pods of a revision as `kubectl rollout undo` does and under its name, but with the Secret that is
# named: PostgreSQL knows the passwords of today, whatever the revision was made with.
return_to() {
  local patch
  patch=$(revisions_of "$1" "${3-}" | jq -c --argjson revision "$2" '
    .[] | select(.revision == $revision)
    | [{op: "replace", path: "/spec/template", value: .pod},
       {op: "add", path: "/metadata/annotations/kubernetes.io~1change-cause", value: .cause}]')
  [[ -n $patch ]] || fail "there is no revision $2 of $1 any more"
  kube patch "deployment/$1" --field-manager=kubectl-rollout --type=json --patch "$patch" >/dev/null
  adopt "$1"
}

# Gives the current revision a cause, and waits until its ReplicaSet has it too.
note() {
  # In a trap, a `return` without a number gives the status of what was interrupted.
  local revision
  revision=$(revision_of "$1")
  [[ -n $revision ]] || return 0
  kube annotate "deployment/$1" --overwrite --field-manager="$manager" "kubernetes.io/change-cause=$2" >/dev/null
  for _ in {1..20}; do
    kube get replicasets --selector app.kubernetes.io/component=server -o json |
      jq -e --arg revision "$revision" --arg cause "$2" '
        any(.items[].metadata.annotations; .["deployment.kubernetes.io/revision"] == $revision
                                           and .["kubernetes.io/change-cause"] == $cause)' >/dev/null && return 0
    sleep 0.2
  done
  say "revision $revision could not be noted as $2"
}

# Notes on the current revision why it was left. To Kubernetes, a release that failed is a revision like any other, and
# the next rollback would return to it.
mark() {
  local cause
  cause=$(cause_of "$1")
  cause=${cause:-$(image_of "$1")}
  note "$1" "${cause% (*)} ($2)"
}

scale() {
  kube patch "deployment/$1" --field-manager="$manager" --type=merge --patch "{\"spec\":{\"replicas\":$2}}" >/dev/null
}

# Why new pods will not start by waiting: `sure<tab>REASON`, or `perhaps<tab>REASON` where it may yet pass.
hopeless() {
  local revision hash
  revision=$(revision_of "$1")
  hash=$(revisions_of "$1" | jq -r --arg revision "$revision" '.[] | select(.revision == ($revision | tonumber)) | .hash')
  [[ -n $hash ]] || return 0
  kube get pods --selector "pod-template-hash=$hash" -o json | jq -r '
    def sure: (.state.waiting.reason | IN("InvalidImageName", "ErrImageNeverPull"))
      or ((.state.waiting.message // "") | test("not found|manifest unknown|name unknown|does not exist"; "i"))
      or (.state.waiting.reason == "CrashLoopBackOff" and .restartCount >= 3);
    [.items[] | select(.metadata.deletionTimestamp == null) | .metadata.name as $pod
     | (.status | (.initContainerStatuses // [])[], (.containerStatuses // [])[])
     | select(.state.waiting.reason | IN("InvalidImageName", "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff",
         "CreateContainerConfigError", "CrashLoopBackOff"))
     | (if sure then "sure" else "perhaps" end)
       + "\t\($pod): \(.state.waiting.reason): \(.state.waiting.message // "" | gsub("\\s+"; " ")[:300])"]
    | sort | last // empty'
}

# Ends the wait for a rollout that will not come: at once where that is sure, and after two minutes where it only seems so.
watch_rollout() {
  local said since='' poll=${POLL_SECONDS:-2}
  while sleep "$poll" && kill -0 "$child" 2>/dev/null; do
    said=$(hopeless "$1") || said=''
    if [[ -z $said ]]; then
      since=''
      continue
    fi
    since=${since:-$SECONDS}
    if [[ $said == sure* ]] || ((SECONDS - since >= 120)); then
      stop_child
      say "deployment/$1 will not get there: ${said#*$'\t'}"
      return 1
    fi
  done
  # A trap runs while the shell waits, and only after a command that it runs.
  wait "$child" && return
  say "deployment/$1 is not complete after $timeout"
  return 1
}

# The warnings there are now, so that `warnings_since` leaves them out. What is repeated counts as new.
remember_warnings() {
  { warnings || echo '[]'; } | jq -c 'map(.metadata | [.uid, .resourceVersion])' >"$work/warnings"
}

warnings() { kube get events --field-selector type=Warning -o json 2>/dev/null | jq -c .items; }

warnings_since() {
  warnings | jq -r --slurpfile before "$work/warnings" '
    map(select((.metadata | [.uid, .resourceVersion]) as $this | any(($before[0] // [])[]; . == $this) | not))
    | sort_by(.lastTimestamp // .eventTime // .metadata.creationTimestamp) | .[-10:][]
    | "\(.lastTimestamp // .eventTime // .metadata.creationTimestamp)  \(.involvedObject.kind | ascii_downcase)/\(.involvedObject.name)  \(.reason): \(.message)"'
}

# Waits until a Deployment is as it should be, and says why where it does not get there. `remember_warnings` comes before
# what it waits for.
wait_for_rollout() {
  say "waiting for deployment/$1"
  exec_kube rollout status "deployment/$1" --timeout="$timeout" >&2 &
  child=$!
  watch_rollout "$1" && return
  local track=${1#waybill-} pod
  [[ $1 != waybill ]] || track=stable
  kube get pods --selector "$(selector_of "$track")" -o wide >&2 || true
  warnings_since >&2 || true
  for pod in $(kube get pods --selector "$(selector_of "$track")" -o json |
    jq -r '.items[] | select(all(.status.conditions[]?; .type != "Ready" or .status != "True")) | .metadata.name'); do
    kube logs "pod/$pod" --all-containers --prefix --tail=15 >&2 || true
  done
  return 1
}

# A pod of the track that runs the Deployment's current image and takes requests.
ready_pod() {
  kube get pods --selector "$(selector_of "$1")" -o json |
    jq -r --arg image "$(image_of "$(deployment_of "$1")")" '
      [.items[]
       | select(.metadata.deletionTimestamp == null and .spec.containers[0].image == $image)
       | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))
       | .metadata.name] | first // empty'
}

# Whether a server at this address is ready and of the expected version. What is built between releases says the version
# of its source, so that 1.2.0 is right for the release 1.2.0+8f3c0ab.
answers() {
  local url=$1 release=$2 version
  curl -fsS --max-time 10 --retry 5 --retry-delay 2 --retry-all-errors "$url/readyz" -o /dev/null || return 1
  version=$(curl -fsS --max-time 10 "$url/version" | jq -r .version) || return 1
  say "$url is ready and says that it is $version"
  case $release in
    '' | "$version" | "$version"[-+]*) ;;
    *)
      say "expected was $release"
      return 1
      ;;
  esac
}

# Asks the public address. Right after a rollout, an old pod may still answer there.
public_test() {
  local url=$1 release=$2
  [[ -n $url ]] || return 0
  for _ in {1..5}; do
    answers "$url" "$release" && return
    sleep 5
  done
  answers "$url" "$release"
}

# Asks a new pod itself, through a forwarded port: network policies do not stand in its way, and no old pod answers.
smoke_test() {
  local track=$1 release=$2 pod port='' result=0
  pod=$(ready_pod "$track")
  if [[ -z $pod ]]; then
    say "no pod of the track $track is ready"
    return 1
  fi
  say "smoke test of pod/$pod"
  : >"$work/forward"
  exec_kube port-forward "pod/$pod" :http >"$work/forward" 2>&1 &
  child=$!
  for _ in {1..50}; do
    port=$(sed -nE 's/^Forwarding from 127\.0\.0\.1:([0-9]+) .*/\1/p' "$work/forward")
    if [[ -n $port ]] || ! kill -0 "$child" 2>/dev/null; then break; fi
    sleep 0.2
  done
  if [[ -n $port ]]; then
    answers "http://127.0.0.1:$port" "$release" || result=1
  else
    say "cannot forward a port: $(tail -n 1 "$work/forward")"
    result=1
  fi
  stop_child
  return "$result"
}

# Ends what runs in the background: a wait, or a forwarded port.
child=''
stop_child() {
  [[ -n $child ]] || return 0
  kill "$child" 2>/dev/null || true
  wait "$child" 2>/dev/null || true
  child=''
}
