//! `waybill service archive` and `waybill environment archive`: what runs there is told, and both come back.

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
            assert!(shell.ok(&[what, "revive", name]).contains("is there again"));
            assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
            let unknown = shell.run(&[what, "archive", "nowhere"]);
            let said = String::from_utf8_lossy(&unknown.stderr);
            assert!(code(&unknown) != 0 && said.contains("nowhere"), "{said}");
        }
    }
);
