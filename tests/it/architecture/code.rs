//! Which names a source uses, as Rust's own lexer tells them.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

/// The names that a source uses, in code and in macros, but not in comments and texts.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Identifiers and keywords.
    pub(super) identifiers: BTreeSet<String>,
    /// The top-level modules of the crate: `store` in `crate::store::…` and in `crate::{…, store::…}`.
    pub(super) modules: BTreeSet<String>,
    /// Whether a path climbs more than one module up.
    pub(super) climbs: bool,
}

impl Names {
    pub(super) fn of(source: &str) -> Self {
        let mut names = Self::default();
        names.take(source.parse().unwrap());
        names
    }

    fn take(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    let behind = behind_path_separator(&tokens[at + 1..]);
                    match (name.as_str(), behind) {
                        ("crate", Some(TokenTree::Ident(module))) => {
                            self.modules.insert(module.to_string());
                        }
                        ("crate", Some(TokenTree::Group(group))) => {
                            self.modules.extend(heads(group.stream()));
                        }
                        ("super", Some(TokenTree::Ident(next))) => self.climbs |= next == "super",
                        _ => {}
                    }
                    self.identifiers.insert(name);
                }
                TokenTree::Group(group) => self.take(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

/// What follows `::`.
fn behind_path_separator(tokens: &[TokenTree]) -> Option<&TokenTree> {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    match tokens {
        [first, second, next, ..] if is_colon(first) && is_colon(second) => Some(next),
        _ => None,
    }
}

/// The first name of each path in a group.
fn heads(group: TokenStream) -> BTreeSet<String> {
    let tokens: Vec<TokenTree> = group.into_iter().collect();
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    tokens.split(is_comma).filter_map(|path| path.first()).map(ToString::to_string).collect()
}
