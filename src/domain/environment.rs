//! An environment: a place where services run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{actor::Actor, fault::Malformed, policy::InForce, text::Name, vocabulary::Tier};

/// A registered environment.
#[derive(Clone, Debug)]
pub struct Environment {
    pub id: Uuid,
    /// Its name; never changes and is never reused.
    pub name: Name,
    /// What may be edited.
    pub settings: EnvironmentSettings,
    /// Registered by a deployment, and edited by nobody since.
    pub unconfirmed: bool,
    /// The rules of its gate.
    pub policy: InForce,
    /// Its emergency stop, while it is on.
    pub lockdown: Option<Lockdown>,
    /// Stands for the freeze windows that concern it: another one whenever those may have changed.
    pub freezes: Option<Uuid>,
    /// Counts the edits; the entity tag.
    pub revision: i64,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Since when it is archived.
    pub archived_at: Option<DateTime<Utc>>,
}

impl Environment {
    /// One that is registered now; `unconfirmed` where nobody has looked at its settings.
    pub fn new(
        id: Uuid,
        name: Name,
        settings: EnvironmentSettings,
        unconfirmed: bool,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            name,
            settings,
            unconfirmed,
            policy: InForce::default(),
            lockdown: None,
            freezes: None,
            revision: 1,
            created_at: now,
            updated_at: now,
            archived_at: None,
        }
    }

    /// Whether somebody keeps it: they have registered, edited or confirmed it, given it a policy, or locked it down.
    pub fn is_kept(&self) -> bool {
        !self.unconfirmed || self.policy.version > 0 || self.lockdown.is_some()
    }

    /// Whether it is archived and comes back with the next deployment: those for reviews and tests come and go. Others stay
    /// archived until somebody revives them.
    pub fn comes_back(&self) -> bool {
        self.archived_at.is_some() && matches!(self.settings.tier, Tier::Development | Tier::Testing)
    }

    /// Whether it only looks like production: its name says so and nobody keeps it, while another environment of that
    /// tier is kept. Whoever may start there would go around the policy and the lockdown of the one that is meant.
    pub fn only_looks_like_production(&self, another_is_kept: bool) -> bool {
        self.settings.tier == Tier::Production && !self.is_kept() && another_is_kept
    }
}

/// An emergency stop: nothing but an override starts in the environment until it is lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lockdown {
    /// Why.
    pub reason: String,
    /// Who stopped it, or gave it this reason.
    pub actor: Actor,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// What people say about an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentSettings {
    /// What it is for.
    pub tier: Tier,
    /// Its place in the order of promotion, low to high; equal ranks are allowed.
    pub rank: i64,
    /// Where it can be seen.
    pub url: Option<String>,
}

impl EnvironmentSettings {
    /// The settings of a new environment: its tier is inferred from its name where none is given, and its rank from its
    /// tier.
    pub fn of(name: &Name, tier: Option<Tier>, rank: Option<i64>, url: Option<String>) -> Self {
        let tier = tier.unwrap_or_else(|| infer_tier(name.as_str()));
        Self { tier, rank: rank.unwrap_or_else(|| default_rank(tier)), url }
    }
}

/// The lowest rank.
pub const RANK_MIN: i64 = -1_000_000;
/// The highest rank.
pub const RANK_MAX: i64 = 1_000_000;

/// Takes a rank.
pub fn rank(given: i64) -> Result<i64, Malformed> {
    if (RANK_MIN..=RANK_MAX).contains(&given) {
        return Ok(given);
    }
    Err(Malformed::new("out-of-range", format!("must be from {RANK_MIN} to {RANK_MAX}")))
}

/// Infers the tier from the name, as GitLab does when a pipeline names none (`deployment_tier` in
/// docs.gitlab.com/ci/environments): the first matching pattern wins, whatever the letters' case.
fn infer_tier(name: &str) -> Tier {
    const PATTERNS: [(Tier, &[&str]); 4] = [
        (Tier::Development, &["dev", "review", "trunk"]),
        (Tier::Testing, &["test", "tst", "int", "ac", "acpt", "qa", "qc", "control", "quality"]),
        (Tier::Staging, &["stg", "stag", "model", "pre", "demo", "non"]),
        (Tier::Production, &["prd", "prod", "live"]),
    ];
    /// Short abbreviations count only as a word of their own: `int` in `integration` is meant, in `print` is not.
    fn matches(name: &str, pattern: &str) -> bool {
        if pattern.len() > 3 || matches!(pattern, "dev" | "prd") {
            return name.contains(pattern);
        }
        name.split('-').any(|word| word.starts_with(pattern) && (pattern.len() > 2 || word == pattern))
    }
    let name = name.to_ascii_lowercase();
    PATTERNS
        .iter()
        .find(|(_, patterns)| patterns.iter().any(|pattern| matches(&name, pattern)))
        .map_or(Tier::Other, |(tier, _)| *tier)
}

/// The rank an environment gets when none is given: its tier's place in the usual order of promotion.
fn default_rank(tier: Tier) -> i64 {
    match tier {
        Tier::Development => 100,
        Tier::Testing => 200,
        Tier::Staging => 300,
        Tier::Production => 400,
        Tier::Other => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_keeps_only_looks_like_production_beside_what_is_kept() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let made = |name: &str| {
            let name = Name::parse(name).unwrap();
            let settings = EnvironmentSettings::of(&name, None, None, None);
            Environment::new(Uuid::nil(), name, settings, true, at)
        };
        let lookalike = made("prod0");
        assert!(lookalike.only_looks_like_production(true) && !lookalike.only_looks_like_production(false));
        assert!(!made("staging-2").only_looks_like_production(true));
        let confirmed = Environment { unconfirmed: false, ..lookalike.clone() };
        let ruled = Environment { policy: InForce { version: 1, ..InForce::default() }, ..lookalike.clone() };
        let actor = Actor { token: "t".to_owned(), subject: "ada".to_owned() };
        let stopped = Environment {
            lockdown: Some(Lockdown { reason: "incident".to_owned(), actor, since: at }),
            ..lookalike
        };
        for kept in [confirmed, ruled, stopped] {
            assert!(kept.is_kept() && !kept.only_looks_like_production(true));
        }
    }

    #[test]
    fn what_is_for_reviews_and_tests_comes_back() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        for (name, tier_comes_back) in
            [("review-7", true), ("qa", true), ("staging", false), ("prod", false), ("home", false)]
        {
            let name = Name::parse(name).unwrap();
            let settings = EnvironmentSettings::of(&name, None, None, None);
            let used = Environment::new(Uuid::nil(), name, settings, false, at);
            let archived = Environment { archived_at: Some(at), ..used.clone() };
            assert_eq!((used.comes_back(), archived.comes_back()), (false, tier_comes_back), "{}", used.name);
        }
    }

    #[test]
    fn tiers_follow_the_names_that_teams_use() {
        for (name, tier) in [
            ("production", Tier::Production),
            ("prod-eu", Tier::Production),
            ("live", Tier::Production),
            ("staging", Tier::Staging),
            ("stg-1", Tier::Staging),
            ("pre-prod", Tier::Staging),
            ("preprod", Tier::Staging),
            ("non-prod", Tier::Staging),
            ("demo", Tier::Staging),
            ("qa", Tier::Testing),
            ("integration", Tier::Testing),
            ("uat-test", Tier::Testing),
            ("dev", Tier::Development),
            ("review-123", Tier::Development),
            ("dev-prod-like", Tier::Development),
            ("blueprint", Tier::Other),
            ("home", Tier::Other),
        ] {
            assert_eq!(infer_tier(name), tier, "{name}");
        }
    }
}
