//! The server's errors (RFC 9457) as the client reads and prints them.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::view::Decision;
use crate::cli::{output::plain, words::flag};

/// A problem document; whatever a proxy in between answered is brought into this shape as well.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The problem's type, a URL that ends in its slug.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: Option<String>,
    /// The request's id, to be found in the server's log.
    pub request_id: Option<String>,
    pub errors: Vec<FieldError>,
    /// What the gate said, if it was the gate.
    pub decision: Option<Decision>,
    /// Where people see why.
    pub web_url: Option<String>,
    /// The document as it came.
    #[serde(skip)]
    pub raw: Value,
}

/// One bad field of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FieldError {
    /// Where it is: a JSON pointer into the body, or a parameter's name.
    pub pointer: String,
    pub detail: String,
}

impl Problem {
    /// Reads a problem from the body of an answer with this status; `None` if the body is none.
    pub fn read(status: u16, body: &[u8]) -> Option<Self> {
        let raw: Value = serde_json::from_slice(body).ok()?;
        let mut problem = Self::deserialize(&raw).ok()?;
        if problem.title.is_empty() {
            return None;
        }
        problem.status = status;
        problem.raw = raw;
        Some(problem)
    }

    /// The last segment of the type, by which problems are told apart.
    pub fn slug(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", plain(&self.title))?;
        // Where the fields are named, it only says that they are.
        if let Some(detail) = self.detail.as_ref().filter(|_| self.errors.is_empty()) {
            write!(f, ": {}", plain(detail))?;
        }
        let mut said = Vec::new();
        for error in &self.errors {
            // What is wrong with all that was sent has no name.
            let name = flag(&error.pointer);
            let colon = if name.is_empty() { "" } else { ": " };
            let line = format!("\n  {}{colon}{}", plain(&name), plain(&error.detail));
            // One flag may stand for several members.
            if !said.contains(&line) {
                f.write_str(&line)?;
                said.push(line);
            }
        }
        if let Some(url) = &self.web_url {
            write!(f, "\n{}", plain(url))?;
        }
        // The id is of use only where the cause stands in the server's log.
        if let Some(id) = self.request_id.as_deref().filter(|_| self.status >= 500) {
            write!(f, " (request {})", plain(id))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_title_and_every_field() {
        let body = br#"{"type":"http://w/problems/invalid-input","title":"Invalid input","status":422,
            "detail":"two fields are wrong","request_id":"r1","extra":1,
            "errors":[{"pointer":"/name","code":"name","detail":"must be a label"},{"pointer":"/rank","code":"range","detail":"too high"},
                {"pointer":"","code":"format","detail":"is no report"}]}"#;
        let problem = Problem::read(422, body).unwrap_or_default();
        assert_eq!(problem.slug(), "invalid-input");
        assert_eq!(
            problem.to_string(),
            "Invalid input\n  name: must be a label\n  --rank: too high\n  is no report"
        );
    }

    #[test]
    fn leads_to_the_page_that_explains_it() {
        let body = br#"{"type":"x/conflict","title":"Conflict","detail":"It ended.","web_url":"https://w/deployments/7"}"#;
        let problem = Problem::read(409, body).unwrap_or_default();
        assert_eq!(problem.to_string(), "Conflict: It ended.\nhttps://w/deployments/7");
    }

    #[test]
    fn names_the_request_of_a_server_error_only() {
        let body = br#"{"type":"x/internal","title":"Internal error","request_id":"r1"}"#;
        let problem = Problem::read(500, body).unwrap_or_default();
        assert_eq!(problem.to_string(), "Internal error (request r1)");
    }

    #[test]
    fn what_is_no_problem_document_is_not_read() {
        assert!(Problem::read(502, b"<html>Bad Gateway</html>").is_none());
        assert!(Problem::read(404, b"{}").is_none());
    }
}
