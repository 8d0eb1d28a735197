//! The command line as pipelines and people use it: the real binary against a real server.

use std::{
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    db_test,
    support::{
        eventually,
        process::{ServerProcess, command},
        shell::{COMMIT, Shell, code},
    },
};

db_test!(
    async fn a_deployment_takes_the_exit_code_of_its_command(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);

        let good = shell.deploy("1.0", &[], "echo out; echo $WAYBILL_VERSION");
        assert_eq!((code(&good), String::from_utf8_lossy(&good.stdout).as_ref()), (0, "out\n1.0\n"));
        assert_eq!(code(&shell.deploy("1.1", &[], "exit 7")), 7);
        assert_eq!(code(&shell.deploy("1.1", &[], "kill -KILL $$")), 137);

        let statuses: Vec<_> = shell.history().iter().map(|one| one["status"].clone()).collect();
        assert_eq!(statuses, ["failed", "failed", "succeeded"]);
        let table = shell.ok(&["status"]);
        assert!(table.contains("shop") && table.contains("staging?") && table.contains("1.0 "), "{table}");
        assert!(!table.contains('\u{1b}'), "no colours where there is no terminal: {table}");
    }
);

db_test!(
    async fn the_gate_refuses_and_waiting_goes_on_by_itself(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let line = ["deploy", "start", "--service", "shop", "--environment", "staging", "--version", "1.0"];
        let id = shell.ok(&[&line[..], &["--commit", COMMIT]].concat());

        let refused = shell.deploy("1.1", &[], "echo never");
        assert_eq!((code(&refused), refused.stdout.len()), (121, 0));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("✗ concurrency") && said.contains("concurrent-deployment"), "{said}");

        let begun = Instant::now();
        let waiting = shell
            .command(&[
                "deploy",
                "--service",
                "shop",
                "--environment",
                "staging",
                "--version",
                "1.1",
                "--commit",
                COMMIT,
                "--wait",
                "1m",
                "--",
                "true",
            ])
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        shell.ok(&["deploy", "heartbeat", id.trim(), "--phase", "canary", "--traffic-percent", "10"]);
        shell.ok(&["deploy", "finish", id.trim(), "--status", "succeeded"]);
        assert!(waiting.wait_with_output().unwrap().status.success());
        assert!(begun.elapsed() < Duration::from_secs(30), "it waited for the lease instead of for the end");
        assert_eq!(shell.history()[0]["version"], "1.1");
    }
);

db_test!(
    async fn a_signal_ends_the_command_and_cancels_the_deployment(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let mark = shell.folder.path().join("mark");
        let script = format!("trap 'touch {}; exit 9' TERM; touch started; sleep 60 & wait", mark.display());
        let child = shell
            .command(&[
                "deploy",
                "--service",
                "shop",
                "--environment",
                "staging",
                "--version",
                "1.0",
                "--commit",
                COMMIT,
                "--",
                "sh",
                "-c",
                &script,
            ])
            .spawn()
            .unwrap();
        eventually("the command", async || shell.folder.path().join("started").exists().then_some(())).await;
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), mark.exists()), (9, true));
        assert_eq!(shell.history()[0]["status"], "canceled");
    }
);

