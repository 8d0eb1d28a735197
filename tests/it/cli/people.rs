//! Policies, lockdowns and approvals from the command line: the real binary against a real server.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    db_test,
    support::process::{ServerProcess, command},
};

const DEPLOY: &str = "deploy --service shop --environment prod --version 1.0 --commit 8f3c0ab1d2e4 -- true";
const RELEASE: &str = "--service shop --environment prod --version 1.0";

struct Shell<'a> {
    folder: TempDir,
    server: &'a ServerProcess,
}

impl Shell<'_> {
    fn run(&self, line: &str, more: &[&str], input: &str) -> Output {
        let mut waybill = command(&self.folder);
        waybill.args(line.split(' ')).args(more);
        waybill.env("WAYBILL_URL", &self.server.url).env("WAYBILL_TOKEN", &self.server.token);
        waybill.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = waybill.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn ok(&self, line: &str, more: &[&str], input: &str) -> String {
        let output = self.run(line, more, input);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} --output json"), &[], "")).unwrap()
    }

    #[track_caller]
    fn refused(&self, line: &str, input: &str, code: i32) -> String {
        let output = self.run(line, &[], input);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        said
    }
}

db_test!(
    async fn a_release_manager_sets_rules_and_people_let_releases_pass(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell { folder: TempDir::new().unwrap(), server: &server };
        shell.ok(DEPLOY, &[], "");

        assert!(shell.ok("policy show prod", &[], "").starts_with("# prod has no policy"));
        let none = shell.refused("policy set prod --preset production", "", 5);
        let nothing = shell.refused("policy set prod --file -", "", 2);
        assert!(nothing.contains("is empty"), "what a pipe brings whose first half has failed: {nothing}");
        let unconfirmed = shell.ok("environment list", &[], "");
        assert!(
            unconfirmed.lines().any(|line| line.starts_with("prod ") && line.ends_with("no")),
            "{unconfirmed}"
        );
        let confirmed = shell.ok("environment confirm prod --rank 7", &[], "");
        assert_eq!(confirmed, "prod is confirmed: tier production, rank 7\n");
        assert!(none.contains("no confirmed environment has a lower one"), "{none}");
        let made = shell.ok("environment create eu-1 --tier staging --rank 5", &[], "");
        assert_eq!(made, "eu-1 is registered: tier staging, rank 5\n");
        let twice = shell.refused("environment create eu-1", "", 5);
        assert!(twice.contains("on record already"), "{twice}");
        let unknown = shell.refused("policy set eu-2 --preset production", "", 1);
        assert!(unknown.contains("`waybill environment create eu-2`"), "{unknown}");
        shell.refused("policy set prod", "", 2);
        shell.refused("policy set prod --preset reckless", "", 2);
        shell.refused("policy set prod --file missing.toml", "", 2);
        let wrong = shell.refused("policy set prod --file -", "approval = {", 2);
        assert!(wrong.contains("--file -"), "{wrong}");
        let wrong = shell.refused("policy set prod --file -", "[promotion]\nfrom = [\"x\", \"Y\"]", 1);
        assert!(wrong.contains("/promotion/from/0: ") && wrong.contains("/promotion/from/1: "), "{wrong}");

        let set = shell.ok("policy set prod --file -", &[], "[approval]\nallow_self = true\n");
        let lines: Vec<_> = set.lines().collect();
        assert_eq!(
            lines,
            [
                "the policy of prod is now version 1",
                "  approval.allow_self: false → true",
                "  approval.mode: \"off\" → \"enforce\"",
            ]
        );
        let stale = shell.refused("policy set prod --file - --if-version 0", "{}", 5);
        assert!(stale.contains("edited since"), "{stale}");
        let shown = shell.ok("policy show prod", &[], "");
        assert!(
            shown.starts_with("# policy of prod, version 1\n") && shown.contains("[approval]"),
            "{shown}"
        );
        for again in [shown, shell.json("policy show prod").to_string()] {
            let same = shell.ok("policy set prod --file - --if-version 1", &[], &again);
            assert_eq!(same, "the policy of prod was so already, in version 1\n");
        }

        let denied = shell.refused(DEPLOY, "", 121);
        assert!(denied.contains("✗ approval"), "{denied}");
        let waiting = shell.ok("approvals pending", &[], "");
        assert!(waiting.contains("shop") && waiting.contains("0 of 1"), "{waiting}");
        let rejected = shell.ok(&format!("reject {RELEASE}"), &["--comment", "not now"], "");
        assert!(rejected.starts_with("shop 1.0 is rejected for prod by "), "{rejected}");
        assert!(shell.refused(DEPLOY, "", 121).contains("approval-rejected"));
        let other = format!("approve {RELEASE} --image shop@sha256:{}", "a".repeat(64));
        assert!(shell.refused(&other, "", 5).contains("has no image yet"));
        shell.ok(&format!("approve {RELEASE}"), &["--comment", "now"], "");
        assert_eq!(shell.json("approvals pending")["items"], serde_json::json!([]));
        shell.ok(DEPLOY, &[], "");

        let said = shell.json("approvals list --service shop --version 1.0")["items"].take();
        assert_eq!(said.as_array().unwrap().len(), 2, "{said}");
        let id = said[0]["id"].as_str().unwrap();
        shell.ok(&format!("approvals withdraw {id} --service shop --version 1.0"), &[], "");
        let list = shell.ok("approvals list --service shop --version 1.0", &[], "");
        assert_eq!(list.matches("(withdrawn)").count(), 2, "{list}");
        shell.refused(DEPLOY, "", 121);
    }
);

db_test!(
    async fn one_call_stops_an_environment_and_one_lets_it_go_on(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell { folder: TempDir::new().unwrap(), server: &server };
        let start = DEPLOY.replace("deploy ", "deploy start ").replace(" -- true", "");
        let id = shell.ok(&start, &[], "");
        let placed = shell.ok("lockdown place prod", &["--reason", "incident 42"], "");
        assert!(placed.contains("prod is locked down") && placed.contains(id.trim()), "{placed}");
        shell.ok(&format!("deploy finish {} --status succeeded", id.trim()), &[], "");
        let denied = shell.refused(DEPLOY, "", 121);
        assert!(denied.contains("✗ lockdown") && denied.contains("incident 42"), "{denied}");
        let status = shell.ok("lockdown status", &[], "");
        assert!(status.contains("prod") && status.contains("incident 42"), "{status}");
        shell.refused("lockdown place prod", "", 2);
        for _ in 0..2 {
            assert_eq!(shell.ok("lockdown lift prod", &[], ""), "prod is not locked down\n");
        }
        assert_eq!(shell.json("lockdown status")["items"], serde_json::json!([]));
        shell.ok(DEPLOY, &[], "");
    }
);
