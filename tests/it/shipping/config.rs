//! Every setting that the manifests, the images and the documents name is one that the binary knows.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    ignored::is_ignored,
    manifests::{BY_HAND, ENVIRONMENTS, Kustomize, Manifests, combinations, items, repository, text},
    process::command,
};

/// Where each container finds its secrets.
const SECRETS: &str = "/run/secrets";

fn check(env: &[(String, String)]) -> Output {
    let folder = TempDir::new().unwrap();
    command(&folder).args(["config", "check"]).envs(env.iter().cloned()).output().unwrap()
}

/// The environment of a container, as the kubelet would put it together.
fn environment(manifests: &Manifests, container: &Value) -> Vec<(String, String)> {
    let mut env = Vec::new();
    for source in items(&container["envFrom"]) {
        let map = manifests.get("ConfigMap", text(&source["configMapRef"]["name"]));
        let data = map["data"].as_object().unwrap();
        env.extend(data.iter().map(|(key, value)| (key.clone(), text(value).to_owned())));
    }
    let own = items(&container["env"]).iter();
    env.extend(own.map(|entry| (text(&entry["name"]).to_owned(), text(&entry["value"]).to_owned())));
    env
}

/// The secrets that the container's volumes bring, as files below `folder`.
fn mount_secrets(pod: &Value, container: &Value, manifests: &Manifests, folder: &Path) {
    for mount in items(&container["volumeMounts"]) {
        let Some(below) = text(&mount["mountPath"]).strip_prefix(SECRETS) else { continue };
        let folder = folder.join(below.trim_start_matches('/'));
        fs::create_dir_all(&folder).unwrap();
        let volume = items(&pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        let name = text(&volume["secret"]["secretName"]);
        for item in items(&volume["secret"]["items"]) {
            let is_there = || manifests.get("Secret", name)["data"].get(text(&item["key"])).is_some();
            assert!(BY_HAND.contains(&name) || is_there(), "{item} is not in the Secret");
            fs::write(folder.join(text(&item["path"])), "0123456789abcdef0123456789abcdef").unwrap();
        }
    }
}

/// Runs `waybill config check` as each container of our image would; gives how many there were.
fn check_all(manifests: &Manifests) -> usize {
    let mut checked = 0;
    for workload in manifests.workloads() {
        let is_ours = |container: &&Value| {
            let image = text(&container["image"]);
            image.rsplit('/').next().is_some_and(|name| name == "waybill" || name.starts_with("waybill:"))
        };
        for container in workload.containers().filter(is_ours) {
            let folder = TempDir::new().unwrap();
            mount_secrets(workload.pod(), container, manifests, folder.path());
            let mut env = environment(manifests, container);
            for (_, value) in &mut env {
                *value = value.replace(SECRETS, folder.path().to_str().unwrap());
            }
            let output = check(&env);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{}: {env:?}: {said}", workload.name);
            checked += 1;
        }
    }
    checked
}

#[test]
fn every_container_of_an_environment_has_a_configuration_that_is_valid() {
    let kustomize = Kustomize::new();
    for environment in ENVIRONMENTS {
        assert!(
            check_all(&kustomize.overlay(environment)) >= 2,
            "{environment}: the server and its migration"
        );
    }
    for components in combinations() {
        assert!(check_all(&kustomize.combination(&components)) >= 1, "{components:?}");
    }
}

/// The first block of YAML below a heading of a page.
fn shown(page: &str, heading: &str) -> String {
    let page = fs::read_to_string(repository(page)).unwrap();
    let (_, below) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let (_, block) = below.split_once("```yaml\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_overlay_of_the_page_about_identity_says_whose_word_is_taken() {
    let kustomize = Kustomize::new();
    let overlay = kustomize.path("overlays/dev/kustomization.yaml");
    let mut own: Value = serde_saphyr::from_str(&fs::read_to_string(&overlay).unwrap()).unwrap();
    let more: Value = serde_saphyr::from_str(&shown("docs/identity.md", "## In Kubernetes")).unwrap();
    for (key, more) in more.as_object().unwrap() {
        let all = [items(&own[key]), items(more)].concat();
        own[key] = all.into();
    }
    fs::write(&overlay, own.to_string()).unwrap();
    let manifests = kustomize.overlay("dev");
    assert!(check_all(&manifests) >= 2);
    let settings = manifests.get("ConfigMap", "waybill-config")["data"].as_object().unwrap();
    let auth = settings.iter().filter(|(key, _)| key.starts_with("WAYBILL__AUTH__"));
    let examples: Vec<_> = auth.filter(|(_, value)| text(value).contains("example.com")).collect();
    assert!(examples.is_empty(), "the component's own values count: {examples:?}");
    let policy = manifests.get("NetworkPolicy", "waybill-to-issuer").to_string();
    assert!(policy.contains("203.0.113.7/32") && !policy.contains("192.0.2.10"), "{policy}");
}

#[test]
fn a_setting_that_the_binary_does_not_know_is_found() {
    let output = check(&[("WAYBILL__SERVER__LISTENS".to_owned(), "0.0.0.0:3000".to_owned())]);
    assert!(!output.status.success());
}

/// What may name settings besides the program itself.
const NAMING: [&str; 15] = [
    ".ci",
    ".env.example",
    ".gitlab",
    ".gitlab-ci.yml",
    "Dockerfile",
    "README.md",
    "docker-compose.prod.yml",
    "docker-compose.yml",
    "docs",
    "examples",
    "flake.nix",
    "kustomize",
    "monitoring",
    "nix",
    "scripts",
];

fn files_below(path: PathBuf, found: &mut Vec<PathBuf>) {
    if path.strip_prefix(repository("")).is_ok_and(is_ignored) {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            files_below(entry.unwrap().path(), found);
        }
    } else {
        assert!(path.is_file(), "{} is not there", path.display());
        found.push(path);
    }
}

/// The variables in a text: the prefix and all that can follow it in a name.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let starts = text.match_indices("WAYBILL__").map(|(start, _)| &text[start..]);
    starts.map(|rest| rest.chars().take_while(|c| is_part(*c)).collect()).collect()
}

/// Whether a key is one of a section of a list, of which there are none by default.
fn is_of_a_list(key: &str) -> bool {
    let section = ["auth.issuer.", "auth.role."].iter().find_map(|list| key.strip_prefix(list));
    section.is_some_and(|rest| rest.split('.').next().is_some_and(|number| number.parse::<u8>().is_ok()))
}

#[test]
fn every_variable_that_is_named_anywhere_is_known() {
    // A section of a list is listed where there is one, and is as any other of its list.
    let section = [("NAME", "a"), ("URL", "https://a.test"), ("AUDIENCE", "a")]
        .map(|(key, value)| (format!("WAYBILL__AUTH__ISSUER__0__{key}"), value.to_owned()));
    let listing = String::from_utf8(check(&section).stdout).unwrap();
    let keys: BTreeSet<&str> = listing.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert!(keys.contains("server.listen"), "{listing}");
    let mut files = Vec::new();
    for name in NAMING {
        files_below(repository(name), &mut files);
    }
    let mut seen = 0;
    for file in files {
        // Pictures and such name nothing.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for variable in variables(&text) {
            let key = variable["WAYBILL__".len()..].to_lowercase().replace("__", ".").replace(".1.", ".0.");
            let known = |key: &str| keys.contains(key);
            let is_known = is_of_a_list(&key) || known(&key) || key.strip_suffix("_file").is_some_and(known);
            assert!(is_known || key.is_empty(), "{}: {variable} sets nothing", file.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} variables were found");
}
