//! The examples of the pages, typed in order as they stand: what they print is what the page says, ids, times and durations
//! aside. Where a page shows no output, they succeed.

use std::{fs, path::Path, process::Stdio};

use chrono::Datelike as _;
use regex::{Captures, Regex};
use serde_json::Value;

use crate::support::{
    db::TestDb,
    process::{ServerProcess, sandboxed},
    shell::Shell,
};

/// What is printed after each command.
const END: &str = "--end-of-example--";
/// Before what the examples of a page need to be as they are, and readers do not.
const FIRST: &str = "<!-- typed first";

/// One command, with the lines that it goes on in, and what is shown below it; or several of which nothing is shown.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    command: String,
    output: Option<String>,
}

impl Example {
    fn unshown(command: impl Into<String>) -> Self {
        Self { command: command.into(), output: None }
    }

    /// As it is typed. What shows nothing must succeed, and the shell ends where it does not.
    fn typed(&self) -> String {
        let (before, after) = if self.output.is_none() { ("set -e\n", "\nset +e") } else { ("", "") };
        format!("{before}{}{after}\nstatus=$?; echo; echo {END}; (exit $status)\n", self.command)
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The blocks of a page: their language, and what is in them.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let (mut found, mut lines) = (Vec::new(), text.lines());
    while let Some(line) = lines.next() {
        let fence = line.trim_start();
        let margin = line.len() - fence.len();
        let (language, end) = if line.starts_with(FIRST) {
            (FIRST, "-->")
        } else if let Some(language) = fence.strip_prefix("```") {
            (language, "```")
        } else {
            continue;
        };
        let block = lines.by_ref().take_while(|line| line.trim() != end);
        let block: Vec<_> = block.map(|line| line.get(margin..).unwrap_or_default()).collect();
        found.push((language, block.join("\n")));
    }
    found
}

/// What is typed at a prompt, and what is shown below it.
fn at_prompt(block: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut end: Option<String> = None;
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Example { command: command.to_owned(), output: Some(String::new()) });
            end = goes_on(command);
            continue;
        }
        let last = found.last_mut().expect("a block begins with a command");
        if let Some(word) = end.take() {
            last.command += &["\n", line].concat();
            end = if word.is_empty() { goes_on(line) } else { Some(word).filter(|word| word != line) };
        } else if let Some(output) = &mut last.output {
            *output += &[line, "\n"].concat();
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

/// Types examples into one shell, at a server of their own.
async fn type_in(examples: &[Example]) {
    let db = TestDb::sqlite().await;
    let server = ServerProcess::start(&db).await;
    let shell = Shell::at(&server);
    let binary = Path::new(env!("CARGO_BIN_EXE_waybill")).parent().unwrap();
    let typed: String = examples.iter().map(Example::typed).collect();
    // What is to come on the page is to come, whenever it is typed.
    let next = waybill::clock::now().year() + 1;
    let typed = typed.replace("2027-", &format!("{}-", next + 1)).replace("2026-", &format!("{next}-"));
    let output = sandboxed("bash", &shell.folder)
        .args(["-c", &format!("exec 2>&1\nPATH={}:$PATH\n{typed}", binary.display())])
        .env("WAYBILL_URL", &shell.url)
        .env("WAYBILL_TOKEN", &shell.token)
        .env("DATABASE_URL", &db.url)
        .env("DATA", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<_> = printed.split(END).collect();
    for (Example { command, output: shown }, printed) in examples.iter().zip(&printed) {
        let is_right = shown.as_ref().is_none_or(|shown| is_shown(printed, shown));
        assert!(is_right, "$ {command}\n{printed}\nis not\n{}", shown.as_deref().unwrap_or_default());
    }
    let ended = printed.len() - 1;
    assert!(ended == examples.len(), "it ended in\n{}\n{}", examples[ended].command, printed[ended]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_readme_shows_is_what_is_printed() {
    let text = page("README.md");
    // What Cargo runs is built and tested elsewhere.
    let shown = blocks(&text)
        .into_iter()
        .filter(|(language, block)| *language == "console" && !block.contains("$ cargo "));
    let examples: Vec<_> = shown.flat_map(|(_, block)| at_prompt(&block)).collect();
    assert!(examples.len() > 8, "{examples:?}");
    type_in(&examples).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_page_about_the_gate_shows_is_what_is_printed() {
    let text = page("docs/gate.md");
    let examples = blocks(&text).into_iter().flat_map(|(language, block)| match language {
        "console" => at_prompt(&block),
        "sh" | FIRST => vec![Example::unshown(block)],
        _ => Vec::new(),
    });
    let examples: Vec<_> = examples.collect();
    assert!(examples.len() > 25, "{examples:?}");
    type_in(&examples).await;
}

/// What the pipelines on the page run of Waybill: the scripts of jobs, and what is between quotes in Jenkins.
fn of_pipelines(language: &str, block: &str) -> Vec<String> {
    let scripts = match language {
        "yaml" => {
            let mut found = Vec::new();
            scripts_in(&serde_saphyr::from_str(block).unwrap(), &mut found);
            found
        }
        "groovy" => {
            let quoted = Regex::new(r"(?s)(?:env\.(\w+) = sh\([^']*)?'''(.*?)'''|sh '([^'\n]+)'").unwrap();
            let of = |found: Captures<'_>| {
                let script =
                    found.get(2).or(found.get(3)).map_or("", |one| one.as_str()).replace(r"\\", r"\");
                // What it prints becomes a variable.
                found.get(1).map_or(script.clone(), |name| format!("{}=$({script})", name.as_str()))
            };
            quoted.captures_iter(block).map(of).collect()
        }
        _ => Vec::new(),
    };
    // What only the runner can fill in, and all but one of the ways to end, are left out.
    let left_out = ["${{", "--status failed", "--status canceled"];
    let typed =
        |script: &String| script.contains("waybill ") && !left_out.iter().any(|text| script.contains(text));
    scripts.into_iter().filter(typed).collect()
}

fn scripts_in(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("script", Value::Array(lines)) => {
                        found.extend(lines.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    ("run", Value::String(script)) => found.push(script.clone()),
                    _ => scripts_in(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| scripts_in(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_page_about_pipelines_shows_works() {
    let text = page("docs/ci.md");
    let examples = blocks(&text).into_iter().flat_map(|(language, block)| match language {
        FIRST => vec![block],
        _ => of_pipelines(language, &block),
    });
    // Each is a shell of its own to its runner, which ends at the first command that fails.
    let examples: Vec<_> = examples.map(Example::unshown).collect();
    assert!(examples.len() > 10, "{examples:?}");
    type_in(&examples).await;
}

#[test]
fn a_command_is_told_from_what_it_prints() {
    let block = "$ cat >a <<'END'\nb\nEND\n$ echo \\\n    c\nc\nd";
    let example =
        |command: &str, output: &str| Example { command: command.into(), output: Some(output.into()) };
    assert_eq!(
        at_prompt(block),
        [example("cat >a <<'END'\nb\nEND", ""), example("echo \\\n    c", "c\nd\n")]
    );
    assert!(is_shown("the lease ends in 3s\nx\n", "the lease ends in 2m 5s\n…\n"));
    assert!(!is_shown("refused", "done"));
    let page = "a\n<!-- typed first:\nx=1\n-->\n   ```sh\n   b\n     c\n   ```\n```\nd\n```\n";
    let found =
        [(FIRST, "x=1"), ("sh", "b\n  c"), ("", "d")].map(|(language, block)| (language, block.to_owned()));
    assert_eq!(blocks(page), found);
}
