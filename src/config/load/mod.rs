//! Builds the configuration: defaults < `waybill.toml` < `DATABASE_URL` and `RUST_LOG` < `WAYBILL__SECTION__KEY` (each
//! also as `…_FILE`) < flags. A value that cannot be used makes way for its default until everything that is wrong
//! is known, so that one run shows all of it.

use std::collections::BTreeMap;

use figment::{
    Figment,
    error::Kind,
    providers::Serialized,
    value::{Dict, Value},
};

use super::{
    Config,
    database_url::Backend,
    fault::{Faults, Origin},
    issuer::IssuerConfig,
    layer::{Layers, Leaves},
    list,
    people::RoleConfig,
    sources::Sources,
    validate::validate,
};

/// Keys whose value must not be repeated in a message.
const SECRETS: [&str; 4] =
    ["auth.bootstrap_token", "auth.oidc.client_secret", "database.password", "database.url"];

/// A valid configuration, and who set what.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Whether anybody has set this key, though it be to its default.
    pub fn is_set(&self, key: &str) -> bool {
        self.origins.get(key).is_some_and(|origin| *origin != Origin::Default)
    }
}

/// One leaf of the configuration, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The dotted key.
    pub key: String,
    /// The value, secrets masked; none when it is not set.
    pub value: Option<String>,
    /// Who set it.
    pub origin: Origin,
}

/// Builds the configuration, or says everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let defaults = known_leaves();
    let mut layers = Layers::read(&defaults, sources);
    let file_is_lost = layers.faults.iter().any(|fault| fault.key.is_none());
    let config = build(&mut layers, &defaults);
    // Without its file a configuration would be judged by defaults that nobody wants.
    if !file_is_lost {
        for unusable in validate(&config) {
            let known = layers.faults.iter().any(|fault| fault.key.as_deref() == Some(&*unusable.key));
            if !known && !is_of_another_database(&unusable.key, &config, &layers.leaves) {
                let origin = origin(&layers.leaves, &unusable.key);
                layers.fault(Some(&unusable.key), origin, unusable.problem);
            }
        }
    }
    if !layers.faults.is_empty() {
        return Err(Faults(layers.faults));
    }
    let origins = layers.leaves.into_iter().map(|(key, (_, origin))| (key, origin)).collect();
    Ok(Loaded { config, origins })
}

/// Every leaf of the configuration in the order of its key, secrets masked.
pub fn describe(loaded: &Loaded) -> Vec<Entry> {
    leaves(&loaded.config)
        .into_iter()
        .map(|(key, (value, _))| {
            let origin = loaded.origins.get(&key).cloned().unwrap_or(Origin::Default);
            Entry { key, value: text(&value), origin }
        })
        .collect()
}

/// Builds the tree; each leaf that does not fit is reported and dropped, until the rest fits.
fn build(layers: &mut Layers<'_>, defaults: &Leaves) -> Config {
    loop {
        let figment =
            layers.leaves.iter().fold(
                Figment::from(Serialized::defaults(Config::default())),
                |figment, (key, (value, _))| figment.merge(Serialized::default(key, value)),
            );
        let error = match figment.extract() {
            Ok(config) => return config,
            Err(error) => error,
        };
        let key = error.path.join(".");
        let Some((_, origin)) = layers.leaves.remove(&key) else {
            layers.fault(Some(&key), Origin::Default, error.kind.to_string());
            return Config::default();
        };
        layers.fault(Some(&key), origin, problem(&key, &error.kind, defaults));
    }
}

fn problem(key: &str, kind: &Kind, defaults: &Leaves) -> String {
    let what = if let Kind::Message(message) = kind {
        message.clone()
    } else if SECRETS.contains(&key) {
        "must be a text in quotes".to_owned()
    } else {
        kind.to_string()
    };
    match example(key, defaults) {
        Some(example) => format!("{what}: write it like `{example}`"),
        None => what,
    }
}

/// The default is a good example of a value, where there is one.
fn example(key: &str, defaults: &Leaves) -> Option<String> {
    match key {
        "database.url" => Some("sqlite://waybill.db` or `postgres://user:password@host/waybill".to_owned()),
        "server.public_url" => Some("https://waybill.example.com".to_owned()),
        "metrics.listen" => Some("127.0.0.1:9090".to_owned()),
        key if key.starts_with("auth.issuer.") && key.rsplit('.').next() == Some("kind") => {
            Some("gitlab".to_owned())
        }
        key => defaults.get(key).and_then(|(value, _)| text(value)),
    }
}

/// Whether this is the password of a database instead of which a flag names a file, where it does no harm.
fn is_of_another_database(key: &str, config: &Config, leaves: &Leaves) -> bool {
    key == "database.password"
        && config.database.url.backend() == Backend::Sqlite
        && matches!(origin(leaves, "database.url"), Origin::Flag(_))
}

fn origin(leaves: &Leaves, key: &str) -> Origin {
    leaves.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
}

fn leaves(config: &Config) -> Leaves {
    let mut leaves = Leaves::new();
    // A tree of plain values always serializes; were it not so, every key would be unknown, which a test would see.
    let tree = Value::serialize(config).ok().and_then(Value::into_dict).unwrap_or_default();
    flatten("", tree, &mut leaves);
    leaves
}

/// Every leaf that there can be, with its default; those of lists as of any of their sections.
fn known_leaves() -> Leaves {
    let mut known = leaves(&Config::default());
    let issuer = Value::serialize(IssuerConfig::default());
    let role = Value::serialize(RoleConfig::default());
    for (key, section) in [("auth.issuer", issuer), ("auth.role", role)] {
        let section = section.ok().and_then(Value::into_dict).unwrap_or_default();
        flatten(&format!("{key}.{}", list::ANY), section, &mut known);
    }
    known
}

fn flatten(prefix: &str, dict: Dict, leaves: &mut Leaves) {
    for (name, value) in dict {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        if let Value::Dict(_, inner) = value {
            flatten(&key, inner, leaves);
        } else {
            leaves.insert(key, (value, Origin::Default));
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => number.to_u128_lossy().map(|number| number.to_string()),
        Value::Char(_, character) => Some(character.to_string()),
        Value::Array(_, items) if !items.is_empty() => {
            Some(items.iter().filter_map(text).collect::<Vec<_>>().join(", "))
        }
        Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
    }
}

#[cfg(test)]
mod tests;
