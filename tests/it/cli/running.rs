//! While `waybill deploy` runs its command: a Waybill that is away leaves it alone, and a wrapper that is gone does not.

use std::{
    fs,
    io::Write as _,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

use crate::{
    db_test,
    support::{
        db::TestDb,
        eventually,
        process::ServerProcess,
        shell::{COMMIT, Shell, code},
    },
};

/// Goes on until it is told that it may end.
const PATIENT: &str = "echo $$ > command; while ! test -e go; do sleep 0.1; done";

/// A deployment with the shortest lease around a script, once it runs.
async fn running(shell: &Shell, script: &str) -> Child {
    let line =
        ["deploy", "--service", "shop", "--environment", "staging", "--version", "1.0", "--commit", COMMIT];
    let tail = ["--lease", "10s", "--", "sh", "-c", script];
    let mut command = shell.command(&[&line[..], &tail].concat());
    let stderr = fs::File::create(shell.folder.path().join("stderr")).unwrap();
    let group = std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = group.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    noted(shell, "command").await;
    child
}

/// The process that the script has written down.
async fn noted(shell: &Shell, file: &str) -> Pid {
    let path = shell.folder.path().join(file);
    let pid = eventually(file, async || fs::read_to_string(&path).ok()?.trim().parse().ok()).await;
    Pid::from_raw(pid).unwrap()
}

fn said(shell: &Shell) -> String {
    fs::read_to_string(shell.folder.path().join("stderr")).unwrap()
}

/// What the system says of a process: its state and its parent. One that waits to be reaped is gone.
fn state(pid: Pid) -> Option<(String, i32)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    (state != "Z").then_some((state, parent))
}

async fn gone(pid: Pid) {
    eventually("the end of a process", async || state(pid).is_none().then_some(())).await;
}

/// The newest deployment at a server; none while that does not answer.
fn newest(shell: &Shell) -> Option<Value> {
    let output = shell.run(&["history", "--output", "json"]);
    let list: Value = serde_json::from_slice(&output.stdout).ok()?;
    list["items"].as_array().unwrap_or_else(|| list.as_array().unwrap()).first().cloned()
}

async fn has_status(shell: &Shell, status: &str) {
    eventually(status, async || (newest(shell)?["status"] == status).then_some(())).await;
}

/// Lets the lease run out while the server is away, as another one finds out; that one is still there.
async fn outlived(db: &TestDb, server: &mut ServerProcess) -> ServerProcess {
    server.kill9();
    let other = ServerProcess::start(db).await;
    has_status(&Shell::at(&other), "expired").await;
    other
}

/// The server is back where it was.
fn back(db: &TestDb, mut other: ServerProcess, shell: &Shell) -> ServerProcess {
    other.kill9();
    let address = shell.url.trim_start_matches("http://").to_owned();
    ServerProcess::spawn(db, &[("WAYBILL__SERVER__LISTEN", &address)])
}

db_test!(
    async fn an_outage_longer_than_the_lease_leaves_the_command_alone(db: TestDb) {
        let mut server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let child = running(&shell, PATIENT).await;
        let other = outlived(&db, &mut server).await;
        assert!(state(noted(&shell, "command").await).is_some(), "{}", said(&shell));
        let _server = back(&db, other, &shell);
        has_status(&shell, "running").await;
        fs::write(shell.folder.path().join("go"), "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{}", said(&shell));
        let last = newest(&shell).unwrap();
        assert_eq!((&last["status"], &last["expired_at"]), (&json!("succeeded"), &Value::Null));
        db.assert_sound().await;
    }
);

db_test!(
    async fn somebody_else_in_the_target_ends_the_command(db: TestDb) {
        let mut server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let child = running(&shell, PATIENT).await;
        let command = noted(&shell, "command").await;
        let other = outlived(&db, &mut server).await;
        let theirs = Shell::at(&other);
        let line = ["deploy", "start", "--service", "shop", "--environment", "staging", "--version", "2.0"];
        theirs.ok(&[&line[..], &["--commit", COMMIT]].concat());
        let _server = back(&db, other, &shell);
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 123, "{}", said(&shell));
        gone(command).await;
        assert!(said(&shell).contains("2.0 was started there by"), "{}", said(&shell));
        has_status(&shell, "running").await;
    }
);

