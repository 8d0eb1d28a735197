//! What processes used, as Linux tells it below `/proc`.

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use rustix::process::Pid;

/// What is measured: a server, and the database server behind it where that is a process of its own.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    pub server: Pid,
    pub database: Option<Pid>,
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    pub server: Duration,
    pub database: Duration,
}

impl Processes {
    /// What they have used since their start.
    pub fn cpu(self) -> anyhow::Result<Cpu> {
        let database = self.database.map_or(Ok(Duration::ZERO), family)?;
        Ok(Cpu { server: threads(self.server)?, database })
    }
}

impl Cpu {
    pub fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            database: self.database.saturating_sub(before.database),
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Self { server: self.server + other.server, database: self.database + other.database }
    }
}

/// A process's threads, to the nanosecond. Those that have ended are not counted; servers keep theirs.
fn threads(pid: Pid) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // It may end at this moment.
        let Ok(stat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanos += stat.split(' ').next().context("no time")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// A process and its children.
fn family(pid: Pid) -> anyhow::Result<Duration> {
    let mut time = threads(pid)?;
    for process in fs::read_dir("/proc")?.flatten() {
        if is_child(&process.path(), pid) {
            let child = process.file_name().to_str().and_then(|name| name.parse().ok());
            time += child.and_then(Pid::from_raw).and_then(|child| threads(child).ok()).unwrap_or_default();
        }
    }
    Ok(time)
}

fn is_child(process: &Path, parent: Pid) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.strip_prefix("PPid:").is_some_and(|ppid| ppid.trim() == parent.to_string()))
}

/// Memory in MiB: now (`VmRSS`), or at most since the last [`forget_peak`] (`VmHWM`).
pub fn memory(pid: Pid, what: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context("no such memory")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

/// Lets the most memory be counted from now on.
pub fn forget_peak(pid: Pid) -> anyhow::Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}
