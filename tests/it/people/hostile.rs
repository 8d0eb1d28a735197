//! Every page in a real Chromium, of a ledger whose clients have put into it whatever they could: `tests/people/hostile.mjs`.

use poem::http::Method;
use reqwest::Method as Verb;
use serde_json::{Value, json};
use waybill::clock;

use super::{pages_browser::send, visitor::pages};
use crate::support::{
    api::{commit, id_of, image},
    browser,
    db::TestDb,
    process::ServerProcess,
};

/// What a page must show as text: markup, the ends of what may stand around it, text that turns around what follows, that runs from
/// right to left, that hides, and that stands on top of what is above. The script asks for each by its words.
const HOSTILE: &str = "</title></textarea></script><script>window.ran=1</script><img src=x onerror=window.ran=1>\"'><b onmouseover=window.ran=1> \
     {{ 7*7 }} `code \u{202e}desrever\u{2066}\u{2067} \u{200b}שלום عليكم 👩‍💻 z\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}";

/// Of that as much as fits into so many characters, and then one word that fills them.
fn hostile(max: usize) -> String {
    let begin: String = HOSTILE.chars().take(max).collect();
    let rest = max - begin.chars().count();
    begin + &"W".repeat(rest)
}

/// A word as long as no limit allows, with what no text may have: it is cut where it only describes.
fn endless() -> String {
    HOSTILE.to_owned() + "\u{0}\u{1b}[31m" + &"W".repeat(200_000)
}

fn url(max: usize) -> String {
    let begin = "https://registry.test/\"><script>window.ran=1</script>?";
    begin.to_owned() + &"W".repeat(max - begin.len())
}

/// The longest names.
struct Names {
    service: String,
    environment: String,
    version: String,
}

impl Names {
    fn new() -> Self {
        Self {
            service: "s".repeat(63),
            environment: "e".repeat(63),
            version: format!("1.{}", "9".repeat(126)),
        }
    }

    /// What starts a version, told as hostilely as it can be.
    fn start(&self, version: &str) -> Value {
        let change = |n: u8| json!({ "sha": commit(&format!("{version}{n}"))[..40], "committed_at": clock::now(), "title": endless() });
        json!({
            "service": self.service, "environment": self.environment, "version": version,
            "initiated_by": hostile(200), "reason": endless(), "pipeline_url": url(2000),
            "release": {
                "commit_sha": &commit(&version[version.len() - 20..])[..40], "image": image('a'), "ref": endless(),
                "labels": { "team": endless() }, "changes": [change(1), change(2)], "pipeline_url": url(2000),
            },
        })
    }
}

/// Asks for what must be done.
async fn done(server: &ServerProcess, verb: Verb, path: &str, body: Value) -> Value {
    let answer = send(server, verb.clone(), path, &body).await;
    assert!(answer.get("status").is_none_or(|status| !status.is_u64()), "{verb} {path}: {answer}");
    answer
}

