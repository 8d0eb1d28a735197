//! How commands write: results on stdout, everything said along the way on stderr. Colours reach terminals only, and
//! nothing that came from elsewhere carries control characters or turned text to one: every line passes through here.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use super::table::table;
pub use crate::domain::span::{age, duration};
use crate::visible;

/// The style of what went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// The style of what stands in the way.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// The style of what deserves a look.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// The style of what is said by the way.
pub const DIM: Style = Style::new().dimmed();
/// The style of the header of a table.
pub const HEADER: Style = Style::new().bold();

/// In which form results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences for people.
    #[default]
    Table,
    /// The server's JSON for scripts.
    Json,
}

/// Writes a line to stdout.
pub fn print(line: impl Display) -> io::Result<()> {
    writeln!(anstream::stdout().lock(), "{}", visible::styled(&line.to_string()))
}

/// Writes the server's JSON to stdout.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    writeln!(anstream::stdout().lock(), "{}", visible::json(&text))
}

/// Writes the server's JSON to stdout, all of it in one line.
pub fn print_line(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    writeln!(anstream::stdout().lock(), "{}", visible::json(&text))
}

/// Writes a table to stdout that fits the terminal, each cell a line of text; says so where it has no rows.
pub fn list<const N: usize>(none: impl Display, header: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    if rows.is_empty() {
        say(none);
        return Ok(());
    }
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| plain(cell).into_owned())).collect();
    print(table(&header, &rows, width()))
}

/// Says something by the way, on stderr; nothing depends on whether anybody can read it.
pub fn say(line: impl Display) {
    writeln!(anstream::stderr().lock(), "{}", visible::styled(&line.to_string())).ok();
}

/// Asks something on stderr; the answer is to be on the same line.
fn ask(question: impl Display) -> io::Result<()> {
    let mut stderr = anstream::stderr().lock();
    write!(stderr, "{} ", visible::styled(&question.to_string()))?;
    stderr.flush()
}

/// Asks, if there is anybody to ask: without a terminal, and where all was agreed to before, the answer is yes.
pub fn confirmed(agreed: bool, question: impl Display) -> io::Result<bool> {
    if agreed || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    ask(question)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Says something that must not be overlooked.
pub fn warn(line: impl Display) {
    say(format_args!("{WARN}warning:{WARN:#} {line}"));
}

/// Says what went wrong.
pub fn error(line: impl Display) {
    say(format_args!("{BAD}error:{BAD:#} {line}"));
}

/// The text in one line, without anything that a terminal would obey instead of showing it.
pub fn plain(text: &str) -> Cow<'_, str> {
    visible::one_line(text)
}

/// The width of the terminal on stdout; `None` when the output goes elsewhere and may be as wide as it likes.
pub fn width() -> Option<u16> {
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col).filter(|columns| *columns > 0)
}
