//! A policy: the settings of the gate's rules for one environment.
//!
//! Like the vocabulary, it carries the derive of the API's format: it is stored, sent and evaluated in one shape.

mod check;
mod difference;
pub mod limits;
mod preset;
pub mod words;

use poem_openapi::{Object, types::Example};
use serde::{Deserialize, Serialize};

use crate::domain::vocabulary::{Kind, Mode, Require, Severity};

pub use self::{
    difference::{changed, differences},
    preset::{SOURCES_MAX, preset},
};

/// How long an approval counts when the policy does not say: seven days.
pub const APPROVAL_SECONDS: i64 = 7 * 24 * 3600;

/// The rules of the gate in one environment. A section that is left out stays as it is without any policy; one that is
/// given is enforced unless its `mode` says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields, example)]
pub struct Policy {
    /// Whether freeze windows count; enforced where nothing is said.
    #[oai(default)]
    pub freeze: FreezeRule,
    /// Whether the artefact must have run elsewhere before.
    #[oai(default)]
    pub promotion: PromotionRule,
    /// Whether people must have said yes.
    #[oai(default)]
    pub approval: ApprovalRule,
    /// How many known vulnerabilities are too many.
    #[oai(default)]
    pub vulnerabilities: VulnerabilitiesRule,
    /// What the image must be.
    #[oai(default)]
    pub image: ImageRule,
    /// Whether an older release than the current one may be deployed; reported where nothing is said.
    #[oai(default)]
    pub outdated: OutdatedRule,
}

impl Example for Policy {
    fn example() -> Self {
        Self {
            approval: ApprovalRule {
                mode: Mode::Enforce,
                groups: vec!["release-managers".to_owned()],
                ..ApprovalRule::default()
            },
            vulnerabilities: VulnerabilitiesRule {
                mode: Mode::Report,
                max: Budget { critical: Some(0), ..Budget::default() },
                ..VulnerabilitiesRule::default()
            },
            image: ImageRule { mode: Mode::Enforce, require_digest: true, ..ImageRule::default() },
            ..Self::default()
        }
    }
}

/// The policy that is in force in an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Counts the changes, from 1; 0 where nobody has set a policy.
    pub version: i64,
    /// The rules.
    pub policy: Policy,
}

const fn enforced() -> Mode {
    Mode::Enforce
}

/// Settings of `freeze`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields)]
pub struct FreezeRule {
    /// How it counts.
    #[oai(default = "enforced")]
    pub mode: Mode,
    /// Kinds of deployments that freeze windows let through: a verified rollback where nothing is said. A hotfix counts
    /// only from a token with the scope `hotfix`.
    #[oai(default = "only_rollback")]
    pub exempt_kinds: Vec<Kind>,
}

fn only_rollback() -> Vec<Kind> {
    vec![Kind::Rollback]
}

impl Default for FreezeRule {
    fn default() -> Self {
        Self { mode: Mode::Enforce, exempt_kinds: only_rollback() }
    }
}

/// Settings of `promotion`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields)]
pub struct PromotionRule {
    /// How it counts.
    #[oai(default = "enforced")]
    pub mode: Mode,
    /// The environments the artefact must have run in; confirmed and not archived.
    #[oai(default)]
    pub from: Vec<String>,
    /// Whether every one of them, or one.
    #[oai(default = "any")]
    pub require: Require,
    /// For how long without a break, in seconds; at most 90 days.
    #[oai(default)]
    pub soak_seconds: i64,
}

const fn any() -> Require {
    Require::Any
}

impl Default for PromotionRule {
    fn default() -> Self {
        Self { mode: Mode::Off, from: Vec::new(), require: Require::Any, soak_seconds: 0 }
    }
}

/// Settings of `approval`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields)]
pub struct ApprovalRule {
    /// How it counts.
    #[oai(default = "enforced")]
    pub mode: Mode,
    /// How many different subjects must approve.
    #[oai(default = "one")]
    pub required: u32,
    /// The groups whose members' approvals count; anybody's with the scope `approve` when empty.
    #[oai(default)]
    pub groups: Vec<String>,
    /// More rules of the kind that `required` and `groups` are one of, such as one for each of several groups. All must
    /// hold; one approval counts for every rule whose groups it was given for.
    #[oai(default)]
    pub rules: Vec<GroupRule>,
    /// Whether it fails where nobody is known to have initiated the release or the deployment.
    #[oai(default)]
    pub require_known_initiator: bool,
    /// Whether those who initiated or recorded the release, or start the deployment, may approve it.
    #[oai(default)]
    pub allow_self: bool,
    /// How long an approval counts, in seconds; seven days where nothing is said, at most a year.
    #[oai(default = "seven_days")]
    pub expires_after_seconds: i64,
}