db_test!(
    async fn a_token_that_is_revoked_meanwhile_is_told_and_ends_nothing(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let mut shell = Shell::at(&server);
        let body = json!({ "name": "ci", "scopes": ["deploy", "read"] });
        let made = server.client().post(server.at("/api/v1/tokens")).json(&body).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        shell.token = made["token"].as_str().unwrap().to_owned();
        let child = running(&shell, PATIENT).await;
        let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
        assert!(server.client().delete(server.at(&path)).send().await.unwrap().status().is_success());
        eventually("the warning", async || said(&shell).contains("refuses the heartbeats").then_some(()))
            .await;
        fs::write(shell.folder.path().join("go"), "").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "the exit code is the command's: {}", said(&shell));
        let told = said(&shell);
        let later = told
            .lines()
            .find_map(|line| line.trim().strip_prefix("waybill "))
            .unwrap_or_else(|| panic!("{told}"));
        let admin = Shell::at(&server);
        admin.ok(&later.split_whitespace().collect::<Vec<_>>());
        assert_eq!(newest(&admin).unwrap()["status"], "succeeded");
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_wrapper_takes_everything_along() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let script =
        "(trap '' TERM; sleep 1000 & echo $! > patient; wait) & echo $! > stubborn; echo $$ > command; wait";
    for whole_group in [false, true] {
        let shell = Shell::at(&server);
        let mut child = running(&shell, script).await;
        let pids =
            [noted(&shell, "command").await, noted(&shell, "stubborn").await, noted(&shell, "patient").await];
        let wrapper = Pid::from_child(&child);
        if whole_group {
            kill_process_group(wrapper, Signal::KILL).unwrap();
        } else {
            kill_process(wrapper, Signal::KILL).unwrap();
        }
        child.wait().unwrap();
        for pid in pids {
            gone(pid).await;
        }
        // It is silent from now on, but nobody has to wait for that here.
        let id = newest(&shell).unwrap()["id"].as_str().unwrap().to_owned();
        shell.ok(&["deploy", "finish", &id, "--status", "canceled"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_shim_ends_the_command_too_and_the_wrapper_says_so() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = Shell::at(&server);
    let child = running(&shell, "echo $$ > command; sleep 1000").await;
    let command = noted(&shell, "command").await;
    let (_, shim) = state(command).unwrap();
    assert_ne!(shim, Pid::from_child(&child).as_raw_nonzero().get());
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    assert_eq!(code(&child.wait_with_output().unwrap()), 137);
    gone(command).await;
    assert_eq!(newest(&shell).unwrap()["status"], "failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_has_our_input_and_pauses_with_us() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = Shell::at(&server);
    let line =
        ["deploy", "--service", "shop", "--environment", "staging", "--version", "1.0", "--commit", COMMIT];
    let script = "echo $$ > command; read word; echo got $word; read word; exit 3";
    let mut process = shell.command(&[&line[..], &["--", "sh", "-c", script]].concat());
    let mut child = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (wrapper, command) = (Pid::from_child(&child), noted(&shell, "command").await);
    for (signal, expected) in [(Signal::TSTP, "T"), (Signal::CONT, "S")] {
        kill_process(wrapper, signal).unwrap();
        for pid in [wrapper, command] {
            eventually(expected, async || (state(pid)?.0 == expected).then_some(())).await;
        }
    }
    child.stdin.take().unwrap().write_all(b"it\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), output.stdout.as_slice()), (3, b"got it\n".as_slice()));
}

db_test!(
    async fn a_command_that_cannot_be_started_is_named_and_leaves_nothing_running(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let path = |name: &str| shell.folder.path().join(name).to_str().unwrap().to_owned();
        for (name, script) in [("plain", "true"), ("lost", "#!/nowhere/sh\ntrue"), ("text", "true")] {
            fs::write(path(name), script).unwrap();
            let mode = if name == "plain" { 0o644 } else { 0o755 };
            fs::set_permissions(path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        for (command, exit, why) in [
            ("nosuchcommand".to_owned(), 127, "command not found"),
            (path("missing"), 127, "no such file"),
            (path("lost"), 127, "interpreter"),
            (path(""), 126, "is a directory"),
            (path("plain"), 126, "`chmod +x`"),
            (path("text"), 126, "#!/bin/sh"),
        ] {
            let line = ["deploy", "--service", "shop", "--environment", "staging", "--version", "1.0"];
            let output = shell.run(&[&line[..], &["--commit", COMMIT, "--", &command, "--flag"]].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code(&output), exit, "{command}: {said}");
            assert!(said.contains(&command) && said.contains(why), "{said}");
            let newest = newest(&shell).unwrap();
            assert_eq!(newest["status"], "failed");
            assert!(newest["message"].as_str().unwrap().contains(&format!("{command}: ")), "{newest}");
        }
    }
);

db_test!(
    async fn what_a_pipeline_says_oddly_is_one_warning(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = Shell::at(&server);
        let git_ref = "r".repeat(256);
        let more = ["--ref", &git_ref, "--pipeline-url", "n/a", "--version-prefix", "shop/"];
        let output = shell.deploy("shop/v1.0", &more, "echo $WAYBILL_VERSION");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (code(&output), String::from_utf8_lossy(&output.stdout).as_ref()),
            (0, "v1.0\n"),
            "{said}"
        );
        assert_eq!(said.matches("warning").count(), 1, "{said}");
        assert!(said.contains("not kept as sent: pipeline_url, ref"), "{said}");
        let changes: Vec<_> = (1..=20_000)
            .map(|n| json!({ "sha": format!("a{n:039x}"), "committed_at": "2026-01-01T00:00:00Z", "title": "x".repeat(80) }))
            .collect();
        let file = shell.folder.path().join("changes.json");
        fs::write(&file, json!(changes).to_string()).unwrap();
        let line = ["release", "record", "--service", "shop", "--version", "v2.0", "--commit", COMMIT];
        let output = shell.run(&[&line[..], &["--changes-file", file.to_str().unwrap()]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), 0, "{said}");
        assert!(said.contains("of 20000 changes only the newest 1000 are sent"), "{said}");
        let refused = shell.deploy("shop/v1.0", &[], "true");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--version-prefix shop/"));
        shell.ok(&[
            "gate",
            "--service",
            "shop",
            "--environment",
            "staging",
            "--version",
            "shop/v1.0",
            "--version-prefix",
            "shop/",
        ]);
    }
);
