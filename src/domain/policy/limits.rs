//! The bounds of a policy's numbers and the lengths of its lists: the API's document states them, and `validate` holds them.

use std::ops::RangeInclusive;

use crate::domain::vocabulary::Kind;

const YEAR_SECONDS: i64 = 365 * 24 * 3600;

/// For how long an artefact may have to have run elsewhere, in seconds: up to 90 days.
pub const SOAK: RangeInclusive<i64> = 0..=90 * 24 * 3600;
/// How many subjects may have to approve.
pub const REQUIRED: RangeInclusive<i64> = 1..=20;
/// How long an approval may count, in seconds.
pub const APPROVAL: RangeInclusive<i64> = 60..=YEAR_SECONDS;
/// How old a scan may be allowed to be, in seconds.
pub const SCAN_AGE: RangeInclusive<i64> = 60..=YEAR_SECONDS;
/// How many vulnerabilities of one severity there may be room for.
pub const ROOM: RangeInclusive<i64> = 0..=1_000_000;
/// The most kinds that are exempt.
pub const KINDS_MAX: usize = Kind::ALL.len();
/// The most names in a list of environments, groups or scanners.
pub const NAMES_MAX: usize = 20;
/// The most rules about approvals beside the first.
pub const RULES_MAX: usize = 10;
/// The most repositories.
pub const REPOSITORIES_MAX: usize = 50;
