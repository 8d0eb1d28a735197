//! The audit log outside the database: shown, exported, and verified by whoever has it.

use std::fs;

use serde_json::{Value, json};

use crate::{
    db_test,
    support::{
        eventually,
        process::ServerProcess,
        shell::{Shell, code},
    },
};

/// The head of the chain, once it has so many events at least.
async fn sealed(shell: &Shell, count: i64) -> String {
    eventually("the seals", async || {
        let head = shell.run(&["audit", "verify", "--through-api"]);
        let said = String::from_utf8_lossy(&head.stdout).into_owned();
        let head = said.split("head ").nth(1)?.split(';').next()?.trim().to_owned();
        let seq: i64 = head.split(':').next()?.parse().ok()?;
        (seq >= count).then_some(head)
    })
    .await
}

db_test!(
    async fn a_log_that_was_exported_is_verified_without_the_database(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
        let head = sealed(&shell, 6).await;
        let log = shell.ok(&["events", "export"]);
        let file = shell.folder.path().join("log.ndjson");
        let verify = |text: &str, more: &[&str]| {
            fs::write(&file, text).unwrap();
            shell.run(&[&["audit", "verify", "--log", file.to_str().unwrap()], more].concat())
        };
        let whole = verify(&log, &["--head", &head]);
        let said = String::from_utf8_lossy(&whole.stdout).into_owned();
        assert!(said.contains(&format!("head {head}; it holds what was kept elsewhere (1)")), "{whole:?}");

        let changed = verify(&log.replace("\"1.0\"", "\"1.1\""), &[]);
        assert_eq!(code(&changed), 6);
        assert!(String::from_utf8_lossy(&changed.stderr).contains("was changed after it was sealed"));
        let mut lines: Vec<&str> = log.lines().collect();
        lines.remove(2);
        let gone = verify(&lines.join("\n"), &[]);
        assert!(String::from_utf8_lossy(&gone.stderr).contains("event 3 is missing"), "{gone:?}");
        let cut = verify(&lines[..2].join("\n"), &["--head", &head]);
        let (seq, _) = head.split_once(':').unwrap();
        let missing = seq.parse::<i64>().unwrap() - 2;
        let words =
            format!("event {seq} was anchored, but the log ends with event 2: {missing} events are missing");
        assert!(code(&cut) == 6 && String::from_utf8_lossy(&cut.stderr).contains(&words), "{cut:?}");
        // The same from the database and from the server, of a head that the log has yet to reach.
        let ahead = format!("9999:{}", "a".repeat(64));
        for from in [&["--through-api"][..], &["--database-url", &db.url]] {
            let short = shell.run(&[&["audit", "verify", "--head", &ahead], from].concat());
            let said = String::from_utf8_lossy(&short.stderr);
            assert!(
                code(&short) == 6 && said.contains("event 9999 was anchored, but the log ends with event"),
                "{said}"
            );
        }
        let foreign = verify("{\"a\": 1}", &[]);
        assert!(String::from_utf8_lossy(&foreign.stderr).contains("line 1: is no event"), "{foreign:?}");
        assert_eq!(code(&foreign), 6);
        let torn = verify(&format!("\u{feff}{}\n\n", log.trim_end().split_at(log.len() - 20).0), &[]);
        assert_eq!(code(&torn), 6, "{torn:?}");
        let none = verify("", &[]);
        assert!(String::from_utf8_lossy(&none.stderr).contains("the log is empty"), "{none:?}");
    }
);

db_test!(
    async fn whoever_may_only_read_follows_the_chain_past_what_is_hidden(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
        sealed(&shell, 6).await;
        let body = json!({ "name": "auditor", "subject": "auditor", "scopes": ["read"] });
        let made = server.client().post(server.at("/api/v1/tokens")).json(&body).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        let reader = Shell { token: made["token"].as_str().unwrap().to_owned(), ..Shell::at(&server) };
        sealed(&shell, 7).await;
        let said = reader.ok(&["audit", "verify", "--through-api"]);
        assert!(said.contains("hidden from the token"), "{said}");
        let last: Value =
            serde_json::from_str(&reader.ok(&["events", "list", "--limit", "3", "-o", "json"])).unwrap();
        let last: Vec<_> = last["items"].as_array().unwrap().iter().map(|event| &event["seq"]).collect();
        assert_eq!(last, [4, 5, 6], "the last three of what it may see, in order");
        let log = reader.ok(&["events", "export"]);
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(
            lines.iter().any(|line| line.get("kind").is_none()),
            "the seals of events about tokens: {log}"
        );
        assert!(lines.iter().all(|line| line["kind"] != "token.created"));
    }
);

db_test!(
    async fn people_read_the_log_and_a_deployment_in_words(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        assert_eq!(code(&shell.deploy("1.0", &["--initiated-by", "ada"], "true")), 0);
        sealed(&shell, 6).await;
        let listed = shell.ok(&["events", "list", "--service", "shop", "--limit", "1"]);
        assert!(listed.contains("deployment.succeeded") && listed.contains("shop staging 1.0"), "{listed}");
        assert!(!listed.contains("deployment.started"), "the last one alone: {listed}");
        let id = shell.history()[0]["id"].as_str().unwrap().to_owned();
        let shown = shell.ok(&["deployment", "show", &id]);
        for words in ["set off by  ", "ada", "status", "succeeded", "deployment.started"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let history = shell.ok(&["history", "--actor", "ada"]);
        assert!(history.contains("WHO") && history.contains("ada"), "{history}");
        let releases = shell.ok(&["release", "list", "--service", "shop"]);
        assert!(releases.contains("VERSION") && releases.contains("1.0"), "{releases}");
        let release = shell.ok(&["release", "show", "--service", "shop", "--version", "1.0"]);
        assert!(release.starts_with("shop 1.0\n") && release.contains("commit"), "{release}");
        let misspelt = shell.run(&["release", "list", "--service", "shpo"]);
        assert!(String::from_utf8_lossy(&misspelt.stderr).contains("Did you mean shop?"), "{misspelt:?}");
        let misspelt = shell.run(&["status", "--service", "shpo"]);
        assert!(String::from_utf8_lossy(&misspelt.stderr).contains("Did you mean shop?"), "{misspelt:?}");
    }
);
