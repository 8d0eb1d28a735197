//! Who takes part in the walk, each with what their tokens are for.

use std::collections::BTreeSet;

use waybill::domain::vocabulary::Scope::{
    self, Admin, Approve, Attest, Deploy, Hotfix, Override, Read, Record,
};

use crate::support::api::Api;

/// A token, and whose it is.
#[derive(Clone)]
pub struct Person {
    pub api: Api,
    pub subject: &'static str,
    pub groups: BTreeSet<String>,
    pub may_hotfix: bool,
}

/// Everybody.
pub struct People {
    /// Sets policies, freezes, lockdowns and environments.
    pub admin: Person,
    /// Deploys, and may override.
    pub manager: Person,
    /// Puts history on record that counts.
    pub importer: Person,
    pub scanner: Person,
    /// Tokens that deploy, without any right over the gate: the adversary's own, and those of honest pipelines.
    pub deployers: Vec<Person>,
    /// What the adversary holds beside: to approve, and to put on record.
    pub adversary: Vec<Person>,
    /// Several tokens of several subjects, the adversary's among them.
    pub approvers: Vec<Person>,
    /// Puts history on record that does not count.
    pub reporters: Vec<Person>,
}

/// The spellings that occur beside the plain one, and whose each is.
const SPELLINGS: [(&str, &str); 7] = [
    ("Ann", "ann"),
    ("ann\u{a0}", "ann"),
    ("BEN", "ben"),
    ("c\u{200d}yd", "cyd"),
    ("ＥＶＥ", "eve"),
    (" Eve", "eve"),
    ("Hank", "hank"),
];

/// "`Ada`, `ada ` and `ada` are one": whose name this is.
pub fn who(name: &str) -> &str {
    SPELLINGS.iter().find(|(spelling, _)| *spelling == name).map_or(name, |(_, person)| *person)
}

async fn person(api: &Api, subject: &'static str, scopes: &[Scope], groups: &[&str]) -> Person {
    Person {
        api: api.person(subject, scopes, groups).await,
        subject,
        groups: groups.iter().map(ToString::to_string).collect(),
        may_hotfix: scopes.contains(&Hotfix) || scopes.contains(&Admin),
    }
}

impl People {
    pub async fn new(api: &Api) -> Self {
        let eve = person(api, "eve", &[Read, Deploy], &[]).await;
        let eve_again = person(api, "eve", &[Read, Deploy], &["managers"]).await;
        let eve_approves = person(api, "ＥＶＥ", &[Read, Approve], &["managers", "security"]).await;
        let eve_reports = person(api, "eve", &[Read, Deploy, Record], &[]).await;
        let hank = person(api, "hank", &[Read, Deploy, Hotfix], &[]).await;
        let hank_approves = person(api, "Hank", &[Read, Approve], &["managers"]).await;
        Self {
            admin: person(api, "root", &[Admin], &[]).await,
            manager: person(api, "mona", &[Read, Deploy, Override], &[]).await,
            importer: person(api, "importer", &[Read, Record, Override], &[]).await,
            scanner: person(api, "scanner", &[Read, Attest], &[]).await,
            deployers: vec![eve.clone(), eve_again.clone(), hank.clone(), eve_reports.clone()],
            adversary: vec![eve, eve_again, eve_approves.clone(), eve_reports.clone(), hank],
            approvers: vec![
                person(api, "ann", &[Read, Approve], &["managers"]).await,
                person(api, "ann\u{a0}", &[Read, Approve], &["security"]).await,
                person(api, "ben", &[Read, Approve], &["managers", "security"]).await,
                person(api, "cyd", &[Read, Approve], &["security"]).await,
                person(api, "dan", &[Read, Approve], &[]).await,
                eve_approves,
                hank_approves,
            ],
            reporters: vec![eve_reports],
        }
    }
}
