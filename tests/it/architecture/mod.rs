//! Data flows one way: `api, worker → usecase → {domain, issuer, store}`, `{issuer, store} → domain`, `domain → nothing`; `api` knows the
//! room that it is served in, `http`, and that knows no resource. These tests read
//! the sources and hold it, with the few other rules that no lint can express.

mod code;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::code::Names;

const LONGEST_FILE_LINES: usize = 500;
/// What keeps `domain` pure: nothing that waits, talks to anything, or differs from run to run.
const IMPURE: [&str; 8] =
    ["async", "await", "getrandom", "poem", "poem_openapi", "reqwest", "sea_orm", "tokio"];
/// The vocabulary and the policy derive the formats they are stored and sent in: three copies of each would be worse.
const VOCABULARY: [&str; 2] = ["src/domain/policy/mod.rs", "src/domain/vocabulary.rs"];
const FORMATS: [&str; 3] = ["poem", "poem_openapi", "sea_orm"];

/// What a top-level module must not name.
struct Rule {
    module: &'static str,
    modules: &'static [&'static str],
    identifiers: &'static [&'static str],
}

const RULES: [Rule; 9] = [
    Rule {
        module: "domain",
        modules: &["api", "cli", "clock", "config", "http", "issuer", "serve", "store", "usecase", "worker"],
        identifiers: &IMPURE,
    },
    Rule {
        module: "store",
        modules: &["api", "cli", "http", "issuer", "serve", "usecase", "worker"],
        identifiers: &["poem", "poem_openapi"],
    },
    Rule {
        module: "issuer",
        modules: &["api", "cli", "http", "serve", "store", "usecase", "worker"],
        identifiers: &["poem", "poem_openapi", "sea_orm"],
    },
    Rule {
        module: "usecase",
        modules: &["api", "cli", "http", "serve", "worker"],
        identifiers: &["poem", "poem_openapi"],
    },
    Rule {
        module: "worker",
        modules: &["api", "cli", "http", "issuer", "serve"],
        identifiers: &["poem", "poem_openapi"],
    },
    Rule {
        module: "api",
        modules: &["cli", "issuer", "serve", "store", "web", "worker"],
        identifiers: &["sea_orm"],
    },
    Rule {
        module: "http",
        modules: &["api", "cli", "issuer", "serve", "store", "usecase", "web", "worker"],
        identifiers: &["sea_orm"],
    },
    Rule {
        module: "web",
        modules: &["cli", "issuer", "serve", "store", "worker"],
        identifiers: &["poem_openapi", "sea_orm"],
    },
    Rule { module: "cli", modules: &[], identifiers: &["sea_orm"] },
];

/// Everything a file does that it must not; `path` is relative to the root of the repository.
fn violations(path: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > LONGEST_FILE_LINES {
        found.push(format!("{path} has {lines} lines, more than {LONGEST_FILE_LINES}: split it"));
    }
    let module = path.strip_prefix("src/").and_then(|path| path.split(['/', '.']).next());
    let Some(rule) = RULES.iter().find(|rule| Some(rule.module) == module) else { return found };
    let names = Names::of(source);
    for name in names.modules.iter().filter(|name| rule.modules.contains(&name.as_str())) {
        found.push(format!("{path} names crate::{name}, which {} must not know", rule.module));
    }
    if names.climbs {
        found.push(format!(
            "{path} names super::super: write the path from crate, so that this test can see it"
        ));
    }
    for name in names.identifiers.iter().map(String::as_str).filter(|name| rule.identifiers.contains(name)) {
        if !(VOCABULARY.contains(&path) && FORMATS.contains(&name)) {
            found.push(format!("{path} names {name}, which has no place in {}", rule.module));
        }
    }
    found
}

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut files = Vec::new();
    for directory in ["src", "migration/src", "tests"] {
        rust_files(&root.join(directory), &mut files);
    }
    for file in files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap();
        if file.with_extension("").is_dir() {
            found.push(format!("{path} lies beside the folder of its module: it is the folder's mod.rs"));
        }
        found.extend(violations(path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn what_breaks_a_rule_is_found() {
    for (path, source) in [
        ("src/domain/gate.rs", "use crate::store::db;"),
        ("src/domain/gate.rs", "use crate::{\n    domain::ids,\n    store::{db, error},\n};"),
        ("src/domain/gate.rs", "use super::super::store;"),
        ("src/domain/gate.rs", "pub async fn evaluate() {}"),
        ("src/domain/gate.rs", "use sea_orm::DeriveValueType;"),
        ("src/domain/policy/mod.rs", "use tokio::time;"),
        ("src/domain.rs", "use crate::api;"),
        ("src/store/db/mod.rs", "use crate::usecase::deployments;"),
        ("src/store/db/mod.rs", "fn f() -> poem::Result<()> { todo!() }"),
        ("src/usecase/deployments.rs", "use poem_openapi::Object;"),
        ("src/worker/relay.rs", "use crate::http::problem::Problem;"),
        ("src/api/deployments.rs", "use crate::store;"),
        ("src/api/trusts.rs", "use crate::issuer::Issuers;"),
        ("src/issuer/keys.rs", "use crate::store::token;"),
        ("src/api/deployments.rs", "fn f(db: &sea_orm::DatabaseConnection) {}"),
        ("src/http/limits.rs", "use sea_orm as orm;"),
        ("src/http/routes.rs", "use crate::api::deployments;"),
        ("src/cli/status.rs", "use sea_orm::Database;"),
        ("src/cli/status.rs", &"\n".repeat(501)),
        ("migration/src/lib.rs", &"\n".repeat(501)),
    ] {
        assert_eq!(violations(path, source).len(), 1, "{path}: {source} {:?}", violations(path, source));
    }
}

#[test]
fn what_keeps_the_rules_is_not_found() {
    for (path, source) in [
        ("src/domain/gate.rs", "use crate::domain::ids::ServiceId; // unlike crate::store, async or sea_orm"),
        (
            "src/domain/gate.rs",
            "/* crate::store /* nested */ sea_orm */ const A: &str = \"crate::api \\\" tokio\";",
        ),
        (
            "src/domain/gate.rs",
            "const A: &str = r#\"a \" crate::api\"#; fn f<'a>(x: &'a str) -> char { '\"' }",
        ),
        (
            "src/domain/vocabulary.rs",
            "#[derive(sea_orm::DeriveValueType, poem_openapi::NewType)] struct Id(u8);",
        ),
        ("src/domain/vocabulary.rs", "use sea_orm::DeriveActiveEnum;"),
        ("src/store/db/mod.rs", "use crate::{config::DatabaseConfig, domain::ids}; use sea_orm::Database;"),
        ("src/usecase/deployments.rs", "use crate::{domain::gate, store::db};"),
        (
            "src/api/deployments.rs",
            "use crate::{domain::ids, usecase::deployments}; use poem_openapi::Object;",
        ),
        ("src/worker/relay.rs", "use crate::usecase::seal;"),
        ("src/usecase/exchange.rs", "use crate::issuer::Issuers;"),
        ("src/app.rs", "use crate::{api, store};"),
        ("tests/it/main.rs", "use sea_orm::Database;"),
    ] {
        assert_eq!(violations(path, source), [""; 0], "{source}");
    }
}