/// The ids of what is made, by what they are of.
type Ids = Vec<(&'static str, String)>;

/// Deployments, releases and decisions.
async fn history(server: &ServerProcess, names: &Names) -> Ids {
    let post = Verb::POST;
    let first = names.start(&names.version);
    let made = done(server, post.clone(), "/deployments", first.clone()).await;
    let (id, decision) = (id_of(&made["deployment"]), id_of(&made["decision"]));
    let beat = json!({ "phase": endless(), "message": endless(), "traffic_percent": 5 });
    done(server, post.clone(), &format!("/deployments/{id}/heartbeat"), beat).await;
    let about = json!({ "display_name": hostile(200), "description": hostile(2000), "owner": hostile(200),
        "repository_url": url(2000), "labels": { "team": hostile(200), "other": hostile(200) } });
    done(server, Verb::PATCH, &format!("/services/{}", names.service), about).await;
    let edit = json!({ "tier": "production", "url": url(2000) });
    done(server, Verb::PATCH, &format!("/environments/{}", names.environment), edit).await;
    let mut group = hostile(180);
    group.retain(|c| !c.is_control());
    let group = group.trim().to_owned();
    let policy = json!({ "approval": { "required": 2, "groups": [group] } });
    done(server, Verb::PUT, &format!("/environments/{}/policy", names.environment), policy).await;
    let next = format!("2{}", &names.version[1..]);
    let denied = send(server, post.clone(), "/deployments", &names.start(&next)).await;
    assert_eq!(denied["decision"]["allowed"], false, "{denied}");
    let release = format!("/services/{}/releases/{next}", names.service);
    let voice = json!({ "environment": names.environment, "decision": "rejected", "comment": hostile(2000) });
    let voice = done(server, post.clone(), &format!("{release}/approvals"), voice).await;
    let report = json!({ "SchemaVersion": 2, "CreatedAt": clock::now(), "ArtifactType": "container_image",
        "Metadata": { "RepoDigests": [image('a')], "ImageConfig": { "architecture": "amd64" } },
        "Results": [{ "Class": "os-pkgs", "Vulnerabilities": [{ "VulnerabilityID": "CVE-2021-44228", "PkgName": hostile(290),
            "InstalledVersion": hostile(100), "FixedVersion": hostile(100), "Severity": "CRITICAL" }] }] });
    let first_release = format!("/services/{}/releases/{}", names.service, names.version);
    done(server, post, &format!("{first_release}/scans"), report).await;
    let denied = id_of(&denied["decision"]);
    vec![
        ("deployments", id),
        ("decisions", denied),
        ("decisions", decision),
        ("approvals", id_of(&voice)),
        ("vulnerabilities", "CVE-2021-44228".to_owned()),
    ]
}

/// What stands in the way, and who is let in.
async fn settings(server: &ServerProcess, names: &Names) -> Ids {
    let post = Verb::POST;
    let lockdown = json!({ "reason": hostile(2000) });
    done(server, Verb::PUT, &format!("/environments/{}/lockdown", names.environment), lockdown).await;
    let window = json!({ "name": hostile(200), "reason": hostile(2000), "environments": [names.environment],
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2126-01-02T00:00:00Z" });
    let window = done(server, post.clone(), "/freeze-windows", window).await;
    let until = clock::now() + chrono::TimeDelta::days(30);
    let waiver = json!({ "vulnerability": "CVE-2021-44228", "reason": hostile(2000), "expires_at": until });
    let waiver = done(server, post.clone(), "/waivers", waiver).await;
    let trust = json!({ "name": "t".repeat(63), "issuer": "ci", "scopes": ["read"],
        "claims": { "project_id": "1", "ref": hostile(500) }, "environment_map": { hostile(190): names.environment } });
    done(server, post, "/trusts", trust).await;
    vec![("freeze-windows", id_of(&window)), ("waivers", id_of(&waiver))]
}

/// The addresses of a page of these things.
fn addresses(template: &str, names: &Names, ids: &Ids) -> Vec<String> {
    let path = template.replace("{service}", &names.service).replace("{environment}", &names.environment);
    let path = path.replace("{version}", &names.version);
    let Some((before, _)) = path.split_once("{id}") else { return vec![path] };
    let kind = before.trim_end_matches('/').rsplit('/').next().unwrap();
    let of =
        ids.iter().filter(|(of, _)| *of == kind).map(|(_, id)| path.replace("{id}", id)).collect::<Vec<_>>();
    assert!(!of.is_empty(), "what is an id of {template}?");
    of
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_write_is_text_and_breaks_no_page() {
    let db = TestDb::sqlite().await;
    let mut server = ServerProcess::start_with(
        &db,
        &[
            ("WAYBILL__AUTH__ISSUER__0__NAME", "ci"),
            ("WAYBILL__AUTH__ISSUER__0__URL", "https://ci.test"),
            ("WAYBILL__AUTH__ISSUER__0__AUDIENCE", "https://waybill.test"),
            ("WAYBILL__AUTH__ISSUER__0__IMMUTABLE_CLAIMS", "project_id"),
            ("WAYBILL__LIMITS__REQUESTS_PER_SECOND", "100000"),
            ("WAYBILL__LIMITS__BURST", "100000"),
        ],
    )
    .await;
    let names = Names::new();
    let token = json!({ "name": "n".repeat(63), "subject": hostile(200), "scopes": ["admin"] });
    let token = done(&server, Verb::POST, "/tokens", token).await;
    server.token = token["token"].as_str().unwrap().to_owned();
    let mut ids = history(&server, &names).await;
    ids.extend(settings(&server, &names).await);
    let asked: String = url::form_urlencoded::byte_serialize(hostile(200).as_bytes()).collect();
    let reads = pages().into_iter().filter(|(_, methods)| methods.contains(&Method::GET));
    let paths: Vec<_> = reads.flat_map(|(template, _)| addresses(&template, &names, &ids)).collect();
    let more = ["/?owner=", "/search?q=", "/deployments?actor=", "/services/nothing-called-"]
        .map(|path| format!("{path}{asked}"));
    let paths = json!(paths.into_iter().chain(more).collect::<Vec<_>>()).to_string();
    let env = [("SERVER", server.url.as_str()), ("TOKEN", &server.token), ("PATHS", &paths)];
    let said = browser::run("hostile", &env, async |wish| panic!("nobody can {wish}")).await;
    println!("{said}");
}
