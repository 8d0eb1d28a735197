//! Where a configuration comes from.

use std::{ffi::OsString, path::PathBuf};

const DEFAULT_FILE: &str = "waybill.toml";

/// Everything that a configuration is read from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The file that was asked for; without it, the one `WAYBILL_CONFIG` names, else `default_file`.
    pub file: Option<PathBuf>,
    /// The file that is read when none was asked for, and that may be missing.
    pub default_file: PathBuf,
    /// The variables of the environment.
    pub env: Vec<(OsString, OsString)>,
    /// The flags of the command line.
    pub flags: Vec<Flag>,
}

/// A flag of the command line that sets a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As it is written: `--listen`.
    pub name: &'static str,
    /// What it sets: `server.listen`.
    pub key: &'static str,
    /// To what.
    pub value: String,
}

impl Sources {
    /// What this process was started with.
    #[expect(clippy::disallowed_methods, reason = "the configuration reads the environment")]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        Self { file, default_file: PathBuf::from(DEFAULT_FILE), env: std::env::vars_os().collect(), flags }
    }
}
