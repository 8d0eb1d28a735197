//! The two compose files, for development and for production, which may be used in one checkout: what is done by one of them
//! leaves alone what the other runs.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use crate::support::manifests::{items, repository, text};

const DEVELOPMENT: &str = "docker-compose.yml";
const PRODUCTION: &str = "docker-compose.prod.yml";
const PROJECT: &str = "COMPOSE_PROJECT_NAME=waybill-prod";

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
    let guard = &services["production"];
    assert!(text(&guard["environment"]["PROJECT"]).starts_with("${COMPOSE_PROJECT_NAME:?"));
    let [script] = items(&guard["command"]) else { panic!("{guard}") };
    // Compose makes one `$` of two.
    let script = text(script).replace("$$", "$");
    for (project, good) in [
        ("waybill-prod", true),
        ("w-prod", true),
        ("waybill-prod-2", true),
        ("waybill", false),
        ("production", false),
        ("waybill-product", false),
    ] {
        let output = Command::new("sh").args(["-c", &script]).env("PROJECT", project).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), good, "{project}: {said}");
        assert_eq!(said.contains(PROJECT), !good, "{said}");
    }
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
