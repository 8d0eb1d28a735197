//! The command line in a user's shell: the real binary, asked to do something at a real server.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    process::{ServerProcess, command},
    secrets,
};

/// A commit that releases are built from.
pub const COMMIT: &str = "8f3c0ab1d2e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8";

/// A user's shell, with the server's address and token in its environment.
pub struct Shell {
    pub folder: TempDir,
    pub url: String,
    pub token: String,
}

impl Shell {
    /// At a server, as its admin.
    pub fn at(server: &ServerProcess) -> Self {
        Self { folder: TempDir::new().unwrap(), url: server.url.clone(), token: server.token.clone() }
    }

    /// A command that is not run yet.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut waybill = command(&self.folder);
        waybill
            .args(line)
            .env("WAYBILL_URL", &self.url)
            .env("WAYBILL_TOKEN", &self.token)
            .stdin(Stdio::null());
        waybill
    }

    /// Runs a command.
    pub fn run(&self, line: &[&str]) -> Output {
        let output = self.command(line).output().unwrap();
        secrets::look_at("what a command says", &output.stderr);
        output
    }

    /// Runs a command that must work, and gives its output.
    #[track_caller]
    pub fn ok(&self, line: &[&str]) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Deploys a version of shop to staging around a script.
    pub fn deploy(&self, version: &str, more: &[&str], script: &str) -> Output {
        let mut line = vec!["deploy", "--service", "shop", "--environment", "staging", "--version", version];
        line.extend(["--commit", COMMIT]);
        line.extend(more);
        line.extend(["--", "sh", "-c", script]);
        self.run(&line)
    }

    /// All deployments, newest first.
    pub fn history(&self) -> Vec<Value> {
        let list: Value = serde_json::from_str(&self.ok(&["history", "--output", "json"])).unwrap();
        list["items"].as_array().unwrap_or_else(|| list.as_array().unwrap()).clone()
    }
}

/// The exit code.
#[track_caller]
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}
