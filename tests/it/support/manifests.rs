//! The Kubernetes manifests as a cluster is given them: rendered by `kubectl kustomize`, with secrets made up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use super::ignored::is_ignored;

/// The environments that have an overlay.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

/// What the manifests call our image: the stable version, a canary and two colours.
const IMAGES: [&str; 4] = ["waybill", "waybill-canary", "waybill-blue", "waybill-green"];

/// What every secret is in these tests; long enough for an admin token.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A copy of `kustomize/`, in which every overlay has its `secret.env`.
#[derive(Debug)]
pub struct Kustomize {
    root: TempDir,
}

/// One built kustomization: the objects in the order in which they are applied.
#[derive(Debug)]
pub struct Manifests(pub Vec<Value>);

/// Something that makes pods, and the pod that it makes.
#[derive(Debug, Clone)]
pub struct Workload {
    /// `Deployment/waybill`.
    pub name: String,
    /// The template, or for a CronJob the template of its Job: `metadata` and `spec`.
    pub template: Value,
}

/// The file `path` of this repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The Secrets that no manifest has: whoever runs the cluster makes them.
pub const BY_HAND: [&str; 1] = ["waybill-oidc"];

/// The lines of `kustomize/combinations.txt`: lists of components.
pub fn combinations() -> Vec<Vec<String>> {
    let text = fs::read_to_string(repository("kustomize/combinations.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

impl Kustomize {
    /// Copies what is in the repository, but neither real secrets nor what a deployment has left behind.
    pub fn new() -> Self {
        let root = TempDir::new().unwrap();
        copy(&repository("kustomize"), root.path());
        let kustomize = Self { root };
        for environment in ENVIRONMENTS {
            kustomize.write_secrets(&format!("overlays/{environment}"));
        }
        kustomize
    }

    /// Where a file of `kustomize/` is in this copy.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The overlay of an environment.
    pub fn overlay(&self, environment: &str) -> Manifests {
        self.build(&format!("overlays/{environment}"))
            .unwrap_or_else(|error| panic!("{environment}: {error}"))
    }

    /// Base with these components, in an overlay that is made for it.
    pub fn combination(&self, components: &[String]) -> Manifests {
        let folder =
            format!("overlays/{}", [&["test".to_owned()], components].concat().join("-").replace('/', "-"));
        fs::create_dir_all(self.path(&folder)).unwrap();
        fs::copy(self.path("overlays/dev/namespace.yaml"), self.path(&folder).join("namespace.yaml"))
            .unwrap();
        let components: Vec<String> =
            components.iter().map(|name| format!("../../components/{name}")).collect();
        let images =
            IMAGES.map(|name| serde_json::json!({"name": name, "newName": IMAGES[0], "newTag": "0.1.0"}));
        let kustomization = serde_json::json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "waybill-test",
            "resources": ["namespace.yaml", "../../base"],
            "components": components,
            "images": images,
            "secretGenerator": [{"name": "waybill-secrets", "envs": ["secret.env"]}],
            "configMapGenerator": [{"name": "waybill-config", "behavior": "merge",
                "literals": ["WAYBILL__SERVER__PUBLIC_URL=https://waybill.example.com"]}],
        });
        fs::write(self.path(&folder).join("kustomization.yaml"), kustomization.to_string()).unwrap();
        let labels = ["name", "part-of"].map(|key| (format!("app.kubernetes.io/{key}"), "waybill"));
        let namespace = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "waybill-test", "labels": std::collections::BTreeMap::from(labels)},
        });
        fs::write(self.path(&folder).join("namespace.yaml"), namespace.to_string()).unwrap();
        self.write_secrets(&folder);
        self.build(&folder).unwrap_or_else(|error| panic!("{components:?}: {error}"))
    }

    /// Builds a folder of the copy. Fails with what kustomize said, and also when it warned.
    pub fn build(&self, folder: &str) -> Result<Manifests, String> {
        let output = Command::new("kubectl").arg("kustomize").arg(self.path(folder)).output();
        let output = output
            .unwrap_or_else(|error| panic!("kubectl is needed: {error}; install version 1.30 or newer"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() || !said.is_empty() {
            return Err(said);
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Ok(Manifests(serde_saphyr::from_multiple(&text).unwrap()))
    }

    /// Every key of the example, in all environments the same, with a value.
    fn write_secrets(&self, folder: &str) {
        let example = fs::read_to_string(self.path("overlays/dev/secret.env.example")).unwrap();
        let text = example.replace("=\n", &format!("={SECRET}\n"));
        fs::write(self.path(folder).join("secret.env"), text).unwrap();
    }
}

impl Manifests {
    /// The objects of one kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of this kind and name; a generated name is taken without its hash.
    pub fn get(&self, kind: &str, name: &str) -> &Value {
        let found = self.find(kind, name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The same, where there may be none.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).find(|object| {
            let rest = text(&object["metadata"]["name"]).strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || is_hash(kind, rest))
        })
    }

    /// Everything that makes pods.
    pub fn workloads(&self) -> Vec<Workload> {
        let workload = |object: &Value| {
            let spec = &object["spec"];
            let template = match text(&object["kind"]) {
                "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => &spec["template"],
                "CronJob" => &spec["jobTemplate"]["spec"]["template"],
                "Pod" => object,
                _ => return None,
            };
            Some(Workload { name: title(object), template: template.clone() })
        };
        self.0.iter().filter_map(workload).collect()
    }

    /// The Deployments of the server: one, or one for each track. With SQLite it may be a StatefulSet.
    pub fn servers(&self) -> Vec<&Value> {
        let is_server =
            |object: &&Value| object["metadata"]["labels"]["app.kubernetes.io/component"] == "server";
        self.of_kind("Deployment").chain(self.of_kind("StatefulSet")).filter(is_server).collect()
    }

    /// The value of a key of a ConfigMap.
    pub fn setting(&self, config_map: &str, key: &str) -> &str {
        text(&self.get("ConfigMap", config_map)["data"][key])
    }
}

impl Workload {
    /// The pod's specification.
    pub fn pod(&self) -> &Value {
        &self.template["spec"]
    }

    /// The labels of its pods.
    pub fn labels(&self) -> &Value {
        &self.template["metadata"]["labels"]
    }

    /// The containers that stay, and those that come before them.
    pub fn containers(&self) -> impl Iterator<Item = &Value> {
        items(&self.pod()["initContainers"]).iter().chain(items(&self.pod()["containers"]))
    }
}

/// `Deployment/waybill`.
pub fn title(object: &Value) -> String {
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The text that this must be.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The elements of a list, which may be missing.
pub fn items(value: &Value) -> &[Value] {
    if value.is_null() {
        return &[];
    }
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// What kustomize appends to the name of a ConfigMap or Secret: `-` and ten letters or digits.
fn is_hash(kind: &str, rest: &str) -> bool {
    let is_generated = matches!(kind, "ConfigMap" | "Secret");
    is_generated && rest.len() == 11 && rest.starts_with('-') && !rest[1..].contains('-')
}

/// Copies a directory, without what git ignores and without hidden files.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if is_ignored(Path::new(name)) || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            fs::create_dir(to.join(name)).unwrap();
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
