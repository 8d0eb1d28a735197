//! The layers a configuration is made of, each as the leaves that it sets. A layer reports what it cannot read and
//! which of its keys do not exist; whether a value fits its key is seen when the tree is built.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use figment::{
    providers::{Format, Toml},
    value::{Dict, Value},
};

use super::{
    fault::{Fault, Origin},
    list,
    sources::{Flag, Sources},
};

/// The key of each leaf, with its value and who set it.
pub(super) type Leaves = BTreeMap<String, (Value, Origin)>;

const PREFIX: &str = "WAYBILL__";
const FILE_SUFFIX: &str = "_file";
/// Variables that many tools share, and the keys they set.
const SHARED_VARIABLES: [(&str, &str); 2] = [("DATABASE_URL", "database.url"), ("RUST_LOG", "log.filter")];

/// The layers laid over each other, and everything that was wrong with them.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    defaults: &'a Leaves,
    /// What is set.
    pub(super) leaves: Leaves,
    /// What could not be used.
    pub(super) faults: Vec<Fault>,
}

impl<'a> Layers<'a> {
    /// Reads every layer; the later ones win.
    pub(super) fn read(defaults: &'a Leaves, sources: &Sources) -> Self {
        let mut layers = Self { defaults, leaves: Leaves::new(), faults: Vec::new() };
        layers.read_file(sources);
        layers.read_shared_variables(&sources.env);
        layers.read_variables(&sources.env);
        for Flag { name, key, value } in &sources.flags {
            layers.set_text(key, value, Origin::Flag((*name).to_owned()));
        }
        layers.refuse_gaps();
        layers
    }

