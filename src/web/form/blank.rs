//! A form to be filled in: what it asks for, where it goes, and what was wrong with what came.

use askama::Template;
use serde_json::{Value, json};

use super::{Form, field::Field, sent::Sent};

/// A button that sends a form.
#[derive(Clone, Debug)]
struct Button {
    label: String,
    /// What it says besides, where a form has several.
    says: Option<(String, String)>,
    look: &'static str,
}

/// Fields that belong together.
#[derive(Clone, Debug, Default)]
struct Group {
    legend: String,
    hint: String,
    fields: Vec<Field>,
}

/// A form to be filled in.
#[derive(Clone, Debug, Template)]
#[template(path = "form.html")]
pub struct Blank {
    id: String,
    action: String,
    csrf: String,
    hidden: Vec<(String, String)>,
    groups: Vec<Group>,
    buttons: Vec<Button>,
    /// What opens it, where it is not open from the beginning, and what it means to send it.
    folded: Option<(String, String)>,
    /// What was wrong with what was sent.
    said: Vec<String>,
}

impl Blank {
    /// A form that is sent to this path with what proves that a page of ours made it. `id` tells it from others of its page.
    pub fn new(id: &str, action: String, csrf: &str) -> Self {
        Self {
            id: id.to_owned(),
            action,
            csrf: csrf.to_owned(),
            hidden: Vec::new(),
            groups: Vec::new(),
            buttons: Vec::new(),
            folded: None,
            said: Vec::new(),
        }
    }

    /// With what the page knows and nobody fills in.
    #[must_use]
    pub fn hidden(mut self, name: &str, value: &impl ToString) -> Self {
        self.hidden.push((name.to_owned(), value.to_string()));
        self
    }

    /// The fields that follow belong together.
    #[must_use]
    pub fn group(mut self, legend: &str, hint: &str) -> Self {
        self.groups.push(Group { legend: legend.to_owned(), hint: hint.to_owned(), fields: Vec::new() });
        self
    }

    /// With this field.
    #[must_use]
    pub fn field(mut self, mut field: Field) -> Self {
        field.within(&self.id);
        if self.groups.is_empty() {
            self.groups.push(Group::default());
        }
        self.groups.iter_mut().rev().take(1).for_each(|group| group.fields.push(field.clone()));
        self
    }

    /// With a button that sends it.
    #[must_use]
    pub fn button(self, label: &str) -> Self {
        self.and_button(label, None, "")
    }

    /// With a button that is not the one that people mostly want.
    #[must_use]
    pub fn plain_button(self, label: &str) -> Self {
        self.and_button(label, None, "plain")
    }

    /// With a button whose effect hurts where it was not meant.
    #[must_use]
    pub fn bad_button(self, label: &str) -> Self {
        self.and_button(label, None, "danger")
    }

    /// With one of several buttons, which says what.
    #[must_use]
    pub fn saying(self, label: &str, (name, value): (&str, &str), look: &'static str) -> Self {
        self.and_button(label, Some((name.to_owned(), value.to_owned())), look)
    }

    fn and_button(mut self, label: &str, says: Option<(String, String)>, look: &'static str) -> Self {
        self.buttons.push(Button { label: label.to_owned(), says, look });
        self
    }

    /// Folded up at first: opening it and sending it are two steps, so that nobody does by accident what hurts.
    #[must_use]
    pub fn folded(self, opens: &str, means: &str) -> Self {
        Self { folded: Some((opens.to_owned(), means.to_owned())), ..self }
    }

    /// With what was sent and why it was refused, if it was this form.
    #[must_use]
    pub fn after(mut self, sent: Option<&Sent>) -> Self {
        let Some(sent) = sent else { return self };
        let is_stale = sent.is_stale();
        let mut said = vec![sent.problem.detail().to_owned()];
        self = self.refilled(&sent.form, is_stale);
        let mut fields: Vec<_> = self.groups.iter_mut().flat_map(|group| &mut group.fields).collect();
        for error in sent.problem.field_errors() {
            if !fields.iter_mut().any(|field| field.take_up(error)) {
                said.push(format!("{}: {}", error.pointer, error.detail));
            }
        }
        if is_stale {
            said.push(
                "What stands here now is how it is. Look at it, and send again what you still want."
                    .to_owned(),
            );
        }
        self.said = said;
        self
    }

    /// With what was sent, to be looked at once more.
    #[must_use]
    pub fn holding(self, sent: &Form) -> Self {
        self.refilled(sent, false)
    }

    fn refilled(mut self, sent: &Form, is_stale: bool) -> Self {
        for field in self.groups.iter_mut().flat_map(|group| &mut group.fields) {
            field.refill(sent, is_stale);
        }
        self
    }

    /// What an operation of the API takes as its body for what was sent.
    pub fn body(&self, sent: &Form) -> Value {
        let mut body = json!({});
        for field in self.groups.iter().flat_map(|group| &group.fields) {
            field.write(sent, &mut body);
        }
        body
    }
}
