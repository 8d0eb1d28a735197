//! Sentences of the gate as pages show them: what stands between backticks is to be typed.

use askama::Template;

/// A sentence.
#[derive(Template)]
#[template(
    source = r#"{% for (is_code, text) in parts %}{% if *is_code %}<code>{{ text }}</code>{% else %}{{ text }}{% endif %}{% endfor %}"#,
    ext = "html"
)]
pub struct Words {
    parts: Vec<(bool, String)>,
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        // Of a backtick without a partner nothing is made.
        let is_even = text.matches('`').count().is_multiple_of(2);
        if !is_even {
            return Self { parts: vec![(false, text)] };
        }
        let parts = text.split('`').enumerate().map(|(index, part)| (index % 2 == 1, part.to_owned()));
        Self { parts: parts.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_is_told_from_what_is_said() {
        let html = |text: &str| Words::from(text.to_owned()).to_string();
        assert_eq!(html("say `a <b>`, or not"), "say <code>a &#60;b&#62;</code>, or not");
        assert_eq!(html("one ` is none"), "one ` is none");
    }
}
