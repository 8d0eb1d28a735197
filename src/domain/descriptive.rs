//! What is only descriptive, and what becomes of it where it is odd: it is cut or dropped, and named, and never a reason to
//! refuse a deployment.
//!
//! Descriptive is what people read and nothing goes by: a ref, a pipeline's URL, titles, messages, phases, reasons, labels.
//! What decides something is refused where it is wrong, wherever it stands: names, ids, versions, commits, images, kinds, times,
//! leases, the reason of an override. So is `initiated_by`, by which the gate tells four eyes: cut short it would be somebody
//! else, and dropped it would be nobody.

use std::collections::BTreeSet;

use crate::domain::{
    deployment::{Plan, Progress},
    release::{CHANGES_MAX, ReleaseDescription},
    service::{Labels, is_label_name},
    text::{self, REF_MAX, SHORT_TEXT_MAX, TEXT_MAX},
};

/// What of a request is not kept as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// The members of its body, such as `release.ref`.
    pub fields: Vec<String>,
    /// How many of a release's changes are left out, the oldest.
    pub changes_left_out: usize,
}

impl Ignored {
    /// Adds what is ignored of a member of the body.
    pub fn nest(&mut self, member: &str, inner: &Self) {
        for field in &inner.fields {
            self.note(&format!("{member}.{field}"));
        }
        self.changes_left_out += inner.changes_left_out;
    }

    /// Names a field, once.
    pub fn note(&mut self, field: &str) {
        if !self.fields.iter().any(|noted| noted == field) {
            self.fields.push(field.to_owned());
        }
    }

    /// Cuts a text to what [`text::free`] takes.
    fn text(&mut self, field: &str, given: &mut Option<String>, max: usize) {
        let Some(text) = given else { return };
        let kept = cut(text, max);
        if kept != *text {
            self.note(field);
            *given = Some(kept).filter(|kept| !kept.is_empty());
        }
    }

    /// Drops what is no page of the web: a URL that is cut leads elsewhere.
    fn url(&mut self, field: &str, given: &mut Option<String>) {
        let kept = given.take_if(|url| text::web_url(url).is_ok());
        if given.as_ref().is_some_and(|given| !given.is_empty()) {
            self.note(field);
        }
        *given = kept;
    }

    fn labels(&mut self, field: &str, given: &mut Labels, max: usize) {
        let kept = given.iter().filter(|(name, _)| is_label_name(name)).take(max);
        let kept: Labels = kept.map(|(name, value)| (name.clone(), cut(value, SHORT_TEXT_MAX))).collect();
        if kept != *given {
            self.note(field);
            *given = kept;
        }
    }

    /// Takes what is told of a deployment.
    pub fn plan(&mut self, plan: &mut Plan) {
        self.text("reason", &mut plan.reason, TEXT_MAX);
        self.url("pipeline_url", &mut plan.pipeline_url);
    }

    /// Takes what a pipeline says while it deploys.
    pub fn progress(&mut self, progress: &mut Progress) {
        self.message(&mut progress.message);
        self.text("phase", &mut progress.phase, SHORT_TEXT_MAX);
    }

    /// Takes what a pipeline says last.
    pub fn message(&mut self, message: &mut Option<String>) {
        self.text("message", message, TEXT_MAX);
    }

    /// Takes what is told of a release, with at most `labels_max` labels.
    pub fn release(&mut self, told: &mut ReleaseDescription, labels_max: usize) {
        self.text("ref", &mut told.git_ref, REF_MAX);
        self.url("pipeline_url", &mut told.pipeline_url);
        self.labels("labels", &mut told.labels, labels_max);
        let all = told.changes.len();
        told.changes = newest(std::mem::take(&mut told.changes), |change| change.committed_at);
        self.changes_left_out = all - told.changes.len();
        if self.changes_left_out > 0 {
            self.note("changes");
        }
        for change in &mut told.changes {
            self.text("changes", &mut change.title, TEXT_MAX);
        }
    }
}

/// As many changes as are kept, the newest, in the order in which they came. Of the same moment it is those that are listed
/// first, as `git log` does.
pub fn newest<T, K: Ord>(changes: Vec<T>, made_at: impl Fn(&T) -> K) -> Vec<T> {
    let mut ages: Vec<_> = changes.iter().map(made_at).enumerate().collect();
    ages.sort_by(|(_, one), (_, other)| other.cmp(one));
    let kept: BTreeSet<_> = ages.iter().take(CHANGES_MAX).map(|(index, _)| *index).collect();
    changes
        .into_iter()
        .enumerate()
        .filter(|(index, _)| kept.contains(index))
        .map(|(_, change)| change)
        .collect()
}

