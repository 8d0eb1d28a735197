//! `waybill config check`: the configuration in effect with the origin of each value, or all that is wrong with it.

use std::process::ExitCode;

use super::say;
use crate::{
    cli::{output, table},
    config::{
        load::{Entry, describe, load},
        sources::Sources,
    },
};

const UNSET: &str = "-";

pub fn check(sources: &Sources) -> anyhow::Result<ExitCode> {
    match load(sources) {
        Ok(loaded) => say(&table(describe(&loaded))),
        Err(faults) => {
            output::say(faults);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn table(entries: Vec<Entry>) -> String {
    let row =
        |Entry { key, value, origin }| [key, value.unwrap_or_else(|| UNSET.to_owned()), origin.to_string()];
    let rows: Vec<_> = entries.into_iter().map(row).collect();
    table::table(&["KEY", "VALUE", "ORIGIN"], &rows, None)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn sources(env: &[(&str, &str)]) -> Sources {
        Sources {
            file: None,
            default_file: PathBuf::from("/nonexistent/waybill.toml"),
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            flags: Vec::new(),
        }
    }

    #[test]
    fn a_valid_configuration_is_a_table_of_its_values() {
        let loaded = load(&sources(&[("WAYBILL__LEDGER__LEASE", "2h")])).unwrap();
        let text = anstream::adapter::strip_str(&table(describe(&loaded))).to_string();
        let lines: Vec<&str> = text.lines().collect();
        let column = lines[0].find("ORIGIN").unwrap();
        let lease = lines.iter().find(|line| line.starts_with("ledger.lease ")).unwrap();
        assert_eq!(&lease[column..], "WAYBILL__LEDGER__LEASE");
        assert!(lines[1..].iter().all(|line| line[..column].ends_with("  ")), "{text}");
    }

    #[test]
    fn an_invalid_configuration_fails() {
        let code = check(&sources(&[("WAYBILL__LEDGER__LEASE", "0s"), ("WAYBILL__LEDGER__X", "1")]));
        assert_eq!(code.unwrap(), ExitCode::FAILURE);
    }
}
