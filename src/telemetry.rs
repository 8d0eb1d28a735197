//! The log: what is written to standard error, and how it looks. The only global state of the process; it is set up
//! once, before anything else runs.

use std::{
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
};

use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer, filter::ParseError, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{LogConfig, LogFormat};

/// Why the log could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter's directives cannot be read.
    #[error("log.filter is not a log filter")]
    Filter(#[from] ParseError),
    /// Something else has set up a log in this process.
    #[error("the log is already set up")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// An error with its causes, outermost first, in one line of the log.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Sends what the program says, and the panics of its threads, to standard error.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if is_json(config.format, io::stderr().is_terminal()) {
        lines.json().flatten_event(true).with_span_list(false).boxed()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init()?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    tracing::error!(location, "panic: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_and_a_pipe_gets_json_unless_told_otherwise() {
        assert!(!is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Auto, false));
        assert!(!is_json(LogFormat::Pretty, false));
        assert!(is_json(LogFormat::Json, true));
    }
}
