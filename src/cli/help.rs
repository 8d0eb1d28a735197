//! Help whose examples can be pasted, however narrow the terminal: clap would wrap them like any other text. So they are
//! taken out before it lays the help out, and put back afterwards, the prose between them wrapped and the commands not.

use std::{io::Write as _, mem, process::ExitCode};

use clap::Command;

use super::{exit::Exit, output, table::wrapped};

/// As wide as the rest of the help is at most.
const WIDTH_MAX: u16 = 100;

/// The texts that stand after the help of commands, taken out of it.
#[derive(Default)]
pub struct Apart(Vec<String>);

impl Apart {
    /// Takes the text out of a command and of those below it.
    pub fn take(&mut self, command: Command) -> Command {
        let command = command.mut_subcommands(|below| self.take(below));
        let Some(text) = command.get_after_help().map(ToString::to_string) else { return command };
        let place = place(self.0.len());
        self.0.push(text);
        command.after_help(place)
    }

    /// Prints the help that was asked for, or what is wrong with the command line.
    pub fn show(&self, error: &clap::Error) -> ExitCode {
        let shown = self.back(&error.render().ansi().to_string(), output::width());
        // Whoever closed the pipe has read all they wanted.
        if error.use_stderr() {
            write!(anstream::stderr().lock(), "{shown}").ok();
        } else {
            write!(anstream::stdout().lock(), "{shown}").ok();
        }
        if error.use_stderr() { Exit::USAGE.into() } else { Exit::DONE.into() }
    }

    fn back(&self, help: &str, width: Option<u16>) -> String {
        let room = usize::from(width.unwrap_or(WIDTH_MAX).min(WIDTH_MAX));
        // The last first, since the place of the first is the beginning of that of the tenth.
        let texts = self.0.iter().enumerate().rev();
        texts.fold(help.to_owned(), |help, (index, text)| help.replace(&place(index), &laid_out(text, room)))
    }
}

/// What stands for a text meanwhile; clap does not break a word.
fn place(index: usize) -> String {
    format!("waybill-help-{index}")
}

/// Lines that are moved in stay as they are, and what is between them is wrapped.
fn laid_out(text: &str, room: usize) -> String {
    let (mut lines, mut prose) = (Vec::new(), String::new());
    for line in text.lines() {
        if line.is_empty() || line.starts_with(' ') {
            lines.extend(wrapped(&mem::take(&mut prose), room));
            lines.push(line.to_owned());
        } else {
            prose.push_str(line);
            prose.push(' ');
            if line.ends_with([':', '.']) {
                lines.extend(wrapped(&mem::take(&mut prose), room));
            }
        }
    }
    lines.extend(wrapped(&prose, room));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;
    use crate::cli::Cli;

    /// The help of every command with a text of its own after it.
    fn helps(width: u16) -> Vec<(String, String)> {
        let mut apart = Apart::default();
        let command = apart.take(Cli::command()).term_width(width.into());
        let mut paths = vec![Vec::new()];
        let mut found = Vec::new();
        while let Some(path) = paths.pop() {
            let below = path.iter().fold(&command, |at, name: &String| at.find_subcommand(name).unwrap());
            paths.extend(
                below
                    .get_subcommands()
                    .filter(|one| !one.is_hide_set())
                    .map(|one| [&path[..], &[one.get_name().to_owned()]].concat()),
            );
            let line = [&["waybill".to_owned()], &path[..], &["--help".to_owned()]].concat();
            let error = command.clone().try_get_matches_from(&line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayHelp);
            let text = apart.back(&error.render().to_string(), Some(width));
            found.push((path.join(" "), text));
        }
        found
    }

    #[test]
    fn every_example_is_on_lines_of_its_own_at_any_width() {
        let (wide, narrow) = (helps(100), helps(30));
        assert!(wide.len() > 30);
        let examples = |help: &str| {
            let own = help.lines().filter(|line| !line.starts_with("     "));
            own.filter_map(|line| line.strip_prefix("  ")?.trim_start().strip_prefix("waybill "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let all: usize = wide.iter().map(|(_, help)| examples(help).len()).sum();
        assert!(all > 30, "{all}");
        for ((name, wide), (_, narrow)) in wide.iter().zip(&narrow) {
            assert_eq!(examples(wide), examples(narrow), "{name}");
            assert!(!wide.contains("waybill-help-"), "{wide}");
        }
    }

    #[test]
    fn prose_is_wrapped_and_commands_are_not() {
        let text = "Examples:\n  waybill status --as-of 2h --service shop\n\nIn a job the commit\nis known.";
        assert_eq!(
            laid_out(text, 12),
            "Examples:\n  waybill status --as-of 2h --service shop\n\nIn a job the\ncommit is\nknown."
        );
    }
}
