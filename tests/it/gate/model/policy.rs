//! What a policy says, as the model reads it.

use chrono::TimeDelta;
use serde_json::{Value, json};

pub const ENFORCE: &str = "enforce";
pub const REPORT: &str = "report";
pub const OFF: &str = "off";

pub const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "unknown"];

/// The rules of one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub freeze: Freeze,
    pub promotion: Promotion,
    pub approval: Approval,
    pub vulnerabilities: Vulnerabilities,
    pub image: Image,
    pub outdated: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Freeze {
    pub mode: &'static str,
    pub exempt_kinds: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    pub mode: &'static str,
    pub from: Vec<&'static str>,
    pub all: bool,
    pub soak: TimeDelta,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    pub mode: &'static str,
    pub required: usize,
    pub groups: Vec<&'static str>,
    /// The groups of each of more rules, and how many of them must approve.
    pub rules: Vec<(Vec<&'static str>, usize)>,
    pub require_known_initiator: bool,
    pub allow_self: bool,
    pub expires_after: TimeDelta,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Vulnerabilities {
    pub mode: &'static str,
    /// In the order of [`SEVERITIES`].
    pub max: [Option<u32>; 5],
    pub only_fixable: bool,
    pub scanners: Vec<&'static str>,
    pub require_scan: bool,
    pub max_age: Option<TimeDelta>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub mode: &'static str,
    pub require_digest: bool,
    pub allowed: Vec<&'static str>,
}

impl Default for Policy {
    /// "Without a policy: concurrency, lockdown and freeze are enforced, `outdated` reports, the rest is off."
    fn default() -> Self {
        Self {
            freeze: Freeze { mode: ENFORCE, exempt_kinds: vec!["rollback"] },
            promotion: Promotion { mode: OFF, from: vec![], all: false, soak: TimeDelta::zero() },
            approval: Approval {
                mode: OFF,
                required: 1,
                groups: vec![],
                rules: vec![],
                require_known_initiator: false,
                allow_self: false,
                expires_after: TimeDelta::days(7),
            },
            vulnerabilities: Vulnerabilities {
                mode: OFF,
                max: [None; 5],
                only_fixable: false,
                scanners: vec![],
                require_scan: false,
                max_age: None,
            },
            image: Image { mode: OFF, require_digest: false, allowed: vec![] },
            outdated: REPORT,
        }
    }
}

impl Policy {
    /// As the API takes it.
    pub fn body(&self) -> Value {
        let Self { freeze, promotion, approval, vulnerabilities, image, outdated } = self;
        let max = SEVERITIES.iter().zip(vulnerabilities.max).filter_map(|(name, max)| Some((*name, max?)));
        let max: serde_json::Map<_, _> = max.map(|(name, max)| (name.to_owned(), json!(max))).collect();
        let more = approval.rules.iter();
        let more: Vec<_> =
            more.map(|(groups, required)| json!({ "groups": groups, "required": required })).collect();
        let mut body = json!({
            "freeze": { "mode": freeze.mode, "exempt_kinds": freeze.exempt_kinds },
            "promotion": {
                "mode": promotion.mode,
                "from": promotion.from,
                "require": if promotion.all { "all" } else { "any" },
                "soak_seconds": promotion.soak.num_seconds(),
            },
            "approval": {
                "mode": approval.mode,
                "required": approval.required,
                "groups": approval.groups,
                "rules": more,
                "require_known_initiator": approval.require_known_initiator,
                "allow_self": approval.allow_self,
                "expires_after_seconds": approval.expires_after.num_seconds(),
            },
            "vulnerabilities": {
                "mode": vulnerabilities.mode,
                "max": max,
                "only_fixable": vulnerabilities.only_fixable,
                "scanners": vulnerabilities.scanners,
                "require_scan": vulnerabilities.require_scan,
            },
            "image": {
                "mode": image.mode,
                "require_digest": image.require_digest,
                "allowed_repositories": image.allowed,
            },
            "outdated": { "mode": outdated },
        });
        if let Some(age) = vulnerabilities.max_age {
            body["vulnerabilities"]["max_scan_age_seconds"] = json!(age.num_seconds());
        }
        body
    }
}
