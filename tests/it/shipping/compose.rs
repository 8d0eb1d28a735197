//! The two compose files, for development and for production, which may be used in one checkout: what is done by one of them
//! leaves alone what the other runs.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::manifests::{items, repository, text};

const DEVELOPMENT: &str = "docker-compose.yml";
const PRODUCTION: &str = "docker-compose.prod.yml";
const PROJECT: &str = "COMPOSE_PROJECT_NAME=waybill-prod";
const SECRETS: [&str; 5] =
    ["superuser-password", "owner-password", "app-password", "backup-password", "admin-token"];

fn compose(file: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(repository(file)).unwrap()).unwrap()
}

fn names(file: &Value, kind: &str) -> BTreeSet<String> {
    file[kind].as_object().unwrap().keys().cloned().collect()
}

/// Compose finds what belongs to a file by these names, within a project.
#[test]
fn development_and_production_share_no_name() {
    let (development, production) = (compose(DEVELOPMENT), compose(PRODUCTION));
    for kind in ["services", "networks", "volumes"] {
        let (ours, theirs) = (names(&development, kind), names(&production, kind));
        assert!(!ours.is_empty() && !theirs.is_empty(), "{kind}");
        assert_eq!(ours.intersection(&theirs).count(), 0, "{kind}: {ours:?} and {theirs:?}");
    }
    for (name, service) in production["services"].as_object().unwrap() {
        assert!(service["extends"].is_null(), "{name} would bring development's networks along");
    }
}

/// Docker drops the image's command where the entrypoint is another.
#[test]
fn an_entrypoint_that_runs_a_command_is_given_one() {
    let development = compose(DEVELOPMENT);
    let mut runs = 0;
    for (name, service) in development["services"].as_object().unwrap() {
        if service["entrypoint"].to_string().contains("$@") {
            assert!(service["command"].as_array().is_some_and(|words| !words.is_empty()), "{name}");
            runs += 1;
        }
    }
    assert_eq!(runs, 2, "the server and its migrations");
}

/// Whether a service starts only after another one, and be it by way of a third.
fn follows(services: &Value, name: &str, first: &str) -> bool {
    let before = services[name]["depends_on"].as_object();
    before.is_some_and(|before| before.keys().any(|name| name == first || follows(services, name, first)))
}

#[test]
fn production_starts_in_a_project_of_its_own_alone() {
    let production = compose(PRODUCTION);
    let services = &production["services"];
    for name in names(&production, "services").iter().filter(|name| *name != "production") {
        assert!(follows(services, name, "production"), "{name} does not wait for the check");
    }
    assert!(text(&services["production"]["environment"]["PROJECT"]).starts_with("${COMPOSE_PROJECT_NAME:?"));
    let machine = Machine::new();
    for (project, good) in [
        ("waybill-prod", true),
        ("w-prod", true),
        ("waybill-prod-2", true),
        ("waybill", false),
        ("production", false),
        ("waybill-product", false),
    ] {
        let said = machine.checked(services, project);
        assert_eq!(said.is_empty(), good, "{project}: {said}");
        assert_eq!(said.contains(PROJECT), !good, "{said}");
    }
}

/// What the guard finds in its container.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for secret in SECRETS {
            machine.write(&format!("secrets/{secret}"), "a value");
        }
        for file in ["postgresql.conf", "roles.sh", "backup/backup.sh"] {
            machine.write(&format!("checkout/{file}"), "");
        }
        machine
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What the guard says, which is nothing when all is well.
    fn checked(&self, services: &Value, project: &str) -> String {
        let [script] = items(&services["production"]["command"]) else { panic!("{services}") };
        let here = self.0.path().to_str().unwrap();
        // Compose makes one `$` of two.
        let script = text(script)
            .replace("$$", "$")
            .replace("/run/secrets/waybill", &format!("{here}/secrets"))
            .replace("/checkout", &format!("{here}/checkout"));
        let output = Command::new("sh").args(["-c", &script]).env("PROJECT", project).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), said.is_empty(), "{said}");
        said
    }
}

