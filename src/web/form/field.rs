//! A field of a form: how it looks, and what of the API's body it is. Both are said once.

use askama::Template;
use chrono::{DateTime, NaiveDateTime, Timelike as _, Utc};
use serde_json::Value;

use super::Form;
use crate::{http::problem::FieldError, web::moment::FIELD};

/// As [`FIELD`], to the second.
const MOMENT_TO_THE_SECOND: &str = "%Y-%m-%dT%H:%M:%S";

/// How a field looks, and what it becomes.
#[derive(Clone, Debug)]
enum Kind {
    /// One line of text.
    Line,
    /// Several lines of text.
    Area,
    /// A whole number.
    Number,
    /// A moment, in UTC.
    Moment,
    /// A list of names, with commas or blanks between them.
    Names,
    /// A list of texts, each on a line of its own.
    Lines,
    /// One of several words, each with what it means.
    Choice(Vec<(String, String)>),
    /// Some of several words.
    Boxes(Vec<(String, String)>),
    /// Yes or no.
    Tick,
}

/// A field of a form.
#[derive(Clone, Debug, Template)]
#[template(path = "field.html")]
pub struct Field {
    /// What tells it from all others of the page.
    id: String,
    name: String,
    label: String,
    hint: String,
    kind: Kind,
    values: Vec<String>,
    is_required: bool,
    /// Whether its value is what there is, and not just where to begin.
    tells: bool,
    /// Whether no value is said to be none, and not just not said.
    is_cleared: bool,
    fault: Option<String>,
    /// What it is meanwhile, where somebody else has changed it.
    meanwhile: Option<String>,
}

impl Field {
    fn new(kind: Kind, name: &str, label: &str) -> Self {
        Self {
            id: name.to_owned(),
            name: name.to_owned(),
            label: label.to_owned(),
            hint: String::new(),
            kind,
            values: Vec::new(),
            is_required: false,
            tells: false,
            is_cleared: false,
            fault: None,
            meanwhile: None,
        }
    }

    /// A line of text. `name` is the member of the API's body, with slashes before what lies deeper.
    pub fn line(name: &str, label: &str) -> Self {
        Self::new(Kind::Line, name, label)
    }

    /// Several lines of text.
    pub fn area(name: &str, label: &str) -> Self {
        Self::new(Kind::Area, name, label)
    }

    /// A whole number.
    pub fn number(name: &str, label: &str) -> Self {
        Self::new(Kind::Number, name, label)
    }

    /// A moment, in UTC.
    pub fn moment(name: &str, label: &str) -> Self {
        Self::new(Kind::Moment, name, label)
    }

    /// A list of names.
    pub fn names(name: &str, label: &str) -> Self {
        Self::new(Kind::Names, name, label)
    }

    /// A list of texts.
    pub fn lines(name: &str, label: &str) -> Self {
        Self::new(Kind::Lines, name, label)
    }

