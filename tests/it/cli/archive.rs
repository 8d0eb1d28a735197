//! `waybill service` and `waybill environment`: shown with what runs there; archived after that is told, and both come back.

use serde_json::Value;

use crate::{
    db_test,
    support::{
        process::ServerProcess,
        shell::{Shell, code},
    },
};

db_test!(
    async fn what_is_archived_is_told_of_and_comes_back(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
        for (what, name) in [("service", "shop"), ("environment", "staging")] {
            let archived = shell.run(&[what, "archive", name]);
            let (told, said) =
                (String::from_utf8_lossy(&archived.stderr), String::from_utf8_lossy(&archived.stdout));
            assert!(told.contains("shop 1.0 runs in staging"), "{told}");
            assert!(said.contains(&format!("`waybill {what} revive {name}` brings it back")), "{said}");
            let refused = shell.deploy("1.1", &[], "true");
            let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
            assert!(code(&refused) != 0 && said.contains(&format!("{what} {name} is archived")), "{said}");
            assert!(said.contains(&format!("`waybill {what} revive {name}`")), "{said}");
            let (listed, archived) = (shell.ok(&[what, "list"]), shell.ok(&[what, "list", "--archived"]));
            assert!(!listed.contains(name) && archived.contains(name), "{listed}{archived}");
            let misspelt = shell.run(&[what, "revive", &format!("{name}x")]);
            let said = String::from_utf8_lossy(&misspelt.stderr).into_owned();
            assert!(
                said.contains(&format!("Did you mean {name}?")),
                "what is archived is offered, too: {said}"
            );
            assert!(shell.ok(&[what, "revive", name]).contains("is there again"));
            assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
            let unknown = shell.run(&[what, "archive", "nowhere"]);
            let said = String::from_utf8_lossy(&unknown.stderr);
            assert!(code(&unknown) != 0 && said.contains("nowhere"), "{said}");
        }
    }
);

db_test!(
    async fn a_service_and_an_environment_are_shown_with_what_runs_there(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
        shell.ok(&["lockdown", "place", "staging", "--reason", "incident 42"]);
        let owned = serde_json::json!({"owner": "team-shop", "display_name": "Web shop"});
        let edit = server.client().patch(server.at("/api/v1/services/shop")).json(&owned);
        assert!(edit.send().await.unwrap().status().is_success());
        let listed = shell.ok(&["service", "list"]);
        assert!(
            listed.starts_with("SERVICE  OWNER") && listed.contains("shop     team-shop  Web shop"),
            "{listed}"
        );
        for (what, name, words) in [
            ("service", "shop", ["service shop\n", "owner       team-shop", "staging      1.0"]),
            ("environment", "staging", ["environment staging\n", "locked down  incident 42", "shop     1.0"]),
        ] {
            let shown = shell.ok(&[what, "show", name]);
            assert!(words.iter().all(|words| shown.contains(words)), "{shown}");
            let json: Value = serde_json::from_str(&shell.ok(&[what, "show", name, "-o", "json"])).unwrap();
            let target = &json["targets"][0];
            assert_eq!((&target["service"], &target["environment"]), (&"shop".into(), &"staging".into()));
            assert_eq!((&json["name"], &target["current"]["version"]), (&name.into(), &"1.0".into()));
        }
        let misspelt = shell.run(&["service", "show", "shpo"]);
        let said = String::from_utf8_lossy(&misspelt.stderr);
        assert!(code(&misspelt) == 1 && said.contains("Did you mean shop?"), "{said}");
    }
);
