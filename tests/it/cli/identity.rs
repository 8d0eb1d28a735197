//! The command line of a job that has nothing but its ID token, and of whoever says what jobs may do.

use std::{io::Write as _, process::Stdio};

use serde_json::{Value, json};

use crate::{
    db_test,
    support::{
        issuer::{AUDIENCE, Issuer, Key},
        process::ServerProcess,
        shell::{COMMIT, Shell, code},
    },
};

const TARGET: [&str; 4] = ["--service", "shop", "--environment", "prod"];

/// A server that knows GitLab, told by its environment alone.
async fn server(db: &crate::support::db::TestDb, gitlab: &Issuer) -> ServerProcess {
    let env = [
        ("WAYBILL__AUTH__ISSUER__0__NAME", "gitlab"),
        ("WAYBILL__AUTH__ISSUER__0__URL", gitlab.url.as_str()),
        ("WAYBILL__SERVER__PUBLIC_URL", AUDIENCE),
    ];
    ServerProcess::start_with(db, &env).await
}

/// As a job with this ID token, and no other secret.
fn job(admin: &Shell, id_token: &str, line: &[&str]) -> std::process::Output {
    let mut command = admin.command(line);
    command.env_remove("WAYBILL_TOKEN").env("WAYBILL_ID_TOKEN", id_token);
    command.output().unwrap()
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

db_test!(
    async fn a_job_deploys_with_its_id_token(db: TestDb) {
        let gitlab = Issuer::start("gitlab", Key::rsa(0)).await;
        let server = server(&db, &gitlab).await;
        let admin = Shell::at(&server);
        let create = words("trust create --name shop-prod --issuer gitlab --gitlab 4711 --scope read,deploy");
        let made = admin.ok(&[&create[..], &TARGET].concat());
        assert!(made.contains("project_id=4711, ref_protected=true"), "{made}");
        let id_token = gitlab.sign(&gitlab.gitlab(&json!({ "sha": COMMIT })));
        let deploy = |version: &'static str, more: &[&'static str]| {
            let line = [&["deploy"], &TARGET[..], &["--version", version, "--commit", COMMIT], more].concat();
            job(&admin, &id_token, &line)
        };
        let seen = "test -z \"$WAYBILL_ID_TOKEN\"";
        let done = deploy("1", &["--", "sh", "-c", seen]);
        assert_eq!(code(&done), 0, "{}", text(&done.stderr));
        let history = admin.history();
        assert_eq!(history[0]["actor"]["token"], "trust:shop-prod");
        assert_eq!(history[0]["initiated_by"], "gitlab:42");
        let who = text(&job(&admin, &id_token, &["whoami"]).stdout);
        assert!(who.contains("trust:shop-prod") && who.contains("gitlab:42"), "{who}");
        let patient = deploy("1", &["--wait", "2h", "--", "true"]);
        assert_eq!(code(&patient), 120, "{}", text(&patient.stderr));
        assert!(
            text(&patient.stderr).contains("--wait is longer than the job's ID token"),
            "{}",
            text(&patient.stderr)
        );
        let fork = gitlab.sign(&gitlab.gitlab(&json!({ "project_id": "5" })));
        let refused = job(&admin, &fork, &["status"]);
        assert_eq!(code(&refused), 4, "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("project_id must be 4711"), "{}", text(&refused.stderr));
        let log = server.stderr();
        for part in id_token.split('.').chain(fork.split('.')) {
            assert!(!log.contains(part), "the log holds a part of an ID token");
        }
        let posing = words("token create --name ada --subject GitLab:42 --scope approve");
        let mut posing = admin.command(&posing);
        posing.args(["--database-url", &db.url]).env("WAYBILL__AUTH__ISSUER__0__NAME", "gitlab");
        posing.env("WAYBILL__AUTH__ISSUER__0__URL", &gitlab.url).env("WAYBILL__SERVER__PUBLIC_URL", AUDIENCE);
        let posing = posing.output().unwrap();
        assert!(
            !posing.status.success() && text(&posing.stderr).contains("gitlab:"),
            "{}",
            text(&posing.stderr)
        );
        let access = admin.ok(&["access"]);
        assert!(access.contains("gitlab: project_id=4711, ref_protected=true"), "{access}");
    }
);

db_test!(
    async fn trusts_are_listed_explained_changed_and_deleted(db: TestDb) {
        let gitlab = Issuer::start("gitlab", Key::ec()).await;
        let server = server(&db, &gitlab).await;
        let admin = Shell::at(&server);
        let create = words(
            "trust create --name shop --issuer gitlab --gitlab 4711 --scope deploy --claim ref=v* --map production=prod",
        );
        admin.ok(&create);
        let list = admin.ok(&["trust", "list"]);
        assert!(list.contains("project_id=4711, ref=v*, ref_protected=true"), "{list}");
        let check = |claims: &Value| {
            let mut command = admin.command(&["trust", "check"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(gitlab.sign(claims).as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            (code(&output), text(&output.stdout))
        };
        let good = json!({ "ref": "v1", "environment": "production" });
        assert_eq!(check(&gitlab.gitlab(&good)).0, 0);
        let (exit, explained) = check(&gitlab.gitlab(&json!({})));
        assert_eq!(exit, 6, "{explained}");
        assert!(explained.contains("NO   ref is \"main\", wanted v*"), "{explained}");
        let changed =
            admin.ok(&["trust", "update", "shop", "--gitlab", "4711", "--no-map", "--scope", "read"]);
        assert!(changed.contains("scopes") && !changed.contains("production"), "{changed}");
        assert_eq!(check(&gitlab.gitlab(&json!({}))).0, 0);
        admin.ok(&["trust", "delete", "shop"]);
        assert!(admin.ok(&["trust", "list"]).is_empty());
    }
);
