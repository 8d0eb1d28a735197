//! What fifty freeze windows cost the gate: worked out each time, and from memory.

#![expect(clippy::print_stdout, reason = "it is what an example is for")]

use std::{hint::black_box, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use waybill::{
    domain::freeze::{Timing, Window, periods},
    usecase::freezes::Memo,
};

const WINDOWS: u32 = 50;
const ROUNDS: u32 = 2000;

fn windows() -> Vec<Window> {
    let zones = ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "UTC"];
    let window = |(n, zone): (u32, &str)| {
        let timing = Timing::Recurring {
            start_cron: format!("{} 18 * * FRI", n % 60),
            end_cron: format!("{} 8 * * MON", n % 60),
            timezone: zone.to_owned(),
        };
        let name = format!("window {n}");
        Window { id: Uuid::from_u128(u128::from(n)), reason: "nobody is here".to_owned(), name, timing }
    };
    (0..WINDOWS).zip(zones.into_iter().cycle()).map(window).collect()
}

fn measure<T>(what: &str, mut work: impl FnMut() -> T) {
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(work());
    }
    println!("{what}: {:.1?} for {WINDOWS} windows", begun.elapsed() / ROUNDS);
}

fn main() -> Result<(), chrono::ParseError> {
    let windows = windows();
    for (what, now) in [("open", "2026-11-18T12:00:00Z"), ("frozen", "2026-11-21T12:00:00Z")] {
        let now: DateTime<Utc> = now.parse()?;
        let memo = Memo::default();
        measure(&format!("{what}, worked out"), || periods(black_box(&windows), now));
        let mut at = now;
        measure(&format!("{what}, from memory"), || {
            at += TimeDelta::milliseconds(1);
            memo.periods(black_box(&windows), at)
        });
    }
    Ok(())
}