    /// One of several words, each with what it means.
    pub fn choice<'a>(name: &str, label: &str, words: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { is_required: true, ..Self::new(Kind::Choice(owned(words)), name, label) }
    }

    /// Some of several words.
    pub fn boxes<'a>(name: &str, label: &str, words: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(Kind::Boxes(owned(words)), name, label)
    }

    /// Yes or no.
    pub fn tick(name: &str, label: &str) -> Self {
        Self::new(Kind::Tick, name, label)
    }

    /// What helps to fill it in.
    #[must_use]
    pub fn hint(self, hint: &str) -> Self {
        Self { hint: hint.to_owned(), ..self }
    }

    /// It must be filled in.
    #[must_use]
    pub fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Where it is left empty, what was there is taken away.
    #[must_use]
    pub fn cleared(self) -> Self {
        Self { is_cleared: true, ..self }
    }

    /// What it holds at first.
    #[must_use]
    pub fn value(self, value: impl ToString) -> Self {
        self.value_if(Some(value))
    }

    /// What it holds at first, if anything.
    #[must_use]
    pub fn value_if(self, value: Option<impl ToString>) -> Self {
        Self { values: value.map(|value| value.to_string()).into_iter().collect(), tells: true, ..self }
    }

    /// What a list holds at first.
    #[must_use]
    pub fn values(self, values: impl IntoIterator<Item = impl ToString>) -> Self {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        let values = match self.kind {
            Kind::Names => vec![values.join(", ")],
            Kind::Lines => vec![values.join("\n")],
            Kind::Line
            | Kind::Area
            | Kind::Number
            | Kind::Moment
            | Kind::Choice(_)
            | Kind::Boxes(_)
            | Kind::Tick => values,
        };
        Self { values, tells: true, ..self }
    }

    /// The moment that it holds at first.
    #[must_use]
    pub fn at(self, at: Option<DateTime<Utc>>) -> Self {
        let form = |at: &DateTime<Utc>| if at.second() == 0 { FIELD } else { MOMENT_TO_THE_SECOND };
        self.value_if(at.map(|at| at.format(form(&at))))
    }

    /// Whether a yes is what it holds at first.
    #[must_use]
    pub fn ticked(self, is: bool) -> Self {
        self.value_if(is.then_some("yes"))
    }

    /// The same field of this form among others of the page.
    pub(super) fn within(&mut self, form: &str) {
        self.id = format!("{form}-{}", self.name.replace('/', "-"));
    }

    /// Holds what was sent instead; where that was refused because things have changed, with what it is now.
    pub(super) fn refill(&mut self, sent: &Form, is_stale: bool) {
        let values = sent.all(&self.name).to_vec();
        if is_stale && self.tells && self.words(&values) != self.words(&self.values) {
            self.meanwhile = Some(self.words(&self.values)).map(|words| match words.as_str() {
                "" => "nothing".to_owned(),
                _ => words,
            });
        }
        self.values = values;
    }

    fn words(&self, values: &[String]) -> String {
        let is_no = matches!(self.kind, Kind::Tick) && values.is_empty();
        if is_no { "no".to_owned() } else { values.join(", ") }
    }

    /// Takes up what is wrong with it, and tells whether that was anything.
    pub(super) fn take_up(&mut self, error: &FieldError) -> bool {
        let rest = error.pointer.strip_prefix('/').and_then(|pointer| pointer.strip_prefix(&*self.name));
        let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) else { return false };
        let place = rest.strip_prefix('/').and_then(|rest| rest.split('/').next()?.parse::<usize>().ok());
        let said = match place {
            Some(place) => format!("number {} {}", place + 1, error.detail),
            None => error.detail.clone(),
        };
        self.fault = Some(match self.fault.take() {
            Some(before) => format!("{before}; {said}"),
            None => said,
        });
        true
    }

    /// Puts what was sent where the API's body has it.
    pub(super) fn write(&self, sent: &Form, body: &mut Value) {
        let value = match self.read(sent) {
            None if !self.is_cleared => return,
            value => value.unwrap_or(Value::Null),
        };
        put(body, &self.name, value);
    }

    fn read(&self, sent: &Form) -> Option<Value> {
        let text = sent.get(&self.name);
        let list = |split: fn(char) -> bool| {
            let parts = text.split(split).map(str::trim).filter(|part| !part.is_empty());
            let parts: Vec<Value> = parts.map(Value::from).collect();
            (!parts.is_empty()).then_some(Value::Array(parts))
        };
        match &self.kind {
            Kind::Line | Kind::Area | Kind::Choice(_) => {
                (!text.trim().is_empty()).then(|| Value::from(text.trim()))
            }
            Kind::Number => (!text.trim().is_empty()).then(|| number(text.trim())),
            Kind::Moment => (!text.is_empty()).then(|| Value::from(moment(text))),
            Kind::Names => list(|c| c == ',' || c.is_whitespace()),
            Kind::Lines => list(|c| c == '\n'),
            Kind::Boxes(_) => {
                let all = sent.all(&self.name);
                (!all.is_empty()).then(|| Value::from(all))
            }
            Kind::Tick => Some(Value::from(text == "yes")),
        }
    }

    fn text(&self) -> &str {
        self.values.first().map(String::as_str).unwrap_or_default()
    }

    fn holds(&self, word: &str) -> bool {
        self.values.iter().any(|value| value == word)
    }

    /// Whether its words stand for themselves, so that they fit beside each other.
    fn is_short(&self) -> bool {
        matches!(&self.kind, Kind::Boxes(words) if words.iter().all(|(_, meaning)| meaning.is_empty()))
    }

    /// The ids of what describes it.
    fn described_by(&self) -> String {
        let parts = [("hint", !self.hint.is_empty()), ("fault", self.fault.is_some())];
        let ids = parts.iter().filter(|(_, there)| *there).map(|(part, _)| format!("{}-{part}", self.id));
        ids.collect::<Vec<_>>().join(" ")
    }
}

