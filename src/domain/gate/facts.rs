//! What the gate's rules look at, kept with the decision so that it can be evaluated again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    environment::Lockdown,
    person::Person,
    vocabulary::{Kind, PackageClass, Severity, Voice},
};

/// Everything the rules look at. What a rule that is off would look at is not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What the deployment is for.
    pub kind: Kind,
    /// Whether the token's hotfixes count as such.
    pub hotfix: bool,
    /// Whether it is a rollback to a verified choice.
    pub verified: bool,
    /// Whether it is a rollback that takes the place of what is running.
    pub preempt: bool,
    pub release: ReleaseFact,
    /// The release that is current in the target.
    pub current: Option<CurrentFact>,
    /// The deployment that is under way in the target.
    pub running: Option<RunningFact>,
    /// The environment's lockdown.
    pub lockdown: Option<Lockdown>,
    /// The stretches of time in which freeze windows keep the environment shut: those that hold now, and those that
    /// begin before these have ended. Empty when none holds now.
    pub freezes: Vec<Period>,
    /// The environments that the policy promotes from.
    pub sources: Vec<Source>,
    /// What people say about the release going to this environment; nothing that was withdrawn.
    pub approvals: Vec<ApprovalFact>,
    /// Those who initiated or recorded the release, added its image or initiated the deployment. In decisions of before
    /// the deployer was told apart, the deployer too.
    pub insiders: BTreeSet<String>,
    /// The subject that deploys it; none where it is judged for nobody in particular.
    #[serde(default)]
    pub deployer: Option<String>,
    /// Whether somebody is known to have initiated the release or the deployment.
    #[serde(default)]
    pub initiator: Initiator,
    /// When the release, or its artefact, was last reverted in this environment.
    pub reverted_at: Option<DateTime<Utc>>,
    /// What counts of the scans of the artefact: of each scanner the latest of each platform and class of packages.
    pub scans: Vec<ScanFact>,
    /// The waivers that take something out of the budget of these scans; none in decisions of before there were any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub waivers: BTreeMap<Uuid, WaiverFact>,
    /// The newest release of the service that is within the vulnerability budget; looked for when this one is not.
    pub within_budget: Option<String>,
}

impl Facts {
    /// Whose name this is, as names were compared when this was decided.
    pub fn person(&self, name: &str) -> Person {
        match self.initiator {
            Initiator::Untold => Person::verbatim(name),
            Initiator::Unknown | Initiator::Known => Person::of(name),
        }
    }
}

/// Whether somebody is known to have initiated a release or its deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initiator {
    /// A decision of before this was looked at; names were compared as they stood then.
    #[default]
    Untold,
    /// Nobody is.
    Unknown,
    /// Somebody is.
    Known,
}

impl Initiator {
    /// Known where one of the names says something.
    pub fn among<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let known = names.into_iter().any(|name| !Person::of(name).is_nobody());
        if known { Self::Known } else { Self::Unknown }
    }
}

/// What the rules know of the release that goes there, or of the one that is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFact {
    pub version: String,
    /// Its place in the order of the service's releases; in decisions without a moment, in that of registration.
    pub number: i64,
    /// Its moment in that order.
    #[serde(default)]
    pub ordered_at: Option<DateTime<Utc>>,
    /// The image it was built into.
    pub image: Option<String>,
    /// The platforms that it declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
}

/// What the rules know of the current release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentFact {
    pub version: String,
    /// Its place in the order of the service's releases; in decisions without a moment, in that of registration.
    pub number: i64,
    /// Its moment in that order.
    #[serde(default)]
    pub ordered_at: Option<DateTime<Utc>>,
}

/// What the rules know of a deployment under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningFact {
    pub deployment_id: Uuid,
    /// The version it puts there, or takes away.
    pub version: String,
    /// Whether it takes it away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removal: bool,
    /// Who started it.
    pub actor: Actor,
    /// When it started.
    pub since: DateTime<Utc>,
    /// When its lease runs out.
    pub lease_expires_at: DateTime<Utc>,
}

/// A stretch of time in which a freeze window keeps an environment shut, start inclusive, end exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    pub window_id: Uuid,
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends; none when that lies too far ahead to be told.
    pub ends_at: Option<DateTime<Utc>>,
}

