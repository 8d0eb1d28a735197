//! Scripts that drive a real Chromium: those of `tests/people`, which share `chromium.mjs`.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use super::provider::{PACKAGES, chromium};

/// Runs a script of `tests/people`, which must end well. What it asks for by a line that begins with `? ` is done by `answer`, and
/// it is told when that is done.
///
/// What a story that has failed looked like is kept in `target/tmp/people/` and the name of the script; its last words say where.
pub async fn run(script: &str, env: &[(&str, &str)], mut answer: impl AsyncFnMut(&str)) -> String {
    let failures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("people").join(script);
    let mut child = Command::new("node")
        .arg(format!("{}/tests/people/{script}.mjs", env!("CARGO_MANIFEST_DIR")))
        .envs([("MODULES", PACKAGES.as_str()), ("CHROMIUM", &chromium())])
        .env("FAILURES", failures)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut tell, told) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut complaints = child.stderr.take().unwrap();
    let (mut lines, mut said, mut complained) = (BufReader::new(told).lines(), String::new(), String::new());
    let listen = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(wish) = line.strip_prefix("? ") {
                answer(wish).await;
                tell.write_all(b"done\n").await.unwrap();
            } else {
                said += &line;
                said.push('\n');
            }
        }
    };
    let (_, ended, ()) = tokio::join!(complaints.read_to_string(&mut complained), child.wait(), listen);
    assert!(ended.unwrap().success(), "{said}{complained}");
    assert!(said.ends_with("ok\n"), "{said}{complained}");
    said
}