const fn one() -> u32 {
    1
}

const fn seven_days() -> i64 {
    APPROVAL_SECONDS
}

impl Default for ApprovalRule {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            required: 1,
            groups: Vec::new(),
            rules: Vec::new(),
            require_known_initiator: false,
            allow_self: false,
            expires_after_seconds: APPROVAL_SECONDS,
        }
    }
}

impl ApprovalRule {
    /// The rules that must all hold. The one of `required` and `groups` is left out where the others imply it: one
    /// approval by anybody.
    pub fn all(&self) -> Vec<GroupRule> {
        let own = GroupRule { groups: self.groups.clone(), required: self.required };
        let implied = !self.rules.is_empty() && own == GroupRule::default();
        (!implied).then_some(own).into_iter().chain(self.rules.iter().cloned()).collect()
    }
}

/// So many of these groups must approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields)]
pub struct GroupRule {
    /// The groups whose members' approvals count; anybody's with the scope `approve` when empty.
    #[oai(default)]
    pub groups: Vec<String>,
    /// How many different subjects must approve.
    #[oai(default = "one")]
    pub required: u32,
}

impl Default for GroupRule {
    fn default() -> Self {
        Self { groups: Vec::new(), required: 1 }
    }
}

impl GroupRule {
    /// Whether the approvals of this group's members count.
    pub fn takes(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|name| name == group)
    }

    /// Whether an approval that was given for these groups counts.
    pub fn takes_any<'a>(&self, mut groups: impl Iterator<Item = &'a String>) -> bool {
        self.groups.is_empty() || groups.any(|group| self.groups.contains(group))
    }
}

/// Settings of `vulnerabilities`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields)]
pub struct VulnerabilitiesRule {
    /// How it counts.
    #[oai(default = "enforced")]
    pub mode: Mode,
    /// How many of each severity the latest scan of every accepted scanner may name; a severity that is left out is not
    /// counted.
    #[oai(default)]
    pub max: Budget,
    /// Whether only vulnerabilities that have a fix count. All count of what does not tell, as a plain report.
    #[oai(default)]
    pub only_fixable: bool,
    /// The scanners whose scans count; any when empty.
    #[oai(default)]
    pub scanners: Vec<String>,
    /// Whether a release without a scan fails.
    #[oai(default)]
    pub require_scan: bool,
    /// How old the newest scan may be, in seconds; at most a year. Any age when left out.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_scan_age_seconds: Option<i64>,
}

impl Default for VulnerabilitiesRule {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            max: Budget::default(),
            only_fixable: false,
            scanners: Vec::new(),
            require_scan: false,
            max_scan_age_seconds: None,
        }
    }
}

/// How many vulnerabilities of each severity are room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none)]
pub struct Budget {
    /// Of critical ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<u32>,
    /// Of high ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<u32>,
    /// Of medium ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<u32>,
    /// Of low ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<u32>,
    /// Of those without a rating.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u32>,
}

impl Budget {
    /// How many of this severity are room for, if they are counted.
    pub fn of(&self, severity: Severity) -> Option<u32> {
        match severity {
            Severity::Critical => self.critical,
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
            Severity::Unknown => self.unknown,
        }
    }
}

/// Settings of `image`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields)]
pub struct ImageRule {
    /// How it counts.
    #[oai(default = "enforced")]
    pub mode: Mode,
    /// Whether the release must name its image, by digest.
    #[oai(default)]
    pub require_digest: bool,
    /// Where the image may come from: repositories, in which `*` stands for a part of a path and `**` for any number of
    /// them. From anywhere when empty.
    #[oai(default)]
    pub allowed_repositories: Vec<String>,
}

impl Default for ImageRule {
    fn default() -> Self {
        Self { mode: Mode::Off, require_digest: false, allowed_repositories: Vec::new() }
    }
}

/// Settings of `outdated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
#[serde(default)]
#[oai(deny_unknown_fields)]
pub struct OutdatedRule {
    /// How it counts.
    #[oai(default = "enforced")]
    pub mode: Mode,
}

impl Default for OutdatedRule {
    fn default() -> Self {
        Self { mode: Mode::Report }
    }
}
