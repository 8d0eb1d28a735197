# shellcheck shell=bash
# shellcheck disable=SC2154 # deploy_k8s.sh sets `overlay`, `track`, `image`, `cause`, `active`, `preview` and `work`.
# Renders an overlay for a release. Sourced by deploy_k8s.sh.
#
# It works on a copy of the overlay beside it, which git ignores: a component and an image have to stand in the overlay's
# own kustomization.yaml, so that its patches, its namespace and the hashes of its ConfigMaps reach them.

# Adds lines to a list of a kustomization.yaml, as its first or last entries; the list is made where there is none.
#   add_to_list FILE KEY first|last LINES
add_to_list() {
  local file=$1
  KEY="$2:" WHERE=$3 LINES_=$4 awk '
    function add() { if (!added) { print ENVIRON["LINES_"]; added = 1 } }
    inside && /^[^ #-]/ { add(); inside = 0 }
    { print }
    $0 == ENVIRON["KEY"] { found = 1; inside = 1; if (ENVIRON["WHERE"] == "first") add() }
    END { if (!found) print ENVIRON["KEY"]; add() }
  ' "$file" >"$file.new"
  mv "$file.new" "$file"
}

# Lists a component unless the overlay does so itself.
add_component() {
  grep -qE "^ *- \.\./\.\./components/$2/?\$" "$1" || add_to_list "$1" components "$3" "  - ../../components/$2"
}

# The entry of `images:` for REPOSITORY:TAG or REPOSITORY@DIGEST. It comes before the overlay's own, which then finds
# nothing of that name any more.
image_entry() {
  local name=$1 image=$2
  if [[ $image == *@* ]]; then
    printf '  - name: %s\n    newName: %s\n    digest: %s' "$name" "${image%@*}" "${image#*@}"
  else
    printf '  - name: %s\n    newName: %s\n    newTag: "%s"' "$name" "${image%:*}" "${image##*:}"
  fi
}

# A patch that lets a Service select one track.
service_entry() {
  printf '  - target: {kind: Service, name: %s}\n    patch: |\n' "$1"
  printf '      - {op: add, path: /spec/selector/track, value: %s}' "$2"
}

# A patch that says in `kubectl rollout history` what a revision is.
cause_entry() {
  printf '  - target: {kind: Deployment, labelSelector: "app.kubernetes.io/component=server,track=%s"}\n' "$1"
  printf '    patch: |\n      apiVersion: apps/v1\n      kind: Deployment\n      metadata:\n        name: any\n'
  printf '        annotations:\n          kubernetes.io/change-cause: "%s"' "$2"
}

# Takes out the colours' autoscalers. Without metrics an autoscaler does nothing but hold a colour at its least number.
no_autoscalers_entry() {
  printf '  - target: {kind: HorizontalPodAutoscaler, name: waybill-(blue|green)}\n'
  printf '    patch: |\n      $patch: delete\n      apiVersion: autoscaling/v2\n      kind: HorizontalPodAutoscaler\n'
  printf '      metadata:\n        name: any'
}

# Renders the overlay `overlay` for `track` with `image` and `cause`, each of which may be empty, to `$work/all.yaml`.
# `active` and `preview` are the tracks that the Services are to select, where they are to select one.
render() {
  local copy=$1 file=$1/kustomization.yaml name=waybill
  [[ $track == stable ]] || name=waybill-$track
  cp -R "$overlay/." "$copy/"
  # Where these are missing, deploy_k8s.sh applies no Secrets.
  [[ -f $copy/secret.env || ! -f $copy/secret.env.example ]] ||
    sed 's/=.*/=placeholder/' "$copy/secret.env.example" >"$copy/secret.env"
  case $track in
    canary)
      add_component "$file" canary first
      add_to_list "$file" replicas last $'  - name: waybill-canary\n    count: 1'
      ;;
    blue | green)
      kubectl kustomize "$copy" >"$work/stable.yaml"
      grep -q '^kind: HorizontalPodAutoscaler$' "$work/stable.yaml" ||
        add_to_list "$file" patches last "$(no_autoscalers_entry)"
      add_component "$file" blue-green last
      ;;
  esac
  if [[ -n $image ]]; then
    add_to_list "$file" images first "$(image_entry "$name" "$image")"
  fi
  if [[ -n $cause ]]; then
    add_to_list "$file" patches last "$(cause_entry "$track" "$cause")"
  fi
  if [[ -n $active ]]; then
    add_to_list "$file" patches last "$(service_entry waybill "$active")"
  fi
  if [[ -n $preview ]]; then
    add_to_list "$file" patches last "$(service_entry waybill-preview "$preview")"
  fi
  kubectl kustomize "$copy" >"$work/all.yaml"
}

# Prints the documents of `$work/all.yaml` that are, or with `not` are not, of one of these classes: admin, secret,
# config, job, track=TRACK, service=NAME. Kustomize writes every field on a line of its own.
documents() {
  local negate=0
  if [[ $1 == not ]]; then
    negate=1
    shift
  fi
  NEGATE=$negate CLASSES=" $* " awk '
    BEGIN { RS = "(^|\n)---\n"; negate = ENVIRON["NEGATE"] }
    function is(class) { return index(ENVIRON["CLASSES"], " " class " ") > 0 }
    {
      document = "\n" $0 "\n"
      body = index(document, "\nspec:\n")
      if (body) document = substr(document, 1, body)
      secret = document ~ /\nkind: Secret\n/
      match_ = 0
      if (is("secret") && secret) match_ = 1
      if (is("admin") && document ~ /\n    app.kubernetes.io\/component: (namespace|deployer)\n/) match_ = 1
      if (is("config") && !secret && document ~ /\n    app.kubernetes.io\/component: config\n/) match_ = 1
      if (is("job") && document ~ /\nkind: CronJob\n/) match_ = 1
      if (match(document, /\n    track: [a-z]+\n/)) {
        if (is("track=" substr(document, RSTART + 12, RLENGTH - 13))) match_ = 1
      }
      if (document ~ /\nkind: Service\n/ && match(document, /\n  name: [a-z-]+\n/)) {
        if (is("service=" substr(document, RSTART + 9, RLENGTH - 10))) match_ = 1
      }
      if (match_ != negate) print "---\n" $0
    }
  ' "$work/all.yaml"
}
