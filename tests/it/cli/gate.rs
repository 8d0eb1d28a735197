//! The gate on the command line: asked, waited for, and its decisions read and evaluated again.

use std::{
    process::{Child, Output, Stdio},
    time::{Duration, Instant},
};

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::{
    db_test,
    support::{
        api::start_body,
        eventually,
        process::ServerProcess,
        shell::{COMMIT, Shell, code},
    },
};

const TARGET: [&str; 4] = ["--service", "shop", "--environment", "staging"];

/// Far less than any back-off of the command line adds up to.
const SOON: Duration = Duration::from_secs(5);

/// The arguments of a command about shop in staging.
fn about<'a>(command: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [command, &TARGET, more].concat()
}

fn gate<'a>(version: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    about(&["gate"], &[&["--version", version], more].concat())
}

/// Starts a deployment of a release that is new, and gives its id.
fn start(shell: &Shell, version: &str) -> String {
    let line = about(&["deploy", "start"], &["--version", version, "--commit", COMMIT]);
    shell.ok(&line).trim().to_owned()
}

fn finish(shell: &Shell, id: &str) {
    shell.ok(&["deploy", "finish", id, "--status", "succeeded"]);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Begins something that waits, and waits until it says so.
async fn spawn(server: &ServerProcess, shell: &Shell, line: &[&str]) -> Child {
    let asked = async || requests(server, "check_gate").await + requests(server, "start_deployment").await;
    let before = asked().await;
    let child = shell.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("its first question", async || (asked().await > before).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    child
}

/// How many requests of an operation the server has answered.
async fn requests(server: &ServerProcess, operation: &str) -> f64 {
    let metrics = server.client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    let counts = |line: &&str| line.starts_with("waybill_http_requests_total{") && line.contains(operation);
    let lines = metrics.lines().filter(counts);
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Puts a rollback in the place of whatever runs, and gives its id.
async fn preempt(server: &ServerProcess, version: &str) -> String {
    let mut body = start_body("shop/staging", version);
    body["kind"] = json!("rollback");
    body["preempt"] = json!(true);
    body.as_object_mut().unwrap().remove("release");
    let answer = server.client().post(server.at("/api/v1/deployments")).json(&body).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    answer["deployment"]["id"].as_str().unwrap().to_owned()
}

fn waits(output: &Output) -> usize {
    text(&output.stderr).matches("waiting for the gate").count()
}

db_test!(
    async fn the_gate_says_every_rule_and_tells_by_its_exit_code(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let id = start(&shell, "1.0");
        assert_eq!(code(&shell.deploy("1.1", &[], "true")), 121);

        let shut = shell.run(&gate("1.1", &[]));
        let said = text(&shut.stdout);
        assert_eq!(code(&shut), 5, "{said}");
        let (first, last) = (said.lines().next().unwrap(), said.lines().last().unwrap());
        assert!(
            first.starts_with("  ✗ concurrency  concurrent-deployment  1.0 is being deployed by "),
            "{said}"
        );
        assert_eq!(last, "  ✓ lockdown  ✓ freeze  ✓ outdated", "{said}");
        let dry = shell.run(&about(&["deploy"], &["--version", "1.1", "--dry-run"]));
        assert_eq!((code(&dry), dry.stdout), (5, shut.stdout));
        let new = shell.run(&about(&["deploy"], &["--version", "1.2", "--commit", COMMIT, "--dry-run"]));
        assert!(code(&new) == 5 && text(&new.stdout).contains("not on record yet"), "{new:?}");

        finish(&shell, &id);
        let open: Value = serde_json::from_str(&shell.ok(&gate("1.1", &["--output", "json"]))).unwrap();
        assert_eq!((&open["allowed"], &open["kind"]), (&json!(true), &json!("deploy")));
        assert_eq!(shell.ok(&gate("1.1", &[])), "  ✓ concurrency  ✓ lockdown  ✓ freeze  ✓ outdated\n");
        assert_eq!(
            shell.ok(&about(&["deploy"], &["--version", "1.1", "--dry-run"])),
            shell.ok(&gate("1.1", &[]))
        );
        let unknown = shell.run(&gate("9.9", &[]));
        assert!(code(&unknown) == 1 && text(&unknown.stderr).contains("9.9"), "{unknown:?}");
    }
);

db_test!(
    async fn the_gate_is_waited_for(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let id = start(&shell, "1.0");
        assert_eq!(code(&shell.deploy("1.1", &[], "true")), 121);
        let begun = Instant::now();
        let short = shell.run(&gate("1.1", &["--wait", "1s"]));
        assert_eq!((code(&short), waits(&short)), (5, 1), "{short:?}");
        assert!(begun.elapsed() >= Duration::from_secs(1));

        let waiting = spawn(&server, &shell, &gate("1.1", &["--wait", "2h"])).await;
        finish(&shell, &id);
        let finished = Instant::now();
        let output = waiting.wait_with_output().unwrap();
        assert_eq!((code(&output), waits(&output)), (0, 1), "{output:?}");
        assert!(finished.elapsed() < SOON, "{:?}", finished.elapsed());
    }
);

db_test!(
    async fn a_deployment_that_waits_says_what_for_and_goes_on_by_itself(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        for version in ["0.8", "0.9"] {
            assert_eq!(code(&shell.deploy(version, &[], "true")), 0);
        }
        start(&shell, "1.0");
        let before = requests(&server, "start_deployment").await;
        let line = about(
            &["deploy"],
            &["--version", "1.1", "--commit", COMMIT, "--wait", "2h", "--", "echo", "done"],
        );
        let waiting = spawn(&server, &shell, &line).await;
        let id = preempt(&server, "0.8").await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        finish(&shell, &id);
        let finished = Instant::now();
        let output = waiting.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((code(&output), text(&output.stdout).as_str()), (0, "done\n"), "{said}");
        assert!(finished.elapsed() < SOON, "{:?}", finished.elapsed());
        assert_eq!(waits(&output), 2, "what it waits for is said when it changes, and only then: {said}");
        assert!(said.contains("1.0 is being deployed") && said.contains("0.8 is being deployed"), "{said}");
        let asked = requests(&server, "start_deployment").await - before;
        // Its refusal, the rollback, and the start that was let through.
        assert!((asked - 3.0).abs() < 0.1, "{asked} starts: it polls");
        assert_eq!(shell.history()[0]["version"], "1.1");
    }
);

db_test!(
    async fn the_last_approval_opens_the_gate(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
        let admin = server.client();
        let policy = json!({"approval": {"required": 2}, "promotion": {"from": ["qa"], "mode": "report"}});
        admin.post(server.at("/api/v1/environments")).json(&json!({"name": "qa"})).send().await.unwrap();
        let set =
            admin.put(server.at("/api/v1/environments/staging/policy")).json(&policy).send().await.unwrap();
        assert!(set.status().is_success(), "{}", set.text().await.unwrap());

        let line =
            about(&["deploy"], &["--version", "1.1", "--commit", COMMIT, "--wait", "2h", "--", "true"]);
        let waiting = spawn(&server, &shell, &line).await;
        let shut = text(&shell.run(&gate("1.1", &[])).stdout);
        let expected = "  ✗ approval   approval-missing   0 of 2; nobody is known to have initiated it\n  ! promotion  promotion-missing  never in qa";
        let lines: Vec<_> = shut.lines().collect();
        assert_eq!(lines.len(), 3, "{shut}");
        assert!(expected.lines().all(|line| lines.iter().any(|found| found.starts_with(line))), "{shut}");
        for subject in ["ada", "bob"] {
            let token = json!({"name": subject, "subject": subject, "scopes": ["approve"]});
            let token = admin.post(server.at("/api/v1/tokens")).json(&token).send().await.unwrap();
            let token: Value = token.error_for_status().unwrap().json().await.unwrap();
            let person = ServerProcess::client_of(token["token"].as_str().unwrap());
            let yes = person.post(server.at("/api/v1/services/shop/releases/1.1/approvals"));
            let yes =
                yes.json(&json!({"environment": "staging", "decision": "approved"})).send().await.unwrap();
            assert_eq!(yes.status(), 201);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        let output = waiting.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((code(&output), waits(&output)), (0, 2), "{said}");
        assert!(said.contains("0 of 2") && said.contains("1 of 2 (ada)"), "{said}");
        assert!(
            said.contains("! promotion  promotion-missing"),
            "what is only reported is said at the start: {said}"
        );
        assert_eq!(shell.ok(&["decisions", "replay"]), "3 decisions come out the same, 0 differ\n");
    }
);

db_test!(
    async fn decisions_are_listed_explained_and_evaluated_again(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let id = start(&shell, "1.0");
        for _ in 0..2 {
            assert_eq!(code(&shell.deploy("1.1", &[], "true")), 121);
        }
        finish(&shell, &id);

        let list = shell.ok(&["decisions", "list", "--denied"]);
        assert!(
            list.contains("denied ×2") && list.contains("concurrency") && !list.contains("allowed"),
            "{list}"
        );
        let list: Value =
            serde_json::from_str(&shell.ok(&["decisions", "list", "--output", "json"])).unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 2);
        let denied = list["items"][0]["id"].as_str().unwrap();
        let shown = shell.ok(&["decisions", "show", denied]);
        for words in [
            "denied ×2",
            "shop 1.1 to staging (deploy), asked by ",
            "without a policy of the environment",
            "✗ concurrency  concurrent-deployment",
            "  current: nothing",
            "  running: 1.0 by ",
        ] {
            assert!(shown.contains(words), "{words} is missing in\n{shown}");
        }
        assert_eq!(code(&shell.run(&["decisions", "show", "01997e1c-5b0a-7cc3-9d4e-2f1b6a7c8d90"])), 1);

        let replayed = shell.ok(&["decisions", "replay"]);
        assert_eq!(replayed, "2 decisions come out the same, 0 differ\n");
        let admin = sea_orm::Database::connect(&db.url).await.unwrap();
        admin
            .execute_unprepared("UPDATE decision SET allowed = TRUE, retry_at = NULL WHERE NOT allowed")
            .await
            .unwrap();
        let replayed = shell.run(&["decisions", "replay", "--service", "shop"]);
        let said = text(&replayed.stdout);
        assert_eq!(code(&replayed), 6, "{said}");
        assert!(said.contains(&format!("decision {denied}: shop 1.1 to staging")), "{said}");
        assert!(said.contains("  allowed: true on record, false evaluated again"), "{said}");
        assert!(
            said.contains("  retry_at: none on record, ") && said.contains("1 decisions come out"),
            "{said}"
        );
        let json = shell.run(&["decisions", "replay", "--output", "json"]);
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((&json["same"], &json["differing"][0]["id"]), (&json!(1), &json!(denied)));
        assert_eq!(code(&shell.run(&["decisions", "replay", "--denied"])), 0, "there is none left");
        admin.execute_unprepared("UPDATE decision SET inputs = '{}' WHERE count = 2").await.unwrap();
        let replayed = shell.run(&["decisions", "replay"]);
        let said = text(&replayed.stdout);
        assert!(code(&replayed) == 6 && said.contains("1 could not be evaluated again"), "{said}");
        admin.close().await.unwrap();
    }
);

db_test!(
    async fn a_rollback_shows_what_it_reverts_and_what_the_gate_says(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        for version in ["1.0", "2.0", "3.0"] {
            assert_eq!(code(&shell.deploy(version, &[], "true")), 0);
        }
        shell.ok(&about(&["rollback"], &["--", "true"]));
        // From 2.0, to which 3.0 was rolled back, only 2.0 itself is reverted.
        let shown = shell.ok(&about(&["rollback"], &["--dry-run"]));
        assert!(shown.starts_with("shop in staging: 2.0 → 1.0\n") && !shown.contains("3.0"), "{shown}");
        assert!(shown.contains("the gate lets it through"), "{shown}");
        start(&shell, "4.0");
        let busy = shell.run(&about(&["rollback"], &["--dry-run", "--output", "json"]));
        let told: Value = serde_json::from_slice(&busy.stdout).unwrap();
        assert_eq!((code(&busy), &told["gate"]["allowed"], &told["to"]), (5, &json!(false), &json!("1.0")));
        let preempting = shell.ok(&about(&["rollback"], &["--dry-run", "--preempt"]));
        assert!(preempting.contains("it will be canceled"), "{preempting}");
        shell.ok(&about(&["rollback"], &["--preempt", "--", "true"]));
        let kinds = shell.ok(&["history", "--kind", "rollback", "--since", "1h", "--output", "json"]);
        let kinds: Value = serde_json::from_str(&kinds).unwrap();
        assert_eq!(kinds["items"].as_array().unwrap().len(), 2);
        assert!(shell.ok(&["history", "--until", "2020-01-01T00:00:00Z"]).is_empty());
        let status = shell.ok(&["status", "--environment", "staging"]);
        assert!(status.contains("1.0"), "{status}");
        assert_eq!(code(&shell.run(&["status", "--environment", "nowhere"])), 1);
    }
);
