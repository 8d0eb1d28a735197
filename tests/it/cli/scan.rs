//! `waybill scan` and `waybill vulnerability`, as a pipeline and whoever is called at night use them.

use std::{fs, fs::File, process::Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    db_test,
    support::{
        api::image,
        process::{ServerProcess, command},
    },
};

const COMMIT: &str = "8f3c0ab1d2e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8";
const TRIVY: &str = include_str!("../../data/trivy-image.json");
const OLD: &str = include_str!("../../data/trivy-0.20-without-time.json");

/// Runs a command, with a report on its standard input.
fn run(server: &ServerProcess, line: &[&str], report: &str) -> Output {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("report.json");
    fs::write(&file, report).unwrap();
    let mut waybill = command(&folder);
    waybill.args(line).env("WAYBILL_URL", &server.url).env("WAYBILL_TOKEN", &server.token);
    waybill.stdin(File::open(&file).unwrap()).current_dir(&folder).output().unwrap()
}

fn ok(server: &ServerProcess, line: &[&str], report: &str) -> String {
    let output = run(server, line, report);
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

db_test!(
    async fn a_report_goes_up_and_its_vulnerabilities_are_found(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let release = ["--service", "shop", "--version", "1.4.2"];
        let image = image('a');
        let with = |head: &[&'static str], tail: &[&str]| {
            let line = head.iter().copied().chain(release).chain(tail.iter().copied());
            line.map(str::to_owned).collect::<Vec<_>>()
        };
        let line = with(
            &["deploy"],
            &["--environment", "prod", "--commit", COMMIT, "--image", &image, "--", "true"],
        );
        ok(&server, &line.iter().map(String::as_str).collect::<Vec<_>>(), "");

        let upload = |report: &str, more: &[&str]| {
            let line = with(&["scan", "upload"], more);
            run(&server, &line.iter().map(String::as_str).collect::<Vec<_>>(), report)
        };
        let sent = upload(TRIVY, &["report.json"]);
        let said = String::from_utf8_lossy(&sent.stdout);
        let expected = "shop 1.4.2: trivy found 2 critical, 3 high, 2 medium, 1 low, 0 unknown (5 with a fix) in os and language packages for linux/amd64\n";
        assert_eq!((sent.status.code(), said.as_ref()), (Some(0), expected), "{sent:?}");
        let refused = upload(OLD, &["-"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains("/CreatedAt"), "{said}");
        let older = upload(OLD, &["--scanned-at", "2026-01-01T00:00:00Z", "-", "--output", "json"]);
        let older: Value = serde_json::from_slice(&older.stdout).unwrap();
        assert_eq!((&older["latest"], &older["counts"]["critical"]), (&Value::Bool(false), &Value::from(1)));
        assert_eq!(upload("", &["nothing.json"]).status.code(), Some(2));

        let list = ok(&server, &["scan", "list", "--service", "shop", "--version", "1.4.2"], "");
        assert_eq!(list.lines().count(), 4, "{list}");
        let found = ok(&server, &["vulnerability", "cve-2026-10001"], "");
        assert!(found.contains("prod") && found.contains("libssl3 3.0.15-1~deb12u1, openssl"), "{found}");
        let nothing = run(&server, &["vulnerability", "CVE-1999-0001"], "");
        assert!(nothing.status.success() && nothing.stdout.is_empty(), "{nothing:?}");
    }
);
