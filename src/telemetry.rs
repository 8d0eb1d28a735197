//! The log: what is written to standard error, and how it looks. The only global state of the process; it is set up
//! once, before anything else runs.

use std::{
    io::{self, IsTerminal, Write},
    panic::{self, PanicHookInfo},
};

use thiserror::Error;
use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, FilterFn, ParseError},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    config::{LogConfig, LogFormat},
    visible::log_line,
};

/// The name of the span that carries a request's id.
pub const REQUEST: &str = "request";

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
    let terminal = io::stderr().is_terminal();
    log(config, terminal, io::stderr)?.try_init()?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log<W>(config: &LogConfig, terminal: bool, writer: W) -> Result<impl Subscriber + use<W>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Whichever lines are written, they name their request.
    let named = FilterFn::new(is_request).with_max_level_hint(LevelFilter::ERROR);
    let filter = named.or(EnvFilter::try_new(&config.filter)?);
    let lines = tracing_subscriber::fmt::layer();
    let lines = if is_json(config.format, terminal) {
        // All spans, since a library's own may lie within the request's.
        lines.with_writer(writer).json().flatten_event(true).with_current_span(false).boxed()
    } else {
        lines.with_writer(OneLine(writer)).with_ansi(terminal).boxed()
    };
    Ok(tracing_subscriber::registry().with(lines.with_filter(filter)))
}

fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.name() == REQUEST
}

/// Keeps each event on its line: values of others may hold the end of one, and the beginning of a forged one.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// Takes one event, as the subscriber writes each at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = log_line(text.strip_suffix('\n').unwrap_or(&text));
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `work` runs.
    fn logged(filter: &str, format: LogFormat, work: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let config = LogConfig { filter: filter.to_owned(), format };
        let log = log(&config, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(log, work);
        let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_error_names_its_request_whatever_the_filter() {
        for filter in
            ["info", "warn", "error", "off,waybill::telemetry=error", "error,waybill::middleware=off"]
        {
            for format in [LogFormat::Json, LogFormat::Pretty] {
                let text = logged(filter, format, || {
                    let _span =
                        tracing::error_span!(target: "waybill::middleware", "request", request_id = "r-17")
                            .entered();
                    let _inner = tracing::info_span!("inner").entered();
                    tracing::error!("request failed");
                });
                assert!(text.contains("r-17") && text.contains("request failed"), "{filter}: {text}");
            }
        }
    }

    #[test]
    fn the_filter_still_says_what_is_written() {
        let text = logged("warn", LogFormat::Pretty, || {
            let _span = tracing::error_span!("request", request_id = "r-17").entered();
            tracing::info!("served");
        });
        assert_eq!(text, "");
    }

    #[test]
    fn no_value_begins_a_line_of_its_own() {
        let forged = "a\n2026-01-01T00:00:00Z  INFO waybill: all is well\u{1b}[2J\u{202e}";
        let text = logged("info", LogFormat::Pretty, || {
            tracing::error!(error = %forged, given = forged, "failed: {forged}");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.ends_with('\n') && !text.contains(['\u{1b}', '\u{202e}']), "{text}");
        assert_eq!(text.matches("all is well").count(), 3, "{text}");
    }

    #[test]
    fn a_terminal_gets_text_and_a_pipe_gets_json_unless_told_otherwise() {
        assert!(!is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Auto, false));
        assert!(!is_json(LogFormat::Pretty, false));
        assert!(is_json(LogFormat::Json, true));
    }
}
