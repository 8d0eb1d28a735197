# shellcheck shell=bash
# shellcheck disable=SC2154 # The scripts that source this set `overlay`, `track`, `image`, `cause`, `active`, `preview` and `work`.
# The image of an overlay in git, and the overlay rendered for a release.
#
# kustomize/overlays/ENV/image/kustomization.yaml is the one place that says which images an environment runs: a component of
# the overlay, and so what `kubectl apply -k`, Argo CD and Flux deploy. It is JSON, which is YAML too, so that it is read and
# written as data.

home_of() { echo "$1/image/kustomization.yaml"; }

check_home() {
  jq -e .images "$1" >/dev/null 2>&1 ||
    fail "$1 is missing, or not JSON as it is written here: copy that of kustomize/overlays/dev, and list 'image' last under the overlay's components"
}

# Changes a home by a program of jq, which gets the other arguments.
edit_home() {
  local file=$1
  jq --indent 2 "${@:2}" "$file" >"$file.new"
  if cmp -s "$file" "$file.new"; then rm "$file.new"; else mv "$file.new" "$file"; fi
}

name_of() { if [[ $1 == stable ]]; then echo waybill; else echo "waybill-$1"; fi; }

# image_in HOME TRACK, empty where it says nothing of the track.
image_in() {
  jq -r --arg name "$(name_of "$2")" '
    .images[] | select(.name == $name) | .newName + (if .digest then "@" + .digest else ":" + .newTag end)' "$1"
}

cause_in() {
  jq -r --arg track "$2" '
    .patches[]? | select(.target.labelSelector | endswith(",track=" + $track)) | .patch | fromjson
    | .metadata.annotations["kubernetes.io/change-cause"]' "$1"
}

# forget_image HOME TRACK
forget_image() {
  edit_home "$1" --arg name "$(name_of "$2")" --arg track "$2" '
    .images |= map(select(.name != $name))
    | .patches |= map(select(.target.labelSelector | endswith(",track=" + $track) | not))'
}

# set_image HOME TRACK IMAGE CAUSE. The cause is what `kubectl rollout history` shows.
set_image() {
  edit_home "$1" --arg name "$(name_of "$2")" --arg track "$2" --arg image "$3" --arg cause "$4" '
    def entry: ($image | capture("^(?<newName>.+)@(?<digest>.+)$") // capture("^(?<newName>.+):(?<newTag>[^:/]+)$")) + {name: $name};
    def note: {target: {kind: "Deployment", labelSelector: ("app.kubernetes.io/component=server,track=" + $track)},
               patch: {apiVersion: "apps/v1", kind: "Deployment",
                       metadata: {name: "any", annotations: {"kubernetes.io/change-cause": $cause}}} | tojson};
    .images |= (map(select(.name != $name)) + [entry | {name, newName} + .] | sort_by(.name))
    | .patches |= (map(select(.target.labelSelector | endswith(",track=" + $track) | not)) + [note] | sort_by(.target.labelSelector))'
}

# add_to_home HOME KEY JSON
add_to_home() { edit_home "$1" --arg key "$2" --argjson value "$3" '.[$key] += [$value]'; }

# select_track HOME SERVICE TRACK
select_track() {
  add_to_home "$1" patches "$(jq -cn --arg name "$2" --arg track "$3" '
    {target: {kind: "Service", $name}, patch: ([{op: "add", path: "/spec/selector/track", value: $track}] | tojson)}')"
}

# Without metrics an autoscaler does nothing but hold a colour at its least number.
without_autoscalers() {
  add_to_home "$1" patches "$(jq -cn '
    {target: {kind: "HorizontalPodAutoscaler", name: "waybill-(blue|green)"},
     patch: ({"$patch": "delete", apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: {name: "any"}} | tojson)}')"
}

# Renders the overlay `overlay` for `track` with `image` and `cause`, each of which may be empty, to `$work/all.yaml`, and as one
# JSON object a line to `$work/objects.json`. `active` and `preview` are the tracks that the Services are to select, where they
# are to select one. It works on a copy beside the overlay, which git ignores.
render() {
  local copy=$1 home
  home=$(home_of "$copy")
  cp -R "$overlay/." "$copy/"
  # Where these are missing, deploy_k8s.sh applies no Secrets.
  [[ -f $copy/secret.env || ! -f $copy/secret.env.example ]] ||
    sed 's/=.*/=placeholder/' "$copy/secret.env.example" >"$copy/secret.env"
  [[ -z $image ]] || set_image "$home" "$track" "$image" "$cause"
  case $track in
    canary) add_component "$home" canary ;;
    blue | green)
      kubectl kustomize "$copy" >"$work/stable.yaml"
      add_component "$home" blue-green
      grep -q '^kind: HorizontalPodAutoscaler$' "$work/stable.yaml" || without_autoscalers "$home"
      ;;
  esac
  [[ -z $active ]] || select_track "$home" waybill "$active"
  [[ -z $preview ]] || select_track "$home" waybill-preview "$preview"
  kubectl kustomize "$copy" >"$work/all.yaml"
  # A patch that changes nothing, of what is not sent anywhere: this makes JSON of it.
  kubectl patch --local --type=json --patch='[]' -f "$work/all.yaml" -o json | jq -c . >"$work/objects.json"
}

# Lists a component unless the overlay does so itself.
add_component() {
  grep -qE "^ *- \.\./\.\./components/$2/?\$" "$overlay/kustomization.yaml" ||
    add_to_home "$1" components "\"../../../components/$2\""
}

# Prints those objects of `$work/objects.json`, as one List, that are, or with `not` are not, of one of these classes: admin,
# secret, config, job, track=TRACK, service=NAME. Prints nothing where there are none.
documents() {
  jq -cs --arg classes "$*" '
    def is($class):
      .metadata.labels as $labels | ($class / "=") as [$key, $value]
      | if $key == "secret" then .kind == "Secret"
        elif $key == "admin" then $labels["app.kubernetes.io/component"] | IN("namespace", "deployer")
        elif $key == "config" then .kind != "Secret" and $labels["app.kubernetes.io/component"] == "config"
        elif $key == "job" then .kind == "CronJob"
        elif $key == "track" then $labels.track == $value
        elif $key == "service" then .kind == "Service" and .metadata.name == $value
        else error("there is no class \($class)") end;
    ($classes / " ") as $all | ($all[0] == "not") as $not
    | map(select(. as $object | any($all[if $not then 1 else 0 end:][]; . as $class | $object | is($class)) != $not))
    | if . == [] then empty else {apiVersion: "v1", kind: "List", items: .} end' "$work/objects.json"
}
