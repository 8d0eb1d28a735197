//! Where people look at what a command has done: on a line of its own, out of the way of what scripts read.

use std::process::Output;

use crate::{
    db_test,
    support::{
        process::ServerProcess,
        shell::{COMMIT, Shell},
    },
};

const SITE: &str = "https://waybill.test/ledger";

/// The addresses that a command says, each on a line of its own.
#[track_caller]
fn said(output: &Output) -> Vec<String> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!stdout.contains(SITE), "scripts read this: {stdout}");
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains(SITE)).collect();
    assert!(lines.iter().all(|line| line.starts_with(SITE) && !line.contains(' ')), "{stderr}");
    lines.iter().map(|line| line.strip_prefix(SITE).unwrap().to_owned()).collect()
}

db_test!(
    async fn a_command_says_where_to_look(db: TestDb) {
        let server = ServerProcess::start_with(&db, &[("WAYBILL__SERVER__PUBLIC_URL", SITE)]).await;
        let shell = Shell::at(&server);
        let target = ["--service", "shop", "--environment", "staging", "--version"];
        let page = "/services/shop/environments/staging";

        let recorded = ["release", "record", "--service", "shop", "--version", "1.0", "--commit", COMMIT];
        assert_eq!(said(&shell.run(&recorded)), ["/services/shop/releases/1.0"]);
        let deployed = said(&shell.deploy("1.0", &[], "true"));
        assert_eq!(said(&shell.run(&[&["gate"], &target[..], &["1.0"]].concat())), [page]);
        let id = |at: usize| shell.history()[at]["id"].as_str().unwrap().to_owned();
        assert_eq!(deployed, [format!("/deployments/{}", id(0))]);
        assert_eq!(said(&shell.run(&["deployment", "show", &id(0)])), deployed);

        let start = shell.run(&[&["deploy", "start"], &target[..], &["1.1", "--commit", COMMIT]].concat());
        assert_eq!(String::from_utf8_lossy(&start.stdout).trim(), id(0), "as scripts read it");
        let running = format!("/deployments/{}", id(0));
        assert_eq!(said(&start), [running.as_str()]);
        let refused = said(&shell.deploy("1.2", &[], "true"));
        assert!(matches!(&refused[..], [one] if one.starts_with("/decisions/")), "{refused:?}");
        let decision = refused[0].rsplit('/').next().unwrap();
        assert_eq!(said(&shell.run(&["decisions", "show", decision])), refused);
        let waited = said(&shell.deploy("1.2", &["--wait", "1s"], "true"));
        assert_eq!(
            (waited.first(), waited.last()),
            (refused.first(), refused.last()),
            "while it waits, and after"
        );
        assert!(said(&shell.run(&["deploy", "heartbeat", &id(0)])).is_empty());
        assert_eq!(said(&shell.run(&["deploy", "finish", &id(0), "--status", "succeeded"])), [running]);

        let back = ["rollback", "--service", "shop", "--environment", "staging"];
        assert_eq!(said(&shell.run(&[&back[..], &["--dry-run"]].concat())), [page]);
        let back = said(&shell.run(&[&back[..], &["--yes", "--", "true"]].concat()));
        assert_eq!(back, [format!("/deployments/{}", id(0))]);

        let json = shell.ok(&[&["gate", "--output", "json"], &target[..], &["1.1"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["web_url"], format!("{SITE}{page}"));
    }
);
