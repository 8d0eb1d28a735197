//! `waybill freeze` as people use it: the real binary against a real server.

use serde_json::Value;

use crate::{
    db_test,
    support::{
        process::ServerProcess,
        shell::{Shell, code},
    },
};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

db_test!(
    async fn freeze_windows_are_kept_from_the_command_line(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let refused = |line: &[&str]| {
            let output = shell.run(line);
            (code(&output), String::from_utf8(output.stderr).unwrap())
        };
        assert!(shell.deploy("1", &[], "true").status.success());

        let create = ["freeze", "create", "--name", "weekend", "--reason", "nobody is here"];
        let recurring =
            ["--start-cron", "0 18 * * FRI", "--end-cron", "0 8 * * MON", "--timezone", "Europe/Berlin"];
        let line =
            [&create[..], &["--environment", "staging"], &recurring[..], &["--output", "json"]].concat();
        let made = json(&shell.ok(&line));
        let id = made["id"].as_str().unwrap();
        let list = shell.ok(&["freeze", "list"]);
        assert!(list.contains(id) && list.contains("0 18 * * FRI to 0 8 * * MON Europe/Berlin"), "{list}");
        shell.ok(&["environment", "create", "other"]);
        assert!(shell.ok(&["freeze", "list", "--environment", "other"]).is_empty());
        let calendar =
            ["freeze", "calendar", "--from", "2099-03-26T00:00:00Z", "--until", "2099-04-01T00:00:00Z"];
        let shown = shell.ok(&calendar);
        assert!(
            shown.contains("staging") && shown.contains("2099-03-27 17:00") && shown.contains("2d 13h"),
            "{shown}"
        );

        // From recurring to once, and from a name to a tier, without saying what no longer counts.
        let once = ["--from", "2020-01-01T00:00:00Z", "--until", "2099-01-01T00:00:00Z", "--tier", "staging"];
        let edited = shell.ok(&[&["freeze", "update", id], &once[..]].concat());
        assert!(
            edited.contains("tier staging") && edited.contains("holds until 2099-01-01 00:00"),
            "{edited}"
        );
        let (exit, said) = {
            let output = shell.deploy("2", &[], "true");
            (code(&output), String::from_utf8(output.stderr).unwrap())
        };
        assert!(exit == 121 && said.contains("weekend: nobody is here"), "{exit}: {said}");
        assert!(shell.ok(&["freeze", "show", "weekend"]).contains(id));
        let (exit, said) = refused(&["freeze", "show", "weekday"]);
        assert!(exit == 1 && said.contains("did you mean weekend?"), "{exit}: {said}");
        let other = json(&shell.ok(&line));
        let (exit, said) = refused(&["freeze", "delete", "weekend"]);
        assert!(
            exit == 2 && said.contains(id) && said.contains(other["id"].as_str().unwrap()),
            "{exit}: {said}"
        );
        shell.ok(&["freeze", "delete", other["id"].as_str().unwrap()]);
        let renamed = shell.ok(&["freeze", "update", "weekend", "--name", "rest"]);
        assert!(renamed.contains("changed: rest"), "{renamed}");
        shell.ok(&["freeze", "delete", "rest"]);
        assert!(shell.deploy("2", &[], "true").status.success());
        let (exit, said) = refused(&["freeze", "show", id]);
        assert!(exit == 1 && said.contains("There is no freeze window"), "{exit}: {said}");
        let (exit, said) = refused(&[&create[..], &["--tier", "prod"]].concat());
        assert!(exit == 2 && said.contains("possible values: production, staging"), "{exit}: {said}");
        let (exit, said) = refused(&[&create[..], &["--tier", "staging", "--from", "soon"]].concat());
        assert!(exit == 1 && said.contains("--from"), "{exit}: {said}");
        let (exit, said) =
            refused(&[&create[..], &["--tier", "staging", "--environment", "staging"]].concat());
        assert!(exit == 2 && said.contains("cannot be used with"), "{exit}: {said}");
    }
);

db_test!(
    async fn a_waiver_is_withdrawn_by_its_vulnerability(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let waive =
            ["waiver", "create", "CVE-2021-44228", "--for", "30d", "--reason", "no text of users gets there"];
        shell.ok(&waive);
        let twice = json(&shell.ok(&[&waive[..], &["-o", "json"]].concat()));
        let id = twice["id"].as_str().unwrap();
        let which = shell.run(&["waiver", "withdraw", "CVE-2021-44228"]);
        let said = String::from_utf8_lossy(&which.stderr);
        assert!(code(&which) == 2 && said.contains("2 waivers are called") && said.contains(id), "{said}");
        shell.ok(&["waiver", "withdraw", id]);
        let shown = shell.ok(&["waiver", "show", "cve-2021-44228"]);
        assert!(shown.starts_with("CVE-2021-44228 ("), "{shown}");
        assert!(shown.contains("\n  reason  no text of users gets there\n  where   everywhere\n"), "{shown}");
        shell.ok(&["waiver", "withdraw", "cve-2021-44228"]);
        assert!(shell.ok(&["waiver", "list"]).is_empty());
    }
);
