//! Text of others in pages: it is text whatever is in it, and what turns a line around, moves or hides is spelled out, as the command
//! line does it. `askama.toml` has it done to everything that a template shows.

use std::fmt::{self, Write};

use askama::filters::{Escaper, Html};

use crate::visible;

/// Escapes what people read. A field's value and an address are to stay as they are: `|e("exact")`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown;

impl Escaper for Shown {
    fn write_escaped_str<W: Write>(&self, dest: W, text: &str) -> fmt::Result {
        Html.write_escaped_str(dest, &visible::lines(text))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use askama::Template;

    #[derive(Template)]
    #[template(source = r#"{{ text }}|{{ text|e("exact") }}|{{ text|safe }}|{{ number }}"#, ext = "html")]
    struct Page<'a> {
        text: &'a str,
        number: u32,
    }

    #[test]
    fn what_is_shown_is_text_and_hides_nothing() {
        let page = |text| Page { text, number: 7 }.to_string();
        assert_eq!(page("<b>"), "&#60;b&#62;|&#60;b&#62;|<b>|7");
        assert_eq!(page("a\u{202e}b\nc"), "a\\u{202e}b\nc|a\u{202e}b\nc|a\u{202e}b\nc|7");
        assert_eq!(page("é👩‍💻\u{301}"), "é👩‍💻\u{301}|é👩‍💻\u{301}|é👩‍💻\u{301}|7");
    }

    #[test]
    fn what_a_form_sends_back_is_what_was_put_into_it() {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/templates");
        for file in fs::read_dir(templates).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            for begin in [" value=\"{{ ", "\n{{ self.text()", " href=\"{{ url"] {
                for rest in text.split(begin).skip(1) {
                    let (expression, _) = rest.split_once("}}").unwrap();
                    assert!(expression.contains("|e(\"exact\")"), "{}: {begin}{expression}", path.display());
                }
            }
        }
    }
}