#[test]
fn production_says_which_file_it_lacks() {
    let production = compose(PRODUCTION);
    let machine = Machine::new();
    machine.write("secrets/app-password", "");
    let said = machine.checked(&production["services"], "waybill-prod");
    assert!(said.contains("secrets/app-password is empty"), "{said}");
    machine.write("secrets/app-password", "a value");
    fs::remove_file(machine.0.path().join("checkout/roles.sh")).unwrap();
    let said = machine.checked(&production["services"], "waybill-prod");
    assert!(said.contains("roles.sh cannot be read") && said.contains("chmod -R go+rX"), "{said}");
}

/// Who gets which secret: nobody but the guard and PostgreSQL more than one, and nobody any in its environment.
#[test]
fn a_container_in_production_is_given_its_own_secrets_alone() {
    let production = compose(PRODUCTION);
    assert_eq!(names(&production, "secrets"), SECRETS.iter().copied().map(str::to_owned).collect());
    let given = [
        ("production", &SECRETS[..]),
        ("production-postgres", &["superuser-password", "owner-password", "app-password", "backup-password"]),
        ("production-migrate", &["owner-password"]),
        ("production-api", &["app-password", "admin-token"]),
        ("production-backup", &["backup-password"]),
        ("production-restore", &["superuser-password"]),
    ];
    assert_eq!(names(&production, "services").len(), given.len());
    for (service, secrets) in given {
        let service = &production["services"][service];
        for secret in items(&service["secrets"]) {
            assert_eq!(text(&secret["target"]), format!("waybill/{}", text(&secret["source"])));
        }
        let sources: Vec<_> =
            items(&service["secrets"]).iter().map(|secret| text(&secret["source"])).collect();
        assert_eq!(sources, secrets);
        for (name, value) in service["environment"].as_object().unwrap() {
            let secret = name.contains("PASSWORD") || name.contains("TOKEN");
            assert!(!secret || text(value).starts_with("/run/secrets/waybill/"), "{name}: {value}");
        }
    }
}

/// One container that runs wild takes neither the machine's memory nor its processes nor its disk along.
#[test]
fn every_container_in_production_is_bounded_and_pinned() {
    for (name, service) in compose(PRODUCTION)["services"].as_object().unwrap() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["mem_limit"].is_string() && service["pids_limit"].is_number(), "{name}");
        let log = &service["logging"]["options"];
        assert!(log["max-size"].is_string() && log["max-file"].is_string(), "{name}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(text(port).starts_with("127.0.0.1:"), "{name}: {port}");
        }
        let image = text(&service["image"]);
        let version = image.strip_prefix("postgres:").and_then(|tag| tag.split('-').next());
        let minor = version.is_some_and(|version| version.split_once('.').is_some());
        assert!(minor || image.starts_with("${WAYBILL_IMAGE:?"), "{name}: {image}");
        assert!(service["build"].is_null(), "{name}: what is not pinned is not built either");
    }
}

/// The database is reached by those that need it, and reaches nothing.
#[test]
fn productions_database_has_a_network_that_leads_nowhere() {
    let production = compose(PRODUCTION);
    let database = &production["services"]["production-postgres"];
    assert!(database["ports"].is_null(), "{database}");
    assert_eq!(database["networks"], json!(["production-database"]));
    assert_eq!(production["networks"]["production-database"]["internal"], true);
}

#[test]
fn every_command_for_production_names_its_project() {
    let mut seen = 0;
    for file in [PRODUCTION, "README.md", ".env.example", "docs/containers.md", "docs/operations.md"] {
        for line in fs::read_to_string(repository(file)).unwrap().lines() {
            if line.contains("-f docker-compose.prod.yml") {
                assert!(line.contains(PROJECT), "{file}: {line}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "the documents show the command");
}
