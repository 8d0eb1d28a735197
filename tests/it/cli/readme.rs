//! The README's examples, typed in order as they stand: what they print is what it says, ids, times and durations aside.

use std::process::Stdio;

use regex::Regex;

use crate::support::{
    db::TestDb,
    process::{ServerProcess, sandboxed},
    shell::Shell,
};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
/// What is printed after each command.
const END: &str = "--end-of-example--";

/// One command, with the lines that it goes on in, and what is shown below it.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    command: String,
    output: String,
}

/// The examples of the blocks that are typed at a prompt. What Cargo runs is built and tested elsewhere.
fn examples(text: &str) -> Vec<Example> {
    let blocks = text.split("```console\n").skip(1).filter_map(|rest| rest.split_once("\n```"));
    let typed = blocks.map(|(block, _)| block).filter(|block| !block.contains("$ cargo "));
    typed.flat_map(in_block).collect()
}

fn in_block(block: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut end: Option<String> = None;
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Example { command: command.to_owned(), output: String::new() });
            end = goes_on(command);
            continue;
        }
        let last = found.last_mut().expect("a block begins with a command");
        if let Some(word) = end.take() {
            last.command += &["\n", line].concat();
            end = if word.is_empty() { goes_on(line) } else { Some(word).filter(|word| word != line) };
        } else {
            last.output += &[line, "\n"].concat();
        }
    }
    found
}

/// Whether the next line belongs to the command, too: up to this word, or one line where the word is empty.
fn goes_on(line: &str) -> Option<String> {
    let heredoc = line.split_once("<<'").and_then(|(_, rest)| rest.split_once('\''));
    heredoc.map(|(word, _)| word.to_owned()).or_else(|| line.ends_with('\\').then(String::new))
}

/// The text without what differs from run to run, and without what is only there to be read more easily.
fn masked(text: &str) -> String {
    let masks = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
        (r"\b\d\d:\d\d( UTC)", "TIME$1"),
        (r"\b\d+(s|m|h|d)\b( \d+(s|m)\b)*", "SPAN"),
        (r" #.*", ""),
        (r"(?m)[ ]+$", ""),
        (r" {2,}", " "),
    ];
    let masked = masks.iter().fold(text.to_owned(), |text, (mask, put)| {
        Regex::new(mask).unwrap().replace_all(&text, *put).into_owned()
    });
    masked.trim().to_owned()
}

/// Whether the output is what is shown, where `…` stands for any lines.
fn is_shown(output: &str, shown: &str) -> bool {
    let parts: Vec<_> = masked(shown).split('…').map(|part| regex::escape(part.trim())).collect();
    Regex::new(&format!(r"(?s)\A\s*{}\s*\z", parts.join(".*"))).unwrap().is_match(&masked(output))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_readme_shows_is_what_is_printed() {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = Shell::at(&server);
    let examples = examples(README);
    assert!(examples.len() > 8, "{examples:?}");
    let end = format!("\nstatus=$?; echo; echo {END}; (exit $status)\n");
    let typed: Vec<_> = examples.iter().flat_map(|example| [&*example.command, &*end]).collect();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_waybill")).parent().unwrap();
    let output = sandboxed("bash", &shell.folder)
        .args(["-c", &format!("exec 2>&1\nPATH={}:$PATH\n{}", binary.display(), typed.concat())])
        .env("WAYBILL_URL", &shell.url)
        .env("WAYBILL_TOKEN", &shell.token)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<_> = printed.split(END).collect();
    assert_eq!(printed.len(), examples.len() + 1, "{printed:?}");
    for (Example { command, output: shown }, printed) in examples.iter().zip(printed) {
        assert!(is_shown(printed, shown), "$ {command}\n{printed}\nis not\n{shown}");
    }
}

#[test]
fn a_command_is_told_from_what_it_prints() {
    let block = "$ cat >a <<'END'\nb\nEND\n$ echo \\\n    c\nc\nd";
    let example = |command: &str, output: &str| Example { command: command.into(), output: output.into() };
    assert_eq!(in_block(block), [example("cat >a <<'END'\nb\nEND", ""), example("echo \\\n    c", "c\nd\n")]);
    assert!(is_shown("the lease ends in 3s\nx\n", "the lease ends in 2m 5s\n…\n"));
    assert!(!is_shown("refused", "done"));
}
