//! Just enough of Rust's syntax to see which names a source uses.

use std::collections::BTreeSet;

/// The source with comments, texts and characters blanked, so that only code is left.
pub(super) fn without_comments_and_texts(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let length = skipped(rest, code.chars().last());
        if length > 0 {
            code.push(' ');
            rest = &rest[length..];
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    code
}

/// The identifiers and keywords of the code.
pub(super) fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|next: char| !is_word(next)).filter(|word| !word.is_empty())
}

/// The top-level modules that the code names: in `crate::store::…` and in `crate::{…, store::…}`.
pub(super) fn crate_modules(code: &str) -> BTreeSet<String> {
    let code: String = code.chars().filter(|next| !next.is_whitespace()).collect();
    let mut modules = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            modules.extend(group_heads(group));
        } else {
            modules.extend(identifiers(rest).next().map(str::to_owned));
        }
    }
    modules
}

/// The first name of each path in a group, until its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = vec![String::new()];
    let mut depth = 0;
    let mut in_head = true;
    for next in group.chars() {
        match next {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(String::new());
                in_head = true;
            }
            next if depth == 0 && in_head && is_word(next) => heads.last_mut().unwrap().push(next),
            _ => in_head = false,
        }
    }
    heads
}

/// How many bytes at the start of `rest` are a comment, a text or a character.
fn skipped(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(is_word);
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest, '"')
    } else if rest.starts_with("r\"") || rest.starts_with("r#") {
        if in_word && before != Some('b') { 0 } else { raw_text(rest) }
    } else if rest.starts_with('\'') {
        character(rest)
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            next if next == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Nothing when it is a raw identifier (`r#type`).
fn raw_text(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|next| *next == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let start = hashes + 2;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
}

/// Nothing when it is a lifetime: that has no closing quote after one character.
fn character(rest: &str) -> usize {
    let mut inner = rest[1..].chars();
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => quoted(rest, '\''),
        (Some(one), Some('\'')) => 2 + one.len_utf8(),
        _ => 0,
    }
}

fn is_word(next: char) -> bool {
    next.is_alphanumeric() || next == '_'
}
