//! The heads of the chain that servers have logged: found again in their logs, whatever else is in them.

use serde_json::Value;

use crate::domain::chain::Link;

/// What a server logs beside each head.
pub const MESSAGE: &str = "the head of the audit log's chain";

/// Reads a head as it is given on a command line, `SEQ:HASH`.
pub fn parse(text: &str) -> Option<Link> {
    let (seq, hash) = text.split_once(':')?;
    link(seq, hash)
}

fn link(seq: &str, hash: &str) -> Option<Link> {
    let whole = hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit());
    let seq = seq.parse().ok().filter(|seq| *seq >= 0)?;
    whole.then(|| Link { seq, hash: hash.to_ascii_lowercase() })
}

/// The head that a line of a log tells of: a line that a server wrote as JSON or as text, also with something before it,
/// such as the time and the name of a pod. `Err` when the line tells of a head that cannot be read.
pub fn in_line(line: &str) -> Result<Option<Link>, Unreadable> {
    if !line.contains(MESSAGE) {
        return Ok(None);
    }
    let json = line.find('{').and_then(|start| of_json(line.get(start..)?));
    json.or_else(|| of_text(line)).map(Some).ok_or(Unreadable)
}

/// A line that names the chain's head, but not so that it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it names the chain's head without a seq and a hash that can be read")]
pub struct Unreadable;

fn of_json(text: &str) -> Option<Link> {
    let value: Value = serde_json::Deserializer::from_str(text).into_iter().next()?.ok()?;
    let member = |name: &str| value.get(name).or_else(|| value.get("fields")?.get(name));
    let seq = member("seq")?;
    let seq = seq.as_str().map_or_else(|| seq.to_string(), ToOwned::to_owned);
    link(&seq, member("hash")?.as_str()?)
}

fn of_text(line: &str) -> Option<Link> {
    let plain = without_colours(line);
    let member = |name: &str| {
        let (_, rest) = plain.split_once(&format!(" {name}="))?;
        Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
    };
    link(&member("seq")?, &member("hash")?)
}

/// A line as a terminal shows it, without the sequences that set colours.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_in_every_form_of_the_log() {
        let hash = "0a".repeat(32);
        let head = Link { seq: 42, hash: hash.clone() };
        for line in [
            format!(
                r#"{{"timestamp":"t","level":"INFO","message":"{MESSAGE}","seq":42,"hash":"{hash}","target":"waybill::worker"}}"#
            ),
            format!(r#"waybill-7 {{"message":"{MESSAGE}","seq":42,"hash":"{hash}"}}"#),
            format!(r#"{{"fields":{{"message":"{MESSAGE}","seq":42,"hash":"{hash}"}}}}"#),
            format!(r#"2026-11-27T15:00:00Z  INFO waybill::worker: {MESSAGE} seq=42 hash="{hash}""#),
            format!(
                "\u{1b}[2m2026\u{1b}[0m {MESSAGE} \u{1b}[3mseq\u{1b}[0m\u{1b}[2m=\u{1b}[0m42 \u{1b}[3mhash\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"{hash}\""
            ),
        ] {
            assert_eq!(in_line(&line), Ok(Some(head.clone())), "{line}");
        }
        assert_eq!(in_line("something else seq=42"), Ok(None));
        for line in
            [format!("{MESSAGE} seq=42"), format!(r#"{{"message":"{MESSAGE}","seq":-1,"hash":"{hash}"}}"#)]
        {
            assert_eq!(in_line(&line), Err(Unreadable), "{line}");
        }
        assert_eq!(parse(&format!("42:{hash}")), Some(head));
        assert_eq!(parse("42:abc"), None);
    }
}
