//! Entity tags (RFC 9110 §8.8.3): the revision of what can be edited, and what tells one answer from another.

use crate::domain::revision::Expected;

/// The tag of a revision.
pub fn of(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// The revisions that `If-Match` asks for (RFC 9110 §13.1.1): any for an absent header and for `*`, else those in the list.
/// A tag that this server never gave matches nothing, and neither does a weak one, because the comparison is strong; nor
/// does anything where it is no list of tags.
pub fn if_match(header: Option<&str>) -> Expected {
    let Some(header) = header.map(str::trim) else { return Expected::Any };
    if header == "*" {
        return Expected::Any;
    }
    let strong = tags(header).into_iter().filter_map(|(is_weak, tag)| (!is_weak).then_some(tag));
    let revision = |tag: &str| tag.parse().ok().filter(|revision| of(*revision) == format!("\"{tag}\""));
    Expected::OneOf(strong.filter_map(revision).collect())
}

/// The weak tag of an answer: the same as often as it says the same, though it may name another moment.
pub fn weak(tag: &str) -> String {
    format!("W/\"{tag}\"")
}

/// Whether `If-None-Match` names this tag (RFC 9110 §13.1.2): the comparison is weak.
pub fn none_match(header: Option<&str>, tag: &str) -> bool {
    let Some(header) = header.map(str::trim) else { return false };
    header == "*" || tags(header).iter().any(|(_, one)| *one == tag)
}

/// The tags of a list, each with whether it is weak; none where it is no list of tags.
fn tags(list: &str) -> Vec<(bool, &str)> {
    let mut rest = list.trim_start_matches([',', ' ', '\t']);
    let mut tags = Vec::new();
    while let Some((tag, behind)) = next_tag(rest) {
        tags.push(tag);
        rest = behind;
    }
    if rest.is_empty() { tags } else { Vec::new() }
}

/// The first tag of a list, with whether it is weak, and the rest of the list; none where the list is empty or is no list.
fn next_tag(list: &str) -> Option<((bool, &str), &str)> {
    let (is_weak, quoted) = match list.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, list),
    };
    let (tag, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    // Between tags there may be any number of commas (RFC 9110 §5.6.1.2), and a tag may hold some.
    let next = rest.trim_start_matches([',', ' ', '\t']);
    let separate = next.is_empty() || rest.trim_start_matches([' ', '\t']).starts_with(',');
    separate.then_some(((is_weak, tag), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_a_list_of_strong_tags() {
        for (header, expected) in [
            (None, None),
            (Some("*"), None),
            (Some(" * "), None),
            (Some("\"1\""), Some(vec![1])),
            (Some("\"1\", \"22\""), Some(vec![1, 22])),
            (Some("\"1\",,\t\"2\","), Some(vec![1, 2])),
            (Some("W/\"1\""), Some(vec![])),
            (Some("W/\"1\", \"2\""), Some(vec![2])),
            (Some("\"a,b\", \"2\""), Some(vec![2])),
            (Some("\"+1\", \"01\", \" 1\""), Some(vec![])),
            (Some("1"), Some(vec![])),
            (Some("\"1"), Some(vec![])),
            (Some("\"1\", *"), Some(vec![])),
            (Some("\"1\"garbage"), Some(vec![])),
            (Some("\"1\" \"2\""), Some(vec![])),
            (Some(""), Some(vec![])),
        ] {
            let expected = expected.map_or(Expected::Any, Expected::OneOf);
            assert_eq!(if_match(header), expected, "{header:?}");
        }
    }

    #[test]
    fn if_none_match_is_a_list_of_tags_of_either_strength() {
        for (header, expected) in [
            (None, false),
            (Some("*"), true),
            (Some("\"a\""), true),
            (Some("W/\"a\""), true),
            (Some("W/\"b\", W/\"a\""), true),
            (Some("W/\"b\""), false),
            (Some("a"), false),
            (Some("W/\"a\" garbage"), false),
        ] {
            assert_eq!(none_match(header, "a"), expected, "{header:?}");
        }
    }
}
