//! Where a vulnerability is, and of what nobody can tell.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    vocabulary::{Severity, Tier},
    waiver::Waiver,
};

/// Where a vulnerability is, by the latest scans.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// The targets whose current release has it, or the one that is on its way there.
    pub targets: Vec<ExposedTarget>,
    /// The releases that have it and are in no target, the newest first.
    pub releases: Vec<ExposedRelease>,
    /// Whether there are more such releases than these.
    pub more_releases: bool,
    /// The targets of which nobody can tell: no scan that names vulnerabilities has looked at what is current there.
    /// Those of production first.
    pub unscanned: Vec<UnscannedTarget>,
    /// How many such targets there are.
    pub unscanned_count: u64,
}

/// A target whose current release was never looked at by a scanner that names what it finds.
#[derive(Clone, Debug)]
pub struct UnscannedTarget {
    pub service: String,
    pub environment: String,
    /// The environment's tier.
    pub tier: Tier,
    /// The release's version.
    pub version: String,
    pub image: Option<String>,
    /// The deployment that put it there.
    pub deployment_id: Uuid,
    /// Since when it is there.
    pub since: DateTime<Utc>,
}

/// A target with a release that has a vulnerability.
#[derive(Clone, Debug)]
pub struct ExposedTarget {
    pub service: String,
    pub environment: String,
    /// The release's version.
    pub version: String,
    pub image: Option<String>,
    /// The deployment that put it there, or is about to.
    pub deployment_id: Uuid,
    /// Whether it is on its way there, and not yet current.
    pub running: bool,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The worst that any scanner says of it.
    pub severity: Severity,
    /// The packages that have it.
    pub packages: Vec<ExposedPackage>,
    /// The scanners that found it.
    pub scanners: BTreeSet<String>,
    /// Their scans.
    pub scans: BTreeSet<Uuid>,
    /// The waivers that hold there and take it out of the budget of one of them.
    pub waivers: Vec<Waiver>,
}

/// A package that has a vulnerability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExposedPackage {
    pub name: String,
    /// The version that was found.
    pub installed_version: Option<String>,
    /// The versions in which it is mended.
    pub fixed_version: Option<String>,
}

/// A release that has a vulnerability and is in no target.
#[derive(Clone, Debug)]
pub struct ExposedRelease {
    pub service: String,
    pub version: String,
    pub image: Option<String>,
    /// The worst that any scanner says of it.
    pub severity: Severity,
    /// When the release was registered.
    pub created_at: DateTime<Utc>,
}
