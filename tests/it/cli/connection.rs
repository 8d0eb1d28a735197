//! Where the command line sends its token, what it leaves to the command that it runs, and what it prints of what comes
//! back.

use std::{
    process::Output,
    sync::{Arc, Mutex},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::support::{
    db::TestDb,
    process::{ServerProcess, command},
    shell::{COMMIT, Shell},
};

/// Somebody who gives each request the same answer, and keeps what was sent.
pub struct Listener {
    pub address: String,
    seen: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Listener {
    pub async fn answering(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let keep = Arc::clone(&seen);
        let task = TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 16 * 1024];
                let length = stream.read(&mut head).await.unwrap_or_default();
                keep.lock().unwrap().push(String::from_utf8_lossy(&head[..length]).into_owned());
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    async fn refusing() -> Self {
        Self::answering(answer("404 Not Found", "", "nothing")).await
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `waybill status` with this environment.
fn status(env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    command(&folder)
        .arg("status")
        .args(arguments)
        .env("WAYBILL_TOKEN", "hunter2")
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_this_machine_takes_no_proxy() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let proxy = Listener::refusing().await;
    let through = format!("http://{}", proxy.address);
    let port = server.url.rsplit(':').next().unwrap();
    for url in [server.url.clone(), format!("http://localhost:{port}")] {
        let env = [
            ("WAYBILL_URL", url.as_str()),
            ("WAYBILL_TOKEN", &server.token),
            ("http_proxy", &through),
            ("HTTP_PROXY", &through),
            ("all_proxy", &through),
        ];
        let output = status(&env, &[]);
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(proxy.seen(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_to_others_in_the_clear_only_when_told_to() {
    let remote = Listener::refusing().await;
    // Takes the place of the remote host, whose name nobody knows.
    let through = format!("http://{}", remote.address);
    let env = [("WAYBILL_URL", "http://waybill.test:3000"), ("http_proxy", through.as_str())];
    for unset in ["", "0", "false"] {
        let output = status(&[&env[..], &[("WAYBILL_INSECURE_HTTP", unset)]].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        for part in ["http://waybill.test:3000/", "https://", "--insecure-http", "WAYBILL_INSECURE_HTTP=1"] {
            assert!(said(&output).contains(part), "{part}: {}", said(&output));
        }
        assert!(!said(&output).contains("hunter2"));
    }
    assert_eq!(remote.seen(), [""; 0]);
    for (more, flag) in [(&[("WAYBILL_INSECURE_HTTP", "1")][..], &[][..]), (&[], &["--insecure-http"])] {
        assert_eq!(status(&[&env[..], more].concat(), flag).status.code(), Some(1));
    }
    let seen = remote.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter().all(|head| head.contains("waybill.test") && head.contains("Bearer hunter2")),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed() {
    let elsewhere = Listener::refusing().await;
    for code in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let location = format!("location: http://{}/api/v1/matrix\r\n", elsewhere.address);
        let server = Listener::answering(answer(code, &location, "")).await;
        let output = status(&[("WAYBILL_URL", &format!("http://{}", server.address))], &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(&elsewhere.address), "{}", said(&output));
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(elsewhere.seen(), [""; 0], "the token stays with the server that it is for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_gets_everything_but_the_token() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = Shell::at(&server);
    let file = shell.folder.path().join("token");
    std::fs::write(&file, &server.token).unwrap();
    let script = r#"echo "[$WAYBILL_TOKEN|$WAYBILL_TOKEN_FILE|$WAYBILL_URL|$OTHER|${WAYBILL_DEPLOYMENT_ID:+id}|$WAYBILL_VERSION]""#;
    let run = |line: &[&str]| {
        let mut waybill = shell.command(line);
        waybill.env("WAYBILL_TOKEN_FILE", &file).env("OTHER", "kept");
        let output = waybill.args(["--", "sh", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let deploy = |version| {
        ["deploy", "--service", "shop", "--environment", "staging", "--version", version, "--commit", COMMIT]
    };
    let url = &server.url;
    assert_eq!(run(&deploy("1")).trim(), format!("[||{url}|kept|id|1]"));
    let passed = run(&[&deploy("2")[..], &["--pass-token"]].concat());
    assert_eq!(passed.trim(), format!("[{}|{}|{url}|kept|id|2]", server.token, file.display()));
    let back = run(&["rollback", "--service", "shop", "--environment", "staging", "--to", "1", "--yes"]);
    assert_eq!(back.trim(), format!("[||{url}|kept|id|1]"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_server_sends_moves_or_turns_what_a_terminal_shows() {
    let hostile = "a\u{202e}b\u{2066}\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}2J\u{200f}\u{61c}\rz";
    let problem = serde_json::json!({"type": format!("x/{hostile}"), "title": hostile, "status": 422, "detail": hostile,
        "request_id": hostile, "errors": [{"pointer": hostile, "detail": hostile}]});
    let row = serde_json::json!({"id": hostile, "service": hostile, "environment": hostile, "version": hostile,
        "kind": hostile, "status": hostile, "started_at": "2026-01-01T00:00:00Z", "actor": {"token": hostile,
        "subject": hostile}, "message": hostile});
    let page = serde_json::json!({ "items": [row], "next_cursor": null });
    let redirect = answer("302 Found", "location: http://w.test/\u{9b}2J\r\n", "");
    for (response, exit) in [
        (answer("422 Unprocessable Content", "", &problem.to_string()), 1),
        (answer("200 OK", "", &page.to_string()), 0),
        (answer("200 OK", "", hostile), 1),
        (redirect, 1),
    ] {
        let server = Listener::answering(response).await;
        let folder = TempDir::new().unwrap();
        let ask = |output: &str| {
            command(&folder)
                .args(["history", "-o", output])
                .env("WAYBILL_TOKEN", "t")
                .env("WAYBILL_URL", format!("http://{}", server.address))
                .env("CLICOLOR_FORCE", "1")
                .output()
                .unwrap()
        };
        for format in ["table", "json"] {
            let output = ask(format);
            let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
            assert_eq!(output.status.code(), Some(exit), "{shown}");
            let bare = anstream::adapter::strip_str(&shown).to_string();
            for c in ['\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}', '\u{1b}', '\u{9b}', '\u{7}', '\r'] {
                assert!(!bare.contains(c), "{c:?} in {shown:?}");
            }
            assert!(!shown.contains("\u{1b}[2J") && !shown.contains("\u{1b}]"), "{shown:?}");
            if exit == 0 && format == "json" {
                let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(value["items"], page["items"], "JSON stays exact");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_command_is_shown_as_it_is_and_obeyed_by_no_terminal() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = Shell::at(&server);
    let line = [
        "deploy",
        "--service",
        "shop",
        "--environment",
        "staging",
        "--version",
        "1",
        "--commit",
        COMMIT,
        "--",
    ];
    let output = shell.run(&[&line[..], &["./no\u{1b}[2Jsuch\u{202e}"]].concat());
    assert_eq!(output.status.code(), Some(127));
    assert!(!said(&output).contains(['\u{1b}', '\u{202e}']), "{}", said(&output));
}
