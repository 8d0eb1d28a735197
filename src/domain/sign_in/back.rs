//! Where a browser goes after it was asked to sign in: a path of this server, and nowhere else.

use std::fmt;

/// The longest path that is kept, in bytes.
const LONGEST: usize = 1024;

/// A path of this server, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back(String);

impl Back {
    /// Takes a path that browsers understand as one of this server (WHATWG URL §4.4): a second slash or a backslash would
    /// begin a host, and blanks and controls are taken away before it is read.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let is_path = bytes.next() == Some(b'/') && bytes.next() != Some(b'/');
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        (is_path && is_plain && text.len() <= LONGEST).then(|| Self(text.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Back {
    /// The page that says who somebody is.
    fn default() -> Self {
        Self("/account".to_owned())
    }
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_server_are_taken() {
        for path in
            ["/", "/account", "/login/device?code=AB-CD", "/a//b", "/a?to=https://evil.test", "/@evil.test"]
        {
            assert_eq!(Back::parse(path).unwrap().as_str(), path);
        }
        for path in [
            "",
            "account",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\\\evil.test",
            "https://evil.test",
            "javascript:alert(1)",
            "/\t/evil.test",
            "/ /evil.test",
            " //evil.test",
            "/\r\nLocation: https://evil.test",
            "/\u{0}",
            "/é",
        ] {
            assert_eq!(Back::parse(path), None, "{path:?}");
        }
        assert_eq!(Back::parse(&format!("/{}", "a".repeat(LONGEST))), None);
    }
}
