//! What differs between two verdicts on one release: between what was said then and what is said now.

use chrono::{DateTime, Utc};

use crate::domain::{
    gate::{Check, Verdict},
    vocabulary::{CheckOutcome, Mode, Rule},
};

/// What one rule came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    pub mode: Mode,
    pub outcome: CheckOutcome,
    /// The stable word of the reason.
    pub code: String,
    pub retry_at: Option<DateTime<Utc>>,
}

/// A rule that came to something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub rule: Rule,
    /// What it came to in the first verdict; none where that did not look at it.
    pub before: Option<Came>,
    /// What it came to in the second.
    pub after: Option<Came>,
}

/// The rules that came to something else in the second verdict, in their order.
pub fn differences(one: &Verdict, other: &Verdict) -> Vec<Difference> {
    let of = |verdict: &Verdict, rule: Rule| verdict.checks.iter().find(|check| check.rule == rule).map(came);
    let compared = Rule::ALL.iter().map(|rule| Difference {
        rule: *rule,
        before: of(one, *rule),
        after: of(other, *rule),
    });
    compared.filter(|found| found.before != found.after).collect()
}

fn came(check: &Check) -> Came {
    Came { mode: check.mode, outcome: check.outcome, code: check.code.clone(), retry_at: check.retry_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(checks: Vec<Check>) -> Verdict {
        Verdict { allowed: false, checks, retry_at: None }
    }

    #[test]
    fn only_what_came_to_something_else_differs() {
        let pass = Check::pass(Rule::Freeze, "nothing holds");
        let other_words = Check::pass(Rule::Freeze, "no window holds");
        let fail = Check::fail(Rule::Freeze, "freeze-window", "the end of the year");
        assert!(differences(&verdict(vec![pass.clone()]), &verdict(vec![other_words])).is_empty());
        let found = differences(&verdict(vec![pass.clone()]), &verdict(vec![fail]));
        let codes = |came: &Option<Came>| came.as_ref().map(|came| came.code.clone());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].rule, codes(&found[0].after)), (Rule::Freeze, Some("freeze-window".to_owned())));
        let gone = differences(&verdict(vec![pass]), &verdict(Vec::new()));
        assert_eq!(gone[0].after, None);
    }
}