/// A text without what [`text::free`] refuses. That it was cut shows at its end.
fn cut(text: &str, max: usize) -> String {
    let mut kept = text.chars().filter(|c| text::is_free(*c));
    let mut short: String = kept.by_ref().take(max).collect();
    if kept.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::release::Change;

    proptest! {
        #[test]
        fn what_is_kept_is_what_would_be_taken(given in "[a-zä\\n\\x00\u{9f}\u{202e}/:.]{0,12}", max in 1_usize..12) {
            let mut kept = Some(given.clone());
            let mut ignored = Ignored::default();
            ignored.text("field", &mut kept, max);
            let right = text::free(&given, max).is_ok();
            prop_assert_eq!(ignored.fields.is_empty(), right);
            prop_assert!(kept.as_deref().is_none_or(|kept| text::free(kept, max).is_ok()));
            prop_assert_eq!(kept.unwrap_or_default() == given, right);
        }
    }

    fn names(ignored: &Ignored) -> Vec<&str> {
        ignored.fields.iter().map(String::as_str).collect()
    }

    fn of_plan(plan: &mut Plan) -> Ignored {
        let mut ignored = Ignored::default();
        ignored.plan(plan);
        ignored
    }

    fn of_release(told: &mut ReleaseDescription, labels_max: usize) -> Ignored {
        let mut ignored = Ignored::default();
        ignored.release(told, labels_max);
        ignored
    }

    #[test]
    fn what_is_odd_is_cut_or_dropped_and_named() {
        let mut plan = Plan {
            reason: Some("because".repeat(300)),
            pipeline_url: Some("n/a".into()),
            initiated_by: Some("ada".into()),
            ..Plan::default()
        };
        let ignored = of_plan(&mut plan);
        assert_eq!(names(&ignored), ["reason", "pipeline_url"]);
        assert_eq!(plan.reason, Some(format!("{}beca…", "because".repeat(285))));
        assert_eq!(plan.pipeline_url, None);
        assert_eq!(of_plan(&mut plan), Ignored::default(), "what was kept is as it must be");
        let mut all = Ignored::default();
        all.nest("release", &ignored);
        assert_eq!(names(&all), ["release.reason", "release.pipeline_url"]);
        let mut empty = Plan { pipeline_url: Some(String::new()), ..Plan::default() };
        assert_eq!(of_plan(&mut empty), Ignored::default(), "nothing was said");
    }

    #[test]
    fn labels_that_are_right_stay() {
        let told = |labels: &[(&str, &str)]| ReleaseDescription {
            labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..ReleaseDescription::default()
        };
        let mut some = told(&[("a b", "1"), ("team", "x\0y"), ("zone", "eu")]);
        assert_eq!(names(&of_release(&mut some, 9)), ["labels"]);
        assert_eq!(some.labels, told(&[("team", "xy"), ("zone", "eu")]).labels);
        assert_eq!(names(&of_release(&mut some, 1)), ["labels"]);
        assert_eq!(some.labels, told(&[("team", "xy")]).labels);
        assert_eq!(of_release(&mut some, 1), Ignored::default());
    }

    #[test]
    fn the_newest_changes_are_kept_in_their_order() {
        let change = |number: usize| Change {
            sha: format!("{number:040x}"),
            // The oldest one is among them twice: of the same moment, the first one stays.
            committed_at: DateTime::from_timestamp(number.max(234).try_into().unwrap(), 0).unwrap(),
            title: None,
        };
        let all: Vec<_> = (0..1234).map(change).rev().collect();
        let mut told = ReleaseDescription { changes: all.clone(), ..ReleaseDescription::default() };
        let ignored = of_release(&mut told, 0);
        assert_eq!((names(&ignored), ignored.changes_left_out), (vec!["changes"], 234));
        assert_eq!(told.changes, all[..1000]);
        let mut told = ReleaseDescription {
            changes: all.iter().rev().cloned().collect(),
            ..ReleaseDescription::default()
        };
        of_release(&mut told, 0);
        assert_eq!((told.changes.len(), told.changes.last()), (1000, all.first()));
        assert_eq!(told.changes.first(), all.last(), "listed first");
    }
}
