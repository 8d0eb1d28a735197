//! The domain's words on the command line.

use std::borrow::Cow;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::domain::{fault::Malformed, vocabulary::Word};

/// Reads one of these words; the help, and what is said of any other, list them all.
pub fn one_of<W: Word>(words: &[W]) -> impl TypedValueParser<Value = W> + use<W> {
    let listed = words.iter().map(|word| {
        let (text, meaning) = word.explained();
        PossibleValue::new(text).help(meaning.trim().trim_end_matches('.'))
    });
    PossibleValuesParser::new(listed.collect::<Vec<_>>())
        .try_map(|text| text.parse().map_err(|malformed: Malformed| malformed.detail))
}

/// What the command line calls a field that an error names by a JSON pointer or as a query parameter: the flag that it came
/// from. What no flag is for, as in a file of the user's, keeps its pointer.
pub fn flag(pointer: &str) -> Cow<'_, str> {
    let field = pointer.strip_prefix("/release").unwrap_or(pointer);
    let name = field.strip_prefix("/query/").or_else(|| field.strip_prefix('/')).unwrap_or(field);
    // Of a flag that may be repeated, any of its values.
    let of_many = name
        .split_once('/')
        .filter(|(list, _)| ["platforms", "services", "environments", "tiers"].contains(list));
    let name = match of_many.map_or(name, |(list, _)| list) {
        "commit_sha" => "commit",
        "override/reason" => "override",
        "lease_seconds" => "lease",
        "starts_at" => "from",
        "ends_at" | "expires_at" => "until",
        "environments" => "environment",
        "services" => "service",
        "tiers" => "tier",
        "scopes" => "scope",
        "platforms" => "platform",
        "groups" => "group",
        // It is not a flag everywhere.
        name @ ("name" | "vulnerability") => return Cow::Owned(name.to_owned()),
        "path/id" => return Cow::Borrowed("the id"),
        name @ ("service" | "environment" | "version" | "image" | "ref" | "committed_at" | "initiated_by"
        | "pipeline_url" | "kind" | "strategy" | "remediates" | "reason" | "preempt" | "message"
        | "phase" | "traffic_percent" | "comment" | "start_cron" | "end_cron" | "timezone"
        | "tier" | "rank" | "subject" | "scanned_at" | "limit" | "since" | "until" | "status"
        | "as_of" | "deployer") => name,
        _ => return Cow::Borrowed(pointer),
    };
    Cow::Owned(format!("--{}", name.replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_the_name_of_its_flag() {
        for (pointer, name) in [
            ("/release/commit_sha", "--commit"),
            ("/pipeline_url", "--pipeline-url"),
            ("/query/as_of", "--as-of"),
            ("/override/reason", "--override"),
            ("/release/platforms/0/digest", "--platform"),
            ("/services/1", "--service"),
            ("/path/id", "the id"),
            ("/vulnerability", "vulnerability"),
            ("/approval/required", "/approval/required"),
            ("/changes/3/sha", "/changes/3/sha"),
            ("", ""),
        ] {
            assert_eq!(flag(pointer), name);
        }
    }
}