    fn read_file(&mut self, sources: &Sources) {
        let named = sources.file.clone().or_else(|| {
            let (_, path) = sources.env.iter().find(|(name, _)| name == "WAYBILL_CONFIG")?;
            (!path.is_empty()).then(|| PathBuf::from(path))
        });
        let path = named.as_ref().unwrap_or(&sources.default_file);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let problem = format!("cannot be read ({error}): name a file that can, or none");
                return self.fault(None, Origin::File(path.clone()), problem);
            }
        };
        match Toml::from_str::<Dict>(&text) {
            Ok(dict) => self.add_dict("", dict, path),
            Err(error) => {
                let start = error.span().map_or(0, |span| span.start);
                let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
                let problem = format!("line {line} is not TOML: {}", error.message());
                self.fault(None, Origin::File(path.clone()), problem);
            }
        }
    }

    fn add_dict(&mut self, prefix: &str, dict: Dict, path: &Path) {
        for (name, value) in dict {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            let origin = Origin::File(path.to_path_buf());
            if !self.is_section(&key) {
                self.set(&key, value, origin);
                continue;
            }
            let is_list = self.is_list(&key);
            if let (Value::Array(_, items), true) = (&value, is_list) {
                self.add_list(&key, items, path);
            } else if let (Value::Dict(_, inner), false) = (&value, is_list) {
                self.add_dict(&key, inner.clone(), path);
            } else {
                let problem = if is_list {
                    format!("is a list of sections: write each as [[{key}]]")
                } else {
                    format!("is a section, not a value: write it as [{key}]")
                };
                self.fault(Some(&key), origin, problem);
            }
        }
    }

    fn add_list(&mut self, key: &str, items: &[Value], path: &Path) {
        for (index, item) in items.iter().enumerate() {
            let key = format!("{key}.{index}");
            if let Value::Dict(_, inner) = item {
                self.add_dict(&key, inner.clone(), path);
            } else {
                let problem = "is a section, not a value: write the list's sections in double brackets";
                self.fault(Some(&key), Origin::File(path.to_path_buf()), problem.to_owned());
            }
        }
    }

    /// Sections of a list are numbered from 0 without gaps: with a gap, nobody knows which one was left out.
    fn refuse_gaps(&mut self) {
        let numbered = |key: &String| {
            let parts: Vec<&str> = key.split('.').collect();
            let place = parts.iter().position(|part| list::number(part).is_some())?;
            Some((parts.get(..place)?.join("."), list::number(parts.get(place)?)?))
        };
        let sections: BTreeSet<(String, usize)> = self.leaves.keys().filter_map(numbered).collect();
        for (list, number) in &sections {
            let Some(before) = number.checked_sub(1) else { continue };
            if sections.contains(&(list.clone(), before)) {
                continue;
            }
            let section = format!("{list}.{number}.");
            let first = self.leaves.iter().find(|(key, _)| key.starts_with(&section));
            let origin = first.map_or(Origin::Default, |(_, (_, origin))| origin.clone());
            self.leaves.retain(|key, _| !key.starts_with(&section));
            let problem = format!("there is no {list}.{before}: number the sections from 0, without gaps");
            self.fault(Some(section.trim_end_matches('.')), origin, problem);
        }
    }

    fn set(&mut self, key: &str, value: Value, origin: Origin) {
        if self.known(key).is_some() {
            self.leaves.insert(key.to_owned(), (value, origin));
        } else {
            self.unknown(key, origin);
        }
    }

    fn read_shared_variables(&mut self, env: &[(OsString, OsString)]) {
        for (variable, key) in SHARED_VARIABLES {
            let value = env.iter().find(|(name, value)| name == variable && !value.is_empty());
            if let Some((_, value)) = value {
                self.set_os_text(key, value, Origin::Env(variable.to_owned()));
            }
        }
    }

    fn read_variables(&mut self, env: &[(OsString, OsString)]) {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in env {
            let name = name.to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let origin = Origin::Env(name.clone());
            let written = rest.to_lowercase().replace("__", ".");
            let of_file = written.strip_suffix(FILE_SUFFIX).filter(|key| self.known(key).is_some());
            let key = of_file.unwrap_or(&written).to_owned();
            if let Some(other) = seen.insert(key.clone(), name.clone()) {
                let problem = format!("is set by {other} too: unset one of the two");
                self.fault(Some(&key), origin, problem);
            } else if of_file.is_some() {
                self.set_from_file(&key, Path::new(value), origin);
            } else {
                self.set_os_text(&key, value, origin);
            }
        }
    }

    fn set_from_file(&mut self, key: &str, path: &Path, origin: Origin) {
        match fs::read_to_string(path) {
            Ok(text) => self.set_text(key, text.trim_end_matches(['\r', '\n']), origin),
            Err(error) => {
                let problem = format!("{} cannot be read ({error}): name a file that can", path.display());
                self.fault(Some(key), origin, problem);
            }
        }
    }

    fn set_os_text(&mut self, key: &str, text: &OsString, origin: Origin) {
        match text.to_str() {
            Some(text) => self.set_text(key, text, origin),
            None => self.fault(Some(key), origin, "is not UTF-8: write it in UTF-8".to_owned()),
        }
    }

    /// The default of a key that there is.
    fn known(&self, key: &str) -> Option<&Value> {
        self.defaults.get(&list::pattern(key)).map(|(value, _)| value)
    }

    /// A text becomes what its key is by default, so that a token made of digits stays a text. Several words are separated by
    /// commas.
    fn set_text(&mut self, key: &str, text: &str, origin: Origin) {
        let value = match self.known(key) {
            Some(Value::Bool(..)) => text.parse::<bool>().ok().map(Value::from),
            Some(Value::Num(..)) => text.parse::<u64>().ok().map(Value::from),
            Some(Value::Array(..)) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Some(Value::from(words.map(ToOwned::to_owned).collect::<Vec<_>>()))
            }
            _ => None,
        };
        self.set(key, value.unwrap_or_else(|| Value::from(text)), origin);
    }

    fn unknown(&mut self, key: &str, origin: Origin) {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let prefix = format!("{}.", list::pattern(section));
        let siblings: Vec<&str> =
            self.defaults.keys().filter_map(|known| known.strip_prefix(&prefix)).collect();
        let problem = if siblings.is_empty() {
            let mut sections: Vec<&str> =
                self.defaults.keys().filter_map(|known| Some(known.split_once('.')?.0)).collect();
            sections.dedup();
            format!("is no key; the sections are {}", sections.join(", "))
        } else {
            format!("is no key; the keys of [{section}] are {}", siblings.join(", "))
        };
        self.fault(Some(key), origin, problem);
    }

    fn is_section(&self, key: &str) -> bool {
        let prefix = format!("{}.", list::pattern(key));
        self.defaults.keys().any(|known| known.starts_with(&prefix))
    }

    fn is_list(&self, key: &str) -> bool {
        let prefix = format!("{}.{}.", list::pattern(key), list::ANY);
        self.defaults.keys().any(|known| known.starts_with(&prefix))
    }

    pub(super) fn fault(&mut self, key: Option<&str>, origin: Origin, problem: String) {
        self.faults.push(Fault { key: key.map(str::to_owned), origin, problem });
    }
}
