//! `waybill rollback` among releases of one image, what only a rollback may ask, and `waybill remove`, which it undoes.

use serde_json::{Value, json};

use crate::{
    db_test,
    support::{
        api::image,
        process::ServerProcess,
        shell::{Shell, code},
    },
};

const TARGET: [&str; 5] = ["rollback", "--service", "shop", "--environment", "staging"];

/// Deploys a version, built into the image of this digit.
fn deploy(shell: &Shell, version: &str, digit: char) {
    let deployed = shell.deploy(version, &["--image", &image(digit)], "true");
    assert_eq!(code(&deployed), 0, "{}", String::from_utf8_lossy(&deployed.stderr));
}

fn rollback(shell: &Shell, more: &[&str]) -> String {
    shell.ok(&[&TARGET[..], more].concat())
}

db_test!(
    async fn the_way_back_is_the_release_before_also_when_only_its_configuration_differs(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        for (version, digit) in [("0.9", 'a'), ("1.0", 'b'), ("1.1", 'b')] {
            deploy(&shell, version, digit);
        }
        for to in [&[][..], &["--to", "1.0"]] {
            let shown = rollback(&shell, &[to, &["--dry-run"]].concat());
            assert!(shown.starts_with("shop in staging: 1.1 → 1.0\n  reverts 1.1 (deploy)"), "{shown}");
            assert!(shown.contains("the gate lets it through") && !shown.contains("reverts 1.0"), "{shown}");
        }
        let there = shell.run(&[&TARGET[..], &["--to", "1.1", "--dry-run"]].concat());
        let said = String::from_utf8_lossy(&there.stderr);
        assert!(code(&there) != 0 && said.contains("1.1 is current in staging already"), "{said}");
        rollback(&shell, &["--", "sh", "-c", "test $WAYBILL_VERSION = 1.0"]);
        let shown = rollback(&shell, &["--dry-run", "--output", "json"]);
        let told: Value = serde_json::from_str(&shown).unwrap();
        let reverts: Vec<_> =
            told["reverts"].as_array().unwrap().iter().map(|gone| &gone["version"]).collect();
        assert_eq!((&told["to"], reverts), (&json!("0.9"), vec![&json!("1.0"), &json!("1.0")]));
    }
);

db_test!(
    async fn a_release_that_never_ran_there_reverts_what_it_is_shown_to_revert(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        for (version, digit) in [("1.0", 'b'), ("1.1", 'b')] {
            deploy(&shell, version, digit);
        }
        for (version, digit, reverted) in [("1.2", 'b', &["1.1"][..]), ("2.0", 'c', &["1.2", "1.0"])] {
            let record = ["release", "record", "--service", "shop", "--version", version, "--commit"];
            shell.ok(&[&record[..], &[crate::support::shell::COMMIT, "--image", &image(digit)]].concat());
            let shown = rollback(&shell, &["--to", version, "--dry-run", "--output", "json"]);
            let told: Value = serde_json::from_str(&shown).unwrap();
            let shown: Vec<_> =
                told["reverts"].as_array().unwrap().iter().map(|gone| &gone["version"]).collect();
            assert_eq!(shown, reverted);
            let before: Vec<_> =
                shell.history().into_iter().filter(|one| one["reverted_by"].is_null()).collect();
            rollback(&shell, &["--to", version, "--", "true"]);
            let after = shell.history();
            let gone = before.iter().filter(|one| {
                after.iter().any(|now| now["id"] == one["id"] && now["reverted_by"] == after[0]["id"])
            });
            assert_eq!(gone.map(|one| &one["version"]).collect::<Vec<_>>(), reverted);
        }
    }
);

db_test!(
    async fn only_a_rollback_may_ask_to_preempt(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        for version in ["1.0", "1.1"] {
            deploy(&shell, version, 'b');
        }
        let line = ["deploy", "start", "--service", "shop", "--environment", "staging", "--version", "1.1"];
        shell.ok(&line);
        let ask = ["gate", "--service", "shop", "--environment", "staging", "--version", "1.0", "--preempt"];
        for kind in [&[][..], &["--kind", "hotfix"]] {
            let asked = shell.run(&[&ask[..], kind].concat());
            let said = String::from_utf8_lossy(&asked.stderr);
            assert!(
                code(&asked) != 0 && said.contains("--preempt") && said.contains("kind rollback"),
                "{said}"
            );
        }
        shell.ok(&[&ask[..], &["--kind", "rollback"]].concat());
    }
);

db_test!(
    async fn a_service_is_removed_by_a_command_or_by_hand_and_comes_back(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        deploy(&shell, "1.0", 'a');
        let line = ["remove", "--service", "shop", "--environment", "staging"];
        let shown = shell.ok(&[&line[..], &["--dry-run"]].concat());
        assert!(shown.contains("✓ concurrency"), "{shown}");
        let failed = shell.run(&[&line[..], &["--", "false"]].concat());
        assert_eq!(code(&failed), 1);
        assert!(shell.ok(&["status"]).contains("1.0"), "what was current still is");
        let removed = shell.run(&[&line[..], &["--", "sh", "-c", "test $WAYBILL_VERSION = 1.0"]].concat());
        let said = String::from_utf8_lossy(&removed.stderr);
        assert!(code(&removed) == 0 && said.contains("removal of shop 1.0 from staging"), "{said}");
        assert!(!shell.ok(&["status"]).contains("1.0"));
        let again = shell.run(&line);
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(code(&again) != 0 && said.contains("hop does not run in staging"), "{said}");
        let shown = rollback(&shell, &["--dry-run"]);
        assert!(shown.starts_with("shop in staging: nothing → 1.0"), "{shown}");
        rollback(&shell, &["--", "true"]);
        shell.ok(&line);
        let history = shell.history();
        assert_eq!((&history[0]["kind"], &history[0]["status"]), (&json!("remove"), &json!("succeeded")));
    }
);
