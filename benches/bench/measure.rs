//! Operations that are done again and again, how long they took, and what was used for them.

use std::{
    fmt,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::future::try_join_all;

use crate::{ledger::Server, used::Cpu};

/// So long one of two is measured before it is the other's turn: a machine that others use is not the same all the time.
const SLICE: Duration = Duration::from_millis(500);
/// Until what a server does behind its answers is done: events are sealed, and connections are quiet.
pub const SETTLED: Duration = Duration::from_millis(200);

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    took: Vec<Duration>,
    time: Duration,
    cpu: Cpu,
}

impl Figures {
    /// Of operations that took so long each, and all of them together.
    pub fn of(took: Vec<Duration>, time: Duration) -> Self {
        Self { took, time, cpu: Cpu::default() }
    }

    pub fn add(&mut self, more: Self) {
        self.took.extend(more.took);
        self.time += more.time;
        self.cpu = self.cpu.plus(more.cpu);
    }

    pub fn per_second(&self) -> f64 {
        self.count() / self.time.as_secs_f64()
    }

    /// The time that so many in a thousand did not exceed.
    pub fn ms(&self, per_mille: usize) -> anyhow::Result<f64> {
        let mut took = self.took.clone();
        took.sort_unstable();
        let took = took.get(took.len() * per_mille / 1000).context("nothing was done in the time")?;
        Ok(ms(*took))
    }

    /// Processor time of the server and of the database server for one operation, in milliseconds.
    pub fn cpu_ms(&self) -> (f64, f64) {
        (ms(self.cpu.server) / self.count(), ms(self.cpu.database) / self.count())
    }

    fn count(&self) -> f64 {
        u32::try_from(self.took.len()).unwrap_or(u32::MAX).into()
    }
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Lets so many clients work until the time is over.
pub async fn run(
    clients: usize,
    time: Duration,
    work: impl AsyncFn(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Figures> {
    let begin = Instant::now();
    let work = &work;
    let each = (0..clients).map(|own| async move {
        let mut took = Vec::new();
        while begin.elapsed() < time {
            let start = Instant::now();
            work(own).await?;
            took.push(start.elapsed());
        }
        anyhow::Ok(took)
    });
    let took = try_join_all(each).await?.into_iter().flatten().collect();
    Ok(Figures::of(took, begin.elapsed()))
}

/// The same, with what the server used for it.
pub async fn used(
    server: &Server,
    work: impl Future<Output = anyhow::Result<Figures>>,
) -> anyhow::Result<Figures> {
    let before = server.processes.cpu()?;
    let figures = work.await?;
    tokio::time::sleep(SETTLED).await;
    Ok(Figures { cpu: server.processes.cpu()?.since(before), ..figures })
}

/// Measures two things in turn, until each has had its time.
pub async fn versus(
    time: Duration,
    one: impl AsyncFn(Duration) -> anyhow::Result<Figures>,
    other: impl AsyncFn(Duration) -> anyhow::Result<Figures>,
) -> anyhow::Result<(Figures, Figures)> {
    let (mut ones, mut others) = (Figures::default(), Figures::default());
    while ones.time < time {
        ones.add(one(SLICE).await?);
        others.add(other(SLICE).await?);
    }
    Ok((ones, others))
}

/// Prints a line.
pub fn say(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    Ok(writeln!(anstream::stdout(), "{line}")?)
}