/// What the rules know of an environment that the policy promotes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub environment: String,
    /// Whether it can be promoted from.
    pub standing: SourceStanding,
    /// The longest stay of the artefact there that is over and counts.
    pub longest: Option<Stay>,
    /// The stay of the artefact there that goes on and counts, since this time.
    pub current_since: Option<DateTime<Utc>>,
    /// When the release, or its artefact, was last reverted there.
    pub reverted_at: Option<DateTime<Utc>>,
}

/// Whether an environment can be promoted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceStanding {
    /// It can.
    Confirmed,
    /// Registered by a deployment, and edited by nobody since.
    Unconfirmed,
    /// It is archived.
    Archived,
    /// There is none of that name.
    Unknown,
}

/// A stay that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// When the artefact became current, through the gate.
    pub since: DateTime<Utc>,
    /// When another took its place.
    pub until: DateTime<Utc>,
}

/// What somebody says about the release going to this environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFact {
    /// The approval or rejection.
    pub id: Uuid,
    /// What they say.
    pub decision: Voice,
    /// Who.
    pub subject: String,
    /// The groups they spoke for.
    pub groups: BTreeSet<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// Why, of a rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it was said for the image that the release has; not so when that was added later. Decisions of before
    /// this was told are of a time when no image was.
    #[serde(default = "for_image")]
    pub for_image: bool,
}

fn for_image() -> bool {
    true
}

/// So many characters of a rejection's comment are told with the reason; all of it stands with the approvals.
const COMMENT_MAX: usize = 500;

/// What is told of a comment with the reason: why somebody rejects. Nobody is kept from anything by an approval's.
pub fn told(decision: Voice, comment: Option<&str>) -> Option<String> {
    comment.filter(|_| decision == Voice::Rejected).map(cut)
}

/// As much of what people say as is told with a decision.
pub fn cut(text: &str) -> String {
    let cut = text.char_indices().nth(COMMENT_MAX).and_then(|(end, _)| text.get(..end));
    cut.map_or_else(|| text.to_owned(), |cut| format!("{cut}…"))
}

/// What the rules know of a part of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanFact {
    /// The scan.
    pub id: Uuid,
    /// Who made it.
    pub scanner: String,
    /// The platform of the image that it is of; none where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The packages that it is of.
    #[serde(default = "any_class", skip_serializing_if = "is_any")]
    pub class: PackageClass,
    /// When.
    pub scanned_at: DateTime<Utc>,
    /// What it found.
    pub counts: Counts,
    /// What of it has a fix; none where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixable: Option<Counts>,
    /// Whether its report was a plain one, which speaks for every platform.
    #[serde(default, skip_serializing_if = "is_false")]
    pub plain: bool,
    /// What waivers take out of the budget of it; nothing in decisions of before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waived: Vec<Waived>,
}

/// A vulnerability in a part of a scan that a waiver takes out of the budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waived {
    /// The waiver.
    pub waiver: Uuid,
    /// When the waiver ends.
    pub expires_at: DateTime<Utc>,
    /// The vulnerability, by the id under which the scan found it.
    pub finding: String,
    /// How bad the scan says it is.
    pub severity: Severity,
    /// How often it was found at that severity.
    pub found: u32,
    /// How often of these with a fix.
    pub fixable: u32,
}

/// What a waiver says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiverFact {
    /// The vulnerability, by the id that the waiver names.
    pub vulnerability: String,
    /// Why it need not stand in the way.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn any_class() -> PackageClass {
    PackageClass::Any
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_any(class: &PackageClass) -> bool {
    *class == PackageClass::Any
}

/// How many vulnerabilities of each severity a scan found, each counted once for each version of a package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Critical ones.
    pub critical: u32,
    /// High ones.
    pub high: u32,
    /// Medium ones.
    pub medium: u32,
    /// Low ones.
    pub low: u32,
    /// Those without a rating.
    pub unknown: u32,
}

impl Counts {
    /// As many as both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            critical: self.critical.saturating_add(other.critical),
            high: self.high.saturating_add(other.high),
            medium: self.medium.saturating_add(other.medium),
            low: self.low.saturating_add(other.low),
            unknown: self.unknown.saturating_add(other.unknown),
        }
    }

    /// How many of this severity, to be changed.
    pub fn of_mut(&mut self, severity: Severity) -> &mut u32 {
        match severity {
            Severity::Critical => &mut self.critical,
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
            Severity::Unknown => &mut self.unknown,
        }
    }

    /// How many of this severity.
    pub fn of(&self, severity: Severity) -> u32 {
        match severity {
            Severity::Critical => self.critical,
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
            Severity::Unknown => self.unknown,
        }
    }
}
