//! Entity tags (RFC 9110 §8.8.3): the revision of what can be edited.

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
    let mut rest = header.trim_start_matches([',', ' ', '\t']);
    let mut revisions = Vec::new();
    while let Some((tag, behind)) = next_tag(rest) {
        revisions.extend(tag.parse::<i64>().ok().filter(|revision| of(*revision) == format!("\"{tag}\"")));
        rest = behind;
    }
    Expected::OneOf(if rest.is_empty() { revisions } else { Vec::new() })
}

/// The first tag of a list, empty for a weak one, and the rest of the list; none where the list is empty or is no list.
fn next_tag(list: &str) -> Option<(&str, &str)> {
    let (weak, quoted) = match list.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, list),
    };
    let (tag, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    // Between tags there may be any number of commas (RFC 9110 §5.6.1.2), and a tag may hold some.
    let next = rest.trim_start_matches([',', ' ', '\t']);
    let separate = next.is_empty() || rest.trim_start_matches([' ', '\t']).starts_with(',');
    separate.then_some((if weak { "" } else { tag }, next))
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
}
