//! Text of others as people are shown it: nothing in it moves a cursor, turns a line around or hides.

use std::{borrow::Cow, fmt::Write as _};

/// The styles that this program itself uses: normal, bold, dim, italic, and six colours (ECMA-48 §8.3.117).
const STYLES: [&str; 10] = ["0", "1", "2", "3", "31", "32", "33", "34", "35", "36"];

/// Whether a character is not seen, or changes how others are: controls, and all formatting characters of Unicode but the
/// two joiners, without which some languages cannot be written.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text in one line, with everything hidden in it spelled out, like `\u{202e}`.
pub fn one_line(text: &str) -> Cow<'_, str> {
    replace(text, |c, out| {
        if matches!(c, '\n' | '\t') {
            out.push(' ');
        } else {
            out.extend(c.escape_unicode());
        }
    })
}

/// The same for a text of our own that may be styled and have lines, with texts of others in it.
pub fn styled(text: &str) -> Cow<'_, str> {
    spelled_out(text, "\n")
}

/// The same for a line of the log, which is one line whatever is in it.
pub fn log_line(text: &str) -> Cow<'_, str> {
    spelled_out(text, "\\n")
}

/// The text as a page has it, whose lines and tabs are its own.
pub fn lines(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    replace(text, |c, out| match c {
        '\n' | '\r' | '\t' => out.push(c),
        c => out.extend(c.escape_unicode()),
    })
}

/// JSON in which everything hidden is escaped: it means the same.
pub fn json(text: &str) -> Cow<'_, str> {
    replace(text, |c, out| {
        if c == '\n' {
            out.push(c);
            return;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a text does not fail.
            write!(out, "\\u{unit:04x}").ok();
        }
    })
}

fn spelled_out<'a>(text: &'a str, line_end: &str) -> Cow<'a, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(style) = leading_style(rest) {
            out.push_str(style);
            rest = rest.get(style.len()..).unwrap_or_default();
            continue;
        }
        match c {
            '\n' => out.push_str(line_end),
            '\t' => out.push(c),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// The sequence that sets one of our own styles, if the text begins with one.
fn leading_style(text: &str) -> Option<&str> {
    let (codes, _) = text.strip_prefix("\u{1b}[")?.split_once('m')?;
    let is_ours = codes.split(';').all(|code| STYLES.contains(&code));
    is_ours.then(|| text.get(..codes.len() + 3)).flatten()
}

fn replace(text: &str, spell: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { spell(c, &mut out) } else { out.push(c) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: [char; 14] = [
        '\u{0}',
        '\u{1b}',
        '\u{7f}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200e}',
        '\u{202a}',
        '\u{202e}',
        '\u{2066}',
        '\u{2069}',
        '\u{feff}',
        '\u{e0041}',
    ];

    #[test]
    fn what_is_hidden_is_spelled_out() {
        for c in HIDDEN {
            let (text, spelled) = (format!("a{c}b"), format!("a{}b", c.escape_unicode()));
            assert_eq!(one_line(&text), spelled);
            assert_eq!(styled(&text), spelled);
            assert_eq!(log_line(&text), spelled);
            assert_eq!(lines(&text), spelled);
        }
        assert_eq!(one_line("a\nb\tc"), "a b c");
        assert_eq!(lines("a\nb\tc"), "a\nb\tc");
        for text in ["naïve −3 ▶", "نمی‌خواهم", "👩‍🚀", "\u{fffd}"] {
            assert!(matches!(one_line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn our_own_styles_and_lines_stay() {
        assert_eq!(styled("\u{1b}[1m\u{1b}[31mno\u{1b}[0m\nyes"), "\u{1b}[1m\u{1b}[31mno\u{1b}[0m\nyes");
        for sequence in ["[2J", "[8m", "[31;8m", "]0;title\u{7}", "[m", "c"] {
            let text = styled(&format!("a\u{1b}{sequence}b")).into_owned();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
        assert_eq!(styled("a\rb"), "a\\u{d}b");
    }

    #[test]
    fn a_line_of_the_log_stays_one() {
        assert_eq!(
            log_line("\u{1b}[31mERROR\u{1b}[0m a\nINFO b\r"),
            "\u{1b}[31mERROR\u{1b}[0m a\\nINFO b\\u{d}"
        );
    }

    #[test]
    fn json_with_hidden_characters_means_the_same() {
        for c in HIDDEN {
            let value = serde_json::json!({ "a": format!("x{c}y"), "b": [1] });
            let text = format!("{value:#}");
            let safe = json(&text);
            assert!(!safe.contains(|c| is_hidden(c) && c != '\n'), "{safe}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).ok(), Some(value));
        }
    }
}