db_test!(
    async fn a_lost_lease_stops_the_command(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let child = shell
            .command(&[
                "deploy",
                "--service",
                "shop",
                "--environment",
                "staging",
                "--version",
                "1.0",
                "--commit",
                COMMIT,
                "--lease",
                "10s",
                "--",
                "sleep",
                "60",
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let id = eventually("the start", async || {
            let first = shell.history().into_iter().next()?;
            first["id"].as_str().map(str::to_owned)
        })
        .await;
        shell.ok(&["deploy", "finish", &id, "--status", "canceled"]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 123, "{}", String::from_utf8_lossy(&output.stderr));
    }
);

db_test!(
    async fn without_an_answer_the_pipeline_stops_or_goes_on_as_told(db: TestDb) {
        let mut server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        assert_eq!(code(&shell.deploy("1.0", &[], "true")), 0);
        server.kill9();

        let going_on = shell
            .command(&[
                "deploy",
                "--service",
                "shop",
                "--environment",
                "staging",
                "--version",
                "1.1",
                "--commit",
                COMMIT,
                "--on-error",
                "continue",
                "--",
                "sh",
                "-c",
                "touch ran; exit 0",
            ])
            .spawn()
            .unwrap();
        eventually("the command", async || shell.folder.path().join("ran").exists().then_some(())).await;
        let address = shell.url.trim_start_matches("http://").to_owned();
        let mut server = ServerProcess::spawn(&db, &[("WAYBILL__SERVER__LISTEN", &address)]);
        assert!(going_on.wait_with_output().unwrap().status.success());
        let last = &shell.history()[0];
        assert_eq!(
            (&last["version"], &last["ungated"], &last["recorded"]),
            (&"1.1".into(), &true.into(), &true.into())
        );
        server.kill9();

        let begun = Instant::now();
        let stopped = shell.deploy("1.2", &[], "touch never");
        assert_eq!((code(&stopped), shell.folder.path().join("never").exists()), (122, false));
        assert!(begun.elapsed() < Duration::from_mins(1));
        let said = String::from_utf8_lossy(&stopped.stderr);
        assert!(said.contains("cannot reach Waybill") && !said.contains(&shell.token), "{said}");
    }
);

db_test!(
    async fn a_rollback_returns_to_what_went_well(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        for version in ["1.0", "2.0"] {
            assert_eq!(code(&shell.deploy(version, &[], "true")), 0);
        }
        let target = ["rollback", "--service", "shop", "--environment", "staging", "--yes"];
        let shown = shell.run(&[&target[..], &["--dry-run"]].concat());
        let shown = [shown.stdout, shown.stderr].concat();
        assert!(String::from_utf8_lossy(&shown).contains("2.0 → 1.0"), "{}", String::from_utf8_lossy(&shown));
        let script = ["--", "sh", "-c", "test $WAYBILL_VERSION = 1.0"];
        shell.ok(&[&target[..], &script].concat());
        let first = &shell.history()[0];
        assert_eq!(
            (&first["kind"], &first["verified"], &first["version"]),
            (&"rollback".into(), &true.into(), &"1.0".into())
        );
        let nowhere = shell.run(&[&target[..], &["--", "true"]].concat());
        assert_eq!(code(&nowhere), 1, "what was reverted is no choice, and nothing else is left");
    }
);

db_test!(
    async fn a_release_is_recorded_once_and_its_faults_are_named(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let create =
            server.client().post(server.at("/api/v1/services")).json(&serde_json::json!({"name": "shop"}));
        assert!(create.send().await.unwrap().status().is_success());
        let record = ["release", "record", "--service", "shop", "--version", "1.0", "--commit"];
        shell.ok(&[&record[..], &[COMMIT]].concat());
        shell.ok(&[&record[..], &[COMMIT]].concat());
        assert_eq!(code(&shell.run(&[&record[..], &["1234567"]].concat())), 5);
        let bad = shell.run(&[&record[..], &["xyz", "--image", "shop:latest"]].concat());
        let said = String::from_utf8_lossy(&bad.stderr);
        assert!(code(&bad) == 1 && said.contains("/commit_sha") && said.contains("/image"), "{said}");
    }
);

/// A server as a newcomer starts it, in a folder of its own, and its address once it has left that.
async fn local_server(home: &TempDir, name: &str) -> (Child, String) {
    let folder = home.path().join(name);
    fs::create_dir_all(&folder).unwrap();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let server = command(home)
        .current_dir(&folder)
        .args(["serve", "--listen", &format!("0.0.0.0:{port}")])
        // The name for others leads nowhere here.
        .env("WAYBILL__SERVER__PUBLIC_URL", "http://waybill.test")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let local = home.path().join("state/waybill/local.json");
    eventually("the local credentials", async || {
        fs::read_to_string(&local).ok()?.contains(&url).then_some(())
    })
    .await;
    (server, url)
}

fn end(mut server: Child) {
    server.kill().unwrap();
    server.wait().unwrap();
}

#[tokio::test]
async fn a_local_server_needs_no_set_up() {
    let home = TempDir::new().unwrap();
    let (server, url) = local_server(&home, "one").await;
    let status = command(&home).arg("status").output().unwrap();
    let elsewhere = command(&home).args(["token", "list"]).output().unwrap();
    end(server);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let local = home.path().join("state/waybill/local.json");
    let private = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&local).unwrap().permissions());
    assert_eq!(private & 0o777, 0o600);
    assert!(home.path().join("one/admin.token").exists());
    let said = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    let database = home.path().canonicalize().unwrap().join("one/waybill.db");
    assert!(said.contains(&format!("--database-url sqlite://{}", database.display())), "{said}");
    let gone = command(&home).arg("status").output().unwrap();
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    let origin = format!("cannot reach Waybill at {url} (the address is from {})", local.display());
    assert!(code(&gone) == 1 && said.contains(&origin), "{said}");
}

#[tokio::test]
async fn of_several_local_servers_the_one_that_is_meant_is_asked() {
    let home = TempDir::new().unwrap();
    let (first, first_url) = local_server(&home, "first").await;
    let (second, second_url) = local_server(&home, "second").await;
    let register = |url: Option<&str>| {
        let mut line = command(&home);
        line.args(["environment", "create", "staging"]).envs(url.map(|url| ("WAYBILL_URL", url)));
        line.output().unwrap()
    };
    let list = || {
        let output = command(&home).args(["environment", "list"]).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).contains("staging");
        (shown, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(code(&register(Some(&first_url))), 0);
    let (shown, said) = list();
    assert!(!shown && said.contains("2 servers run here") && said.contains(&second_url), "{said}");
    end(second);
    let (shown, said) = list();
    assert!(shown && !said.contains("servers run here"), "{said}");
    end(first);
}
