//! `waybill policy`: the rules of an environment's gate, as TOML for people and as JSON for scripts.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{call::Call, error::Error, session::Session};
use crate::{
    cli::{
        exit::Exit,
        input,
        output::{plain, print},
        words::one_of,
    },
    domain::{policy::differences, vocabulary::Preset},
};

#[derive(Debug, clap::Subcommand)]
pub enum PolicyCommand {
    /// Print the policy that is in force, as TOML that `policy set --file` takes.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArgs),
    /// Set the policy as a whole, and print what that changed.
    ///
    /// What the file leaves out is as it is without any policy; a section that it has is enforced unless its mode says
    /// otherwise.
    #[command(after_help = SET_EXAMPLES)]
    Set(SetArgs),
}

const SHOW_EXAMPLES: &str = "\
Examples:
  waybill policy show prod > prod-policy.toml
  waybill policy show prod --preset production
  waybill policy show prod --output json";

const SET_EXAMPLES: &str = "\
Examples:
  waybill policy set prod --preset production
  waybill policy set prod --file prod-policy.toml
  waybill policy show prod --output json | jq .policy.outdated.mode='\"off\"' | waybill policy set prod --file -

A file holds the policy as TOML or as JSON:
  [promotion]
  from = [\"staging\"]
  soak_seconds = 3600

  [approval]
  required = 2
  groups = [\"release-managers\"]";

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The environment.
    environment: String,
    /// Show what this preset would be there instead.
    #[arg(long, value_parser = one_of(Preset::ALL))]
    preset: Option<Preset>,
}

#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// The environment.
    environment: String,
    #[command(flatten)]
    source: SourceArgs,
    /// Only if the policy in force has this version; 0 where none is set.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<i64>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// A file with the policy, as TOML or as JSON; `-` reads it from the input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A policy to begin with.
    #[arg(long, value_parser = one_of(Preset::ALL))]
    preset: Option<Preset>,
}

#[derive(Debug, Deserialize)]
struct EnvironmentPolicy {
    environment: String,
    version: i64,
    policy: Value,
}

pub(super) async fn run(session: &Session, command: PolicyCommand) -> Result<Exit, Error> {
    match command {
        PolicyCommand::Show(args) => show(session, &args).await,
        PolicyCommand::Set(args) => set(session, &args).await,
    }
}

async fn show(session: &Session, args: &ShowArgs) -> Result<Exit, Error> {
    let words = |EnvironmentPolicy { environment, version, policy }| {
        let environment = plain(&environment);
        print(match (args.preset, version) {
            (Some(preset), _) => format!("# what preset {preset} would be in {environment}"),
            (None, 0) => format!("# {environment} has no policy; these rules hold without one"),
            (None, version) => format!("# policy of {environment}, version {version}"),
        })?;
        print(to_toml(policy)?.trim_end()).map_err(Error::from)
    };
    session.tell(&get(&args.environment, args.preset), words).await
}

async fn set(session: &Session, args: &SetArgs) -> Result<Exit, Error> {
    let policy = async |preset| {
        let answer = session.client.send(&get(&args.environment, preset)).await?;
        Ok::<_, Error>(EnvironmentPolicy::deserialize(answer)?)
    };
    let wanted = match (&args.source.file, args.source.preset) {
        (Some(file), _) => read(file)?,
        (None, preset) => policy(preset).await?.policy,
    };
    let before = policy(None).await?;
    let call = Call::put(&["environments", &args.environment, "policy"], &wanted)?.if_match(args.if_version);
    let words = |EnvironmentPolicy { environment, version, policy }| {
        let environment = plain(&environment);
        if version == before.version {
            return print(format_args!("the policy of {environment} was so already, in version {version}"));
        }
        print(format_args!("the policy of {environment} is now version {version}"))?;
        let differing = differences(&before.policy, &policy);
        differing.iter().try_for_each(|pointer| print(difference(pointer, &before.policy, &policy)))
    };
    session.tell(&call, words).await
}

fn get(environment: &str, preset: Option<Preset>) -> Call {
    Call::get(&["environments", environment, "policy"]).query("preset", preset)
}

/// One setting that differs, named as TOML does: `promotion.soak_seconds: 0 → 3600`.
fn difference(pointer: &str, before: &Value, after: &Value) -> String {
    let text = |value: &Value| {
        value
            .pointer(pointer)
            .map_or_else(|| "not set".to_owned(), |value| plain(&value.to_string()).into_owned())
    };
    let name = pointer.trim_start_matches('/').replace('/', ".");
    format!("  {}: {} → {}", plain(&name), text(before), text(after))
}

fn read(path: &Path) -> Result<Value, Error> {
    let wrong = |why: &dyn fmt::Display| Error::Usage(format!("--file {}: {why}", path.display()));
    let text = input::open(path).and_then(io::read_to_string).map_err(|error| wrong(&error))?;
    parse(&text).map_err(|error| wrong(&error))
}

/// Reads a policy as JSON or as TOML; no TOML begins with a brace. What `policy show --output json` prints is taken too.
fn parse(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Err("is empty; `{}` stands for the policy that holds without any".to_owned());
    }
    let mut value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str::<Value>(text).map_err(|error| error.to_string())?
    };
    match value.get_mut("policy") {
        Some(policy) => Ok(policy.take()),
        None => Ok(value),
    }
}

fn to_toml(mut policy: Value) -> Result<String, Error> {
    drop_nulls(&mut policy);
    toml::to_string(&policy)
        .map_err(|error| Error::Failed(format!("the policy cannot be written as TOML: {error}")))
}

/// TOML has no null; a setting without a value is left out.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(drop_nulls);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_read_as_toml_and_as_json() {
        let expected = json!({"promotion": {"from": ["staging"], "soak_seconds": 3600}, "image": {}});
        let toml = "# comment\n[promotion]\nfrom = [\"staging\"]\nsoak_seconds = 3600\n[image]\n";
        assert_eq!(parse(toml), Ok(expected.clone()));
        assert_eq!(parse(&format!("\n {expected}")), Ok(expected.clone()));
        let shown = json!({"environment": "prod", "version": 3, "policy": expected});
        assert_eq!(parse(&shown.to_string()), Ok(expected));
        // What a pipe brings whose first half has failed.
        for bad in ["", "\n", "{", "a = ", "[a]\n[a]"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("{}"), Ok(json!({})));
    }

    #[test]
    fn what_is_shown_can_be_set_again() {
        let policy =
            json!({"vulnerabilities": {"max": {"critical": 0}, "mode": "report", "scanners": [], "x": null}});
        let text = to_toml(policy).unwrap_or_default();
        let again = json!({"vulnerabilities": {"max": {"critical": 0}, "mode": "report", "scanners": []}});
        assert_eq!(parse(&text), Ok(again), "{text}");
    }

    #[test]
    fn a_difference_names_the_setting_and_both_values() {
        let (before, after) = (json!({"a": {"b": 0}}), json!({"a": {"b": 3600, "c": ["x"]}}));
        let lines: Vec<_> =
            differences(&before, &after).iter().map(|pointer| difference(pointer, &before, &after)).collect();
        assert_eq!(lines, ["  a.b: 0 → 3600", "  a.c: not set → [\"x\"]"]);
    }
}
