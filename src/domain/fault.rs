//! What is wrong with an input, field by field: every fault of a request is collected before it is refused.

use serde::Serialize;

/// One bad field: where it is, what kind of fault it has, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer to the field (RFC 6901), `?name` for a query parameter.
    pub pointer: String,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people, naming the remedy.
    pub detail: String,
}

/// Why one value could not be parsed; the caller knows which field it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people, naming the remedy.
    pub detail: String,
}

impl Malformed {
    /// A fault of one value.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The same, with what else helps.
    #[must_use]
    pub fn advised(self, advice: &str) -> Self {
        Self { detail: format!("{}; {advice}", self.detail), ..self }
    }
}

/// Collects the faults of one request.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Takes the value of a field, or notes what is wrong with it.
    pub fn take<T>(&mut self, pointer: &str, parsed: Result<T, Malformed>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(Malformed { code, detail }) => {
                self.add(pointer, code, detail);
                None
            }
        }
    }

    /// As [`Faults::take`], for a field that may be absent.
    pub fn take_optional<T>(&mut self, pointer: &str, parsed: Option<Result<T, Malformed>>) -> Option<T> {
        parsed.and_then(|parsed| self.take(pointer, parsed))
    }

    /// Notes a fault that no single value shows.
    pub fn add(&mut self, pointer: &str, code: &'static str, detail: impl Into<String>) {
        self.0.push(Fault { pointer: pointer.to_owned(), code, detail: detail.into() });
    }

    /// Notes the faults of a nested value under its own pointer.
    pub fn nest(&mut self, pointer: &str, inner: Self) {
        self.0.extend(
            inner
                .0
                .into_iter()
                .map(|fault| Fault { pointer: format!("{pointer}{}", fault.pointer), ..fault }),
        );
    }

    /// The value, when every part of it could be taken and nothing else was wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// The faults, in the order they were found.
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}
