//! `waybill config check`: the configuration in effect with the origin of each value, or all that is wrong with it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::config::{
    load::{Entry, describe, load},
    sources::Sources,
};

const UNSET: &str = "-";

/// Prints the configuration to `out`, or its faults to `err`.
pub fn check(sources: &Sources, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    match load(sources) {
        Ok(loaded) => {
            write_table(&describe(&loaded), out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            writeln!(err, "{faults}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn write_table(entries: &[Entry], out: &mut impl Write) -> io::Result<()> {
    let value = |entry: &Entry| entry.value.clone().unwrap_or_else(|| UNSET.to_owned());
    let key_width = entries.iter().map(|entry| entry.key.chars().count()).max().unwrap_or(0);
    let value_width = entries.iter().map(|entry| value(entry).chars().count()).max().unwrap_or(0);
    writeln!(out, "{:key_width$}  {:value_width$}  ORIGIN", "KEY", "VALUE")?;
    for entry in entries {
        writeln!(out, "{:key_width$}  {:value_width$}  {}", entry.key, value(entry), entry.origin)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn run(env: &[(&str, &str)]) -> (ExitCode, String, String) {
        let sources = Sources {
            file: None,
            default_file: PathBuf::from("/nonexistent/waybill.toml"),
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            flags: Vec::new(),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(&sources, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_valid_configuration_is_a_table_of_its_values() {
        let (code, out, err) = run(&[("WAYBILL__LEDGER__LEASE", "2h")]);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        let lines: Vec<&str> = out.lines().collect();
        let column = lines[0].find("ORIGIN").unwrap();
        let lease = lines.iter().find(|line| line.starts_with("ledger.lease ")).unwrap();
        assert_eq!(&lease[column..], "WAYBILL__LEDGER__LEASE");
        assert!(lines[1..].iter().all(|line| line[..column].ends_with("  ")), "{out}");
    }

    #[test]
    fn an_invalid_configuration_is_a_list_of_its_faults() {
        let (code, out, err) = run(&[("WAYBILL__LEDGER__LEASE", "0s"), ("WAYBILL__LEDGER__X", "1")]);
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""));
        assert_eq!(err.lines().count(), 3, "{err}");
    }
}
