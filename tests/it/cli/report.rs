//! Results that Waybill does not take when they are due: kept in files, and put on record later, once.

use std::{fs, path::PathBuf, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::connection::{Listener, answer, said};
use crate::{
    db_test,
    support::{
        db::TestDb,
        eventually,
        process::ServerProcess,
        shell::{COMMIT, Shell, code},
    },
};

/// Somebody in Waybill's place who is not able to work.
async fn broken() -> (Listener, String) {
    let listener = Listener::answering(answer("500 Internal Server Error", "", "{}")).await;
    let url = format!("http://{}", listener.address);
    (listener, url)
}

/// A shell of the pipeline that the documentation describes.
async fn pipeline(server: &ServerProcess) -> Shell {
    let body = json!({ "name": "ci", "scopes": ["read", "deploy"] });
    let made = server.client().post(server.at("/api/v1/tokens")).json(&body).send().await.unwrap();
    let token = made.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    Shell { token, ..Shell::at(server) }
}

fn reports(shell: &Shell) -> Vec<PathBuf> {
    let files = fs::read_dir(shell.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("waybill-report-")).collect()
}

fn send(shell: &Shell, file: &str) -> Value {
    serde_json::from_str(&shell.ok(&["deploy", "report", file, "--output", "json"])).unwrap()
}

db_test!(
    async fn what_went_on_without_waybill_is_put_on_record_later_and_once(db: TestDb) {
        let server = ServerProcess::start(&db).await;
        let shell = pipeline(&server).await;
        let (_broken, away) = broken().await;
        for (version, script, status) in [("1.0", "true", "succeeded"), ("1.1", "exit 3", "failed")] {
            let line = ["deploy", "--service", "shop", "--environment", "staging", "--version", version];
            let tail = ["--commit", COMMIT, "--on-error", "continue", "--", "sh", "-c", script];
            let output =
                shell.command(&[&line[..], &tail].concat()).env("WAYBILL_URL", &away).output().unwrap();
            assert_eq!(code(&output), if status == "failed" { 3 } else { 0 }, "{}", said(&output));
            let told = said(&output);
            let command = told.lines().find_map(|line| line.trim().strip_prefix("waybill deploy report "));
            let file = command.unwrap_or_else(|| panic!("{told}"));
            assert_eq!(reports(&shell), [PathBuf::from(file)], "{told}");
            assert!(!fs::read_to_string(file).unwrap().contains(&shell.token));
            let first = send(&shell, file);
            assert_eq!((&first["status"], &first["ungated"]), (&json!(status), &json!(true)));
            assert_eq!(send(&shell, file), first);
            fs::remove_file(file).unwrap();
        }
        assert_eq!(shell.history().len(), 2);
    }
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrapper_that_is_killed_without_waybill_leaves_a_report_too() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = pipeline(&server).await;
    let (_broken, away) = broken().await;
    let line =
        ["deploy", "--service", "shop", "--environment", "staging", "--version", "1.0", "--commit", COMMIT];
    let tail = ["--on-error", "continue", "--", "sh", "-c", "touch ran; sleep 1000"];
    let mut command = shell.command(&[&line[..], &tail].concat());
    let mut wrapper = command.env("WAYBILL_URL", &away).stderr(Stdio::null()).spawn().unwrap();
    eventually("the command", async || shell.folder.path().join("ran").exists().then_some(())).await;
    kill_process(Pid::from_child(&wrapper), Signal::KILL).unwrap();
    wrapper.wait().unwrap();
    let files = reports(&shell);
    assert_eq!(send(&shell, files[0].to_str().unwrap())["status"], "canceled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_waybill_does_not_take_is_kept_and_sent_from_anywhere() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = pipeline(&server).await;
    let (_broken, away) = broken().await;
    let line = ["deploy", "start", "--service", "shop", "--environment", "staging", "--version", "1.0"];
    let id = shell.ok(&[&line[..], &["--commit", COMMIT]].concat());
    let finish = ["deploy", "finish", id.trim(), "--status", "succeeded", "--message", "it's done"];
    // Nothing can be written here, nor among the temporary files.
    let mut command = shell.command(&finish);
    command.current_dir("/proc").env("TMPDIR", "/proc").env("WAYBILL_URL", &away);
    let told = said(&command.output().unwrap());
    let text = told.lines().find_map(|line| line.trim().strip_suffix(" | waybill deploy report -"));
    let text = text.unwrap_or_else(|| panic!("{told}"));
    let echo = std::process::Command::new("sh").args(["-c", text]).output().unwrap();
    let file = shell.folder.path().join("echoed.json");
    fs::write(&file, echo.stdout).unwrap();
    let mut report = shell.command(&["deploy", "report", "-", "--output", "json"]);
    let output = report.stdin(fs::File::open(&file).unwrap()).output().unwrap();
    assert_eq!(code(&output), 0, "{}", said(&output));
    let last = &shell.history()[0];
    assert_eq!((&last["status"], &last["message"]), (&json!("succeeded"), &json!("it's done")));
    let nothing = shell.run(&["deploy", "report", "/dev/null"]);
    assert!(
        code(&nothing) == 2 && said(&nothing).contains("/dev/null is not a report"),
        "{}",
        said(&nothing)
    );
}
