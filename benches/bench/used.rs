//! What a process used, as Linux tells it below `/proc`.

use std::fs;

use anyhow::Context as _;
use rustix::process::Pid;

use crate::load::Figures;

/// How often the clock ticks in which `/proc/PID/stat` counts, the same on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a server used while it was measured.
pub struct Used {
    /// Processor time for one operation.
    pub cpu_ms: f64,
    /// Memory at most, since its start.
    pub peak_mib: f64,
}

impl Used {
    /// Measures, and tells what the process used for each operation.
    pub async fn by(
        pid: Pid,
        measure: impl Future<Output = anyhow::Result<Figures>>,
    ) -> anyhow::Result<(Figures, Self)> {
        let before = cpu_ms(pid)?;
        let figures = measure.await?;
        let cpu_ms = (cpu_ms(pid)? - before) / figures.count;
        Ok((figures, Self { cpu_ms, peak_mib: peak_mib(pid)? }))
    }
}

fn cpu_ms(pid: Pid) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.split_whitespace().skip(13).take(2).map(str::parse::<f64>);
    Ok(fields.sum::<Result<f64, _>>()? * 1000.0 / TICKS_PER_SECOND)
}

fn peak_mib(pid: Pid) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib / 1024.0)
}
