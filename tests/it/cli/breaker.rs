//! `waybill deploy --retry --breaker`: a Waybill that is away is asked a few times, then left alone for a while, and what
//! ran meanwhile is on record in the end.

use std::{fs, process::Output};

use serde_json::Value;

use crate::{
    db_test,
    support::{
        db::TestDb,
        process::ServerProcess,
        shell::{COMMIT, Shell, code},
    },
};

/// A server that is away, and the shell of a pipeline that deploys there all the same.
struct Pipeline {
    server: ServerProcess,
    shell: Shell,
}

impl Pipeline {
    async fn start(db: &TestDb) -> Self {
        let server = ServerProcess::start(db).await;
        let shell = Shell::at(&server);
        Self { server, shell }
    }

    /// The server is back where it was.
    async fn back(&mut self, db: &TestDb) {
        let address = self.shell.url.trim_start_matches("http://").to_owned();
        self.server = ServerProcess::spawn(db, &[("WAYBILL__SERVER__LISTEN", &address)]);
        crate::support::eventually("readiness", async || {
            let ready = self.server.client().get(format!("{}/readyz", self.shell.url)).send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
    }

    /// Opens the breaker after one failure, for as long as said.
    fn run(&self, cooldown: &str, line: &[&str]) -> Output {
        let mut command = self.shell.command(line);
        command
            .env("WAYBILL_RETRY", "0")
            .env("WAYBILL_BREAKER", "state/breaker")
            .env("WAYBILL_BREAKER_FAILURES", "1")
            .env("WAYBILL_BREAKER_COOLDOWN", cooldown);
        command.output().unwrap()
    }

    fn deploy(&self, cooldown: &str, version: &str, more: &[&str], script: &str) -> Output {
        let line = ["deploy", "--service", "shop", "--environment", "staging", "--version", version];
        self.run(cooldown, &[&line[..], &["--commit", COMMIT], more, &["--", "sh", "-c", script]].concat())
    }

    /// The reports that were left in the folder.
    fn reports(&self) -> Vec<String> {
        let entries = fs::read_dir(self.shell.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("waybill-report-")).collect()
    }

    fn failures(&self) -> u64 {
        let text = fs::read_to_string(self.shell.folder.path().join("state/breaker")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["failures"].as_u64().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

db_test!(
    async fn what_ran_while_waybill_was_left_alone_is_reported_later(db: TestDb) {
        let mut pipeline = Pipeline::start(&db).await;
        assert_eq!(code(&pipeline.deploy("1h", "1.0", &[], "true")), 0);
        assert!(!pipeline.shell.folder.path().join("state").exists(), "nothing is to be remembered yet");
        pipeline.server.kill9();

        let stopped = pipeline.deploy("1h", "1.1", &[], "touch never");
        assert_eq!((code(&stopped), pipeline.failures()), (122, 1), "{}", said(&stopped));
        // From now on nobody is asked.
        let stopped = pipeline.deploy("1h", "1.1", &[], "touch never");
        assert!(
            code(&stopped) == 122 && said(&stopped).contains("left alone for another"),
            "{}",
            said(&stopped)
        );
        assert!(!pipeline.shell.folder.path().join("never").exists() && pipeline.failures() == 1);
        for (version, script, exit) in [("1.1", "true", 0), ("1.2", "exit 7", 7)] {
            let ran = pipeline.deploy("1h", version, &["--on-error", "continue"], script);
            assert_eq!(code(&ran), exit, "{}", said(&ran));
            assert!(said(&ran).contains("WITHOUT the gate") && said(&ran).contains("waybill deploy report "));
        }
        let reports = pipeline.reports();
        assert_eq!(reports.len(), 2, "{reports:?}");

        pipeline.back(&db).await;
        // The breaker is still open, and `report` asks all the same.
        let line = [vec!["deploy", "report"], reports.iter().map(String::as_str).collect()].concat();
        assert_eq!(code(&pipeline.run("1h", &line)), 0);
        let history = pipeline.shell.history();
        let mut told: Vec<_> = history
            .iter()
            .map(|one| (one["version"].clone(), one["status"].clone(), one["ungated"].clone()))
            .collect();
        told.sort_by_key(|(version, ..)| version.to_string());
        let expected = [("1.0", "succeeded", false), ("1.1", "succeeded", true), ("1.2", "failed", true)];
        assert_eq!(
            told,
            expected.map(|(version, status, ungated)| (version.into(), status.into(), ungated.into()))
        );

        // Its time is over: the next run asks, and any answer closes it.
        let again = pipeline.deploy("0s", "1.3", &[], "true");
        assert!(code(&again) == 0 && said(&again).contains("Waybill answers again"), "{}", said(&again));
        assert_eq!(pipeline.failures(), 0);
        db.assert_sound().await;
    }
);

db_test!(
    async fn steps_of_a_deployment_that_nobody_could_be_asked_about_are_one_report(db: TestDb) {
        let mut pipeline = Pipeline::start(&db).await;
        pipeline.server.kill9();
        let start = ["deploy", "start", "--service", "shop", "--environment", "staging", "--version", "1.0"];
        let more = ["--commit", COMMIT, "--on-error", "continue"];
        let refused = pipeline.run("1h", &start);
        assert_eq!(code(&refused), 3, "{}", said(&refused));
        let started = pipeline.run("1h", &[&start[..], &more].concat());
        assert_eq!(code(&started), 0, "{}", said(&started));
        let id = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        assert_eq!(pipeline.reports(), std::slice::from_ref(&id));
        assert_eq!(code(&pipeline.run("1h", &["deploy", "heartbeat", &id, "--phase", "canary"])), 0);
        let finish = ["deploy", "finish", &id, "--status", "succeeded", "--message", "by hand"];
        let kept = pipeline.run("1h", &finish);
        assert!(code(&kept) == 3 && said(&kept).contains(&format!("{id}\n")), "{}", said(&kept));
        pipeline.back(&db).await;
        let sent = pipeline.run("0s", &finish);
        assert_eq!(code(&sent), 0, "{}", said(&sent));
        assert_eq!(pipeline.reports(), [""; 0]);
        let history = pipeline.shell.history();
        assert_eq!(
            (history.len(), &history[0]["status"], &history[0]["ungated"]),
            (1, &"succeeded".into(), &true.into())
        );
        assert_eq!(history[0]["message"], "by hand");
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_of_the_question_and_not_of_the_command() {
    let db = TestDb::sqlite().await;
    let mut server = ServerProcess::start(&db).await;
    let shell = Shell::at(&server);
    let failed = shell.deploy("1.0", &["--retry", "3"], "echo once >> runs; exit 7");
    assert_eq!(code(&failed), 7);
    assert_eq!(fs::read_to_string(shell.folder.path().join("runs")).unwrap(), "once\n");
    server.kill9();
    let stopped = shell.deploy("1.0", &["--retry", "1"], "echo never >> runs");
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(code(&stopped) == 122 && said.contains("trying again (--retry 1)"), "{said}");
    // A rollback that may not ask says so at once, and where to return to is not known without an answer.
    let line =
        ["rollback", "--service", "shop", "--environment", "staging", "--yes", "--on-error", "continue"];
    let breaker = ["--breaker", "breaker", "--breaker-failures", "1", "--", "true"];
    for words in ["cannot reach Waybill", "left alone"] {
        let stopped = shell.run(&[&line[..], &breaker].concat());
        let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
        assert!(code(&stopped) == 122 && said.contains(words), "{said}");
    }
}