/// Puts a member into a body, with slashes in its name before what lies deeper.
pub fn put(body: &mut Value, name: &str, value: Value) {
    let mut place = body;
    for part in name.split('/') {
        place = &mut place[part];
    }
    *place = value;
}

fn owned<'a>(words: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    words.into_iter().map(|(word, meaning)| (word.to_owned(), meaning.to_owned())).collect()
}

/// What is no number is sent on as it is, and refused by whoever wants one.
fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_no_number| Value::from(text), Value::from)
}

/// A moment as the API writes it; a field has no zone, and means UTC.
fn moment(text: &str) -> String {
    let forms = [FIELD, MOMENT_TO_THE_SECOND];
    let read = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    read.map_or_else(|| text.to_owned(), |at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_the_member_of_the_body_that_it_is_named_after() {
        let sent = Form::parse(
            b"name=+a+&n=7&x=seven&at=2026-03-04T12%3A00&list=a%2C+b%0D%0Ac&lines=a+b%0D%0A%0D%0Ac&box=1&box=2&deep%2Fyes=yes&empty=",
        );
        let fields = [
            Field::line("name", ""),
            Field::number("n", ""),
            Field::number("x", ""),
            Field::moment("at", ""),
            Field::names("list", ""),
            Field::lines("lines", ""),
            Field::boxes("box", "", []),
            Field::tick("deep/yes", ""),
            Field::tick("deep/no", ""),
            Field::line("empty", ""),
            Field::line("cleared", "").cleared(),
        ];
        let mut body = json!({});
        for field in fields {
            field.write(&sent, &mut body);
        }
        let expected = json!({"name": "a", "n": 7, "x": "seven", "at": "2026-03-04T12:00:00Z", "list": ["a", "b", "c"],
            "lines": ["a b", "c"], "box": ["1", "2"], "deep": {"yes": true, "no": false}, "cleared": null});
        assert_eq!(body, expected);
    }

    #[test]
    fn a_fault_stands_beside_its_field() {
        let mut field = Field::names("services", "");
        let error = |pointer: &str| FieldError::new(pointer, "invalid", "must be a name");
        for other in ["/service", "/services2", "", "/a/services"] {
            assert!(!field.take_up(&error(other)), "{other}");
        }
        assert!(field.take_up(&error("/services")) && field.take_up(&error("/services/1")));
        assert_eq!(field.fault.as_deref(), Some("must be a name; number 2 must be a name"));
    }

    #[test]
    fn what_somebody_else_has_changed_meanwhile_is_told() {
        let sent = Form::parse(b"rank=7&url=&comment=why");
        let mut fields = [
            Field::number("rank", "").value(8),
            Field::line("url", "").value_if(None::<String>),
            Field::line("comment", ""),
        ];
        for field in &mut fields {
            field.refill(&sent, true);
        }
        assert_eq!(fields[0].text(), "7");
        assert_eq!(fields[0].meanwhile.as_deref(), Some("8"));
        assert_eq!(fields[1].meanwhile, None);
        assert_eq!(fields[2].meanwhile, None, "it never told what there is");
    }
}
