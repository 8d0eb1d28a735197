//! One thing in words: a line for each of its members that has something to say.

use std::io;

use chrono::DateTime;
use serde::Deserialize as _;
use serde_json::Value;

use super::{moment, view::Actor};
use crate::{
    cli::output::{plain, print},
    domain::people::shown,
};

/// Where whoever set something off is; their name, where it is known, is beside it.
const INITIATOR: &str = "/initiated_by";

/// Prints a heading and below it the members of `thing` that have a value, each at its JSON pointer and with a label.
pub fn print_card(heading: &str, thing: &Value, members: &[(&str, &str)]) -> io::Result<()> {
    print_lines(heading, &told(thing, members))
}

/// Prints a heading and below it each of these lines, with its label.
pub fn print_lines(heading: &str, labelled: &[(&str, String)]) -> io::Result<()> {
    print(plain(heading))?;
    lines(labelled).iter().try_for_each(|line| print(plain(line)))
}

fn told<'a>(thing: &Value, members: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    let said = |pointer: &str| {
        let words = words(thing.pointer(pointer)?)?;
        let name = thing.get("initiator_name").filter(|_| pointer == INITIATOR).and_then(Value::as_str);
        Some(shown(name.map(plain).as_deref(), &words))
    };
    members.iter().filter_map(|(label, pointer)| Some((*label, said(pointer)?))).collect()
}

fn lines(labelled: &[(&str, String)]) -> Vec<String> {
    let width = labelled.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    labelled.iter().map(|(label, words)| format!("  {label:width$}  {words}")).collect()
}

/// A value in one line; none where it says nothing.
fn words(value: &Value) -> Option<String> {
    let words = match value {
        Value::Null | Value::Bool(false) => return None,
        Value::Bool(true) => "yes".to_owned(),
        Value::String(text) => {
            let at = DateTime::parse_from_rfc3339(text);
            at.map_or_else(
                |_text| plain(text).into_owned(),
                |at| format!("{} UTC", moment::second(at.to_utc())),
            )
        }
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().filter_map(words).collect::<Vec<_>>().join(", "),
        // Somebody, with the token that they had: a card names them, and the token where that matters.
        Value::Object(members) if members.contains_key("subject") && members.contains_key("token") => {
            plain(&Actor::deserialize(value).ok()?.shown()).into_owned()
        }
        Value::Object(members) => {
            let told =
                members.iter().filter_map(|(name, value)| Some(format!("{}={}", plain(name), words(value)?)));
            told.collect::<Vec<_>>().join(", ")
        }
    };
    (!words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_are_shown_with_their_names() {
        let thing = json!({"actor": {"token": "session", "subject": "gitlab:42", "name": "Ada"},
            "initiated_by": "gitlab:43", "initiator_name": "Bob"});
        let members = [("by", "/actor"), ("for", "/initiated_by")];
        assert_eq!(lines(&told(&thing, &members)), ["  by   Ada (gitlab:42)", "  for  Bob (gitlab:43)"]);
        let plain = json!({"actor": {"token": "ci", "subject": "mira"}, "initiated_by": "ada"});
        assert_eq!(lines(&told(&plain, &members)), ["  by   mira", "  for  ada"]);
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let thing = json!({"name": "shop", "owner": null, "archived": false, "labels": {"tier": "1"}, "groups": [],
            "number": 3, "made": "2026-03-04T12:00:00.000000Z"});
        let members = [
            ("name", "/name"),
            ("owner", "/owner"),
            ("archived", "/archived"),
            ("labels", "/labels"),
            ("groups", "/groups"),
            ("no.", "/number"),
            ("made at", "/made"),
            ("gone", "/gone"),
        ];
        let expected =
            ["  name     shop", "  labels   tier=1", "  no.      3", "  made at  2026-03-04 12:00:00 UTC"];
        assert_eq!(lines(&told(&thing, &members)), expected);
    }
}
