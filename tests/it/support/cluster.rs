//! A cluster that is none: the scripts that release run for real, on a `kubectl` that keeps what it is told in a file
//! (`tests/cluster/kubectl`), plays the controllers, and refuses what it does not know.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    ledger::{Outcome, outcome},
    manifests::{copy, repository},
};

/// Where releases come from.
pub const IMAGE: &str = "registry.example.com/waybill";

/// A work tree of the repository, and the cluster that it releases to.
#[derive(Debug)]
pub struct Cluster {
    tree: TempDir,
    state: TempDir,
    path: String,
}

/// The first program of this name on the PATH.
fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is needed: scripts/test installs it"))
}

impl Cluster {
    /// An empty one, and a tree whose overlays have secrets.
    pub fn new() -> Self {
        let (tree, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        for folder in ["kustomize", "scripts"] {
            fs::create_dir(tree.path().join(folder)).unwrap();
            copy(&repository(folder), &tree.path().join(folder));
        }
        // Python itself, whatever stands before it on the PATH: it is started very often.
        let python =
            Command::new(program("python3")).args(["-c", "import sys; print(sys.executable)"]).output();
        let python = String::from_utf8(python.unwrap().stdout).unwrap();
        std::os::unix::fs::symlink(python.trim(), state.path().join("python3")).unwrap();
        let folders = [state.path().to_owned(), repository("tests/cluster")];
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(folders.into_iter().chain(env::split_paths(&path))).unwrap();
        let cluster = Self { tree, state, path: path.into_string().unwrap() };
        cluster.set_passwords("first");
        cluster
    }

    /// Gives every key of prod's secrets a value that begins like this.
    pub fn set_passwords(&self, start: &str) {
        let folder = self.tree.path().join("kustomize/overlays/prod");
        let example = fs::read_to_string(folder.join("secret.env.example")).unwrap();
        let text = example.replace("=\n", &format!("={start}-0123456789abcdef0123456789abcdef\n"));
        fs::write(folder.join("secret.env"), text).unwrap();
    }

    /// Runs a line of bash in the tree, in which `deploy` and `rollback` are the scripts for prod.
    #[track_caller]
    pub fn run(&self, line: &str) -> Outcome {
        let functions = "deploy() { scripts/deploy_k8s.sh prod \"$@\"; }\nrollback() { scripts/rollback_k8s.sh prod \"$@\"; }\n";
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &format!("{functions}{line}")])
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.state.path())
            .env("FAKE_CLUSTER", self.state.path())
            .env("REAL_KUBECTL", program("kubectl"))
            .env("DEPLOY_TIMEOUT", "4s")
            .env("POLL_SECONDS", "0.3")
            .current_dir(&self.tree)
            .stdin(Stdio::null());
        let outcome = outcome(bash);
        let refused = fs::read_to_string(self.state.path().join("refused")).unwrap_or_default();
        assert_eq!(refused, "", "{line}: {}", outcome.text);
        outcome
    }

    /// Runs a line that must work.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        let outcome = self.run(line);
        assert_eq!(outcome.code, 0, "{line}: {}", outcome.text);
        outcome.text
    }

    /// Says what is wrong in the world: `missing`, `broken` and `lost`, as `tests/cluster/kubectl` has them.
    pub fn world(&self, world: &Value) {
        fs::write(self.state.path().join("world.json"), world.to_string()).unwrap();
    }

    /// Everything in the cluster, by kind and name.
    pub fn objects(&self) -> Value {
        read(&self.state.path().join("state.json"))["objects"].take()
    }

    /// The Deployment of the stable track.
    pub fn waybill(&self) -> Value {
        self.objects()["deployment/waybill"].take()
    }

    /// What runs, as `rollout history` would say it.
    pub fn cause(&self) -> String {
        let waybill = self.waybill();
        waybill["metadata"]["annotations"]["kubernetes.io/change-cause"].as_str().unwrap().to_owned()
    }

    /// The file in git that says which images prod runs.
    pub fn home(&self) -> PathBuf {
        self.tree.path().join("kustomize/overlays/prod/image/kustomization.yaml")
    }

    /// The image of a name in that file.
    pub fn written(&self, name: &str) -> Option<String> {
        let home = read(&self.home());
        let entry = home["images"].as_array().unwrap().iter().find(|entry| entry["name"] == name)?;
        Some(format!("{}:{}", entry["newName"].as_str()?, entry["newTag"].as_str()?))
    }
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}
