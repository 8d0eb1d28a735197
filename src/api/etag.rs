//! Entity tags (RFC 9110 §8.8.3): the revision of what can be edited.

use crate::{api::problem::Problem, usecase::error::Error};

/// The tag of a revision.
pub fn of(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// The revision that `If-Match` asks for; none for an absent header and for `*`.
pub fn if_match(header: Option<&str>) -> Result<Option<i64>, Problem> {
    match header.map(str::trim) {
        None | Some("*") => Ok(None),
        Some(tag) => {
            let revision =
                tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
            // A tag that this server never gave matches nothing.
            revision.map(Some).ok_or_else(|| Problem::from(Error::edited()))
        }
    }
}
