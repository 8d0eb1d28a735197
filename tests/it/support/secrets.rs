//! Whether a secret is where none may be: in the log, in an error, in the metrics or in the database. Every test looks, when
//! what it holds of these ends; so that holds for whatever the tests do.

use std::{
    io::{self, Write},
    path::Path,
    sync::{LazyLock, Mutex, Once},
    thread,
};

use regex::bytes::Regex;

use super::process::TOKEN;

/// What secrets look like: those of tokens, of pipelines' credentials and of sessions; ID tokens; cookies; codes that somebody
/// is let in by; and the token that the servers of the tests begin with.
static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    let shapes = [
        r"wb_[0-9a-f]{32}_[A-Za-z0-9_-]{43}",
        r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        r"waybill(-flow)?=[A-Za-z0-9_.~%-]{20,}",
        r"[?&\s]code=[A-Za-z0-9_.~%-]{20,}",
        &regex::escape(TOKEN),
    ];
    Regex::new(&shapes.join("|")).unwrap()
});

/// What has leaked so far, in any test.
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The benchmark stands on the same support, and must not be slowed down.
const LOOKS: bool = cfg!(test);

/// Whether a secret is in it.
pub fn is_in(bytes: &[u8]) -> bool {
    SHAPES.is_match(bytes)
}

/// Notes what leaks here, for the next [`assert_none`]: a server may hold on to whatever panics in it.
pub fn look_at(place: &str, bytes: &[u8]) {
    if LOOKS && is_in(bytes) {
        LEAKS.lock().unwrap().push(format!("{place}: {}", String::from_utf8_lossy(bytes)));
    }
}

/// Looks at all that a SQLite database holds or held.
pub fn look_at_file(file: &Path) {
    for behind in ["", "-wal"].into_iter().filter(|_| LOOKS) {
        let bytes = std::fs::read(format!("{}{behind}", file.display())).unwrap_or_default();
        for leak in SHAPES.find_iter(&bytes) {
            let (from, to) = (leak.start().saturating_sub(200), (leak.end() + 100).min(bytes.len()));
            look_at("the database", &bytes[from..to]);
        }
    }
}

/// Fails the test where something has leaked, by this test or by another.
pub fn assert_none() {
    if thread::panicking() {
        return;
    }
    let leaks = std::mem::take(&mut *LEAKS.lock().unwrap());
    assert!(leaks.is_empty(), "secrets have leaked:\n{}", leaks.join("\n"));
}

/// Has the log of all servers in this process looked at, whoever begins.
pub fn watch_log() {
    static ONCE: Once = Once::new();
    if !LOOKS {
        return;
    }
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt().with_env_filter("info,waybill=trace").with_writer(|| Log);
        log.with_ansi(false).init();
    });
}

/// A log that keeps nothing.
struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        look_at("the log", line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
