//! The rules of the gate, each from its sentence in the design.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::{
    ledger::{Environment, Found, Ledger, Release, Scan, Target, Time, When, Window},
    people::who,
    policy::{ENFORCE, OFF},
};

/// How many choices a rollback has; fewer than usual, so that a short history has more.
pub const DEPTH: usize = 2;

/// What was asked, and when the gate answered.
#[derive(Clone, Debug)]
pub struct Question {
    pub service: &'static str,
    pub environment: &'static str,
    pub version: String,
    pub kind: &'static str,
    pub preempt: bool,
    pub initiated_by: Option<String>,
    /// Who deploys it; nobody in particular where it is only asked for.
    pub deployer: Option<String>,
    pub may_hotfix: bool,
    pub overrides: bool,
    pub at: Time,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    Holds,
    Exempt,
    Off,
    /// With its code, and when it will hold where that is known.
    Fails(&'static str, Option<Time>),
}
use Finding::{Exempt, Fails, Holds};

/// "Kind `remove`: gate (concurrency, lockdown, freeze)."
const OF_REMOVALS: [&str; 3] = ["concurrency", "lockdown", "freeze"];

type Rule = fn(&Case<'_>) -> Finding;

/// What the gate must say.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub allowed: bool,
    pub retry_at: Option<Time>,
    /// The mode of each rule, and what it finds.
    pub rules: BTreeMap<&'static str, (&'static str, Finding)>,
}

/// Everything that is looked at.
struct Case<'a> {
    ledger: &'a Ledger,
    asked: &'a Question,
    environment: &'a Environment,
    target: &'a Target,
    release: &'a Release,
    artefact: String,
}

pub fn answer(ledger: &Ledger, asked: &Question) -> Answer {
    let release = &ledger.releases[&(asked.service, asked.version.clone())];
    let case = Case {
        ledger,
        asked,
        environment: &ledger.environments[asked.environment],
        target: ledger.target((asked.service, asked.environment)),
        release,
        artefact: release.artefact(&asked.version),
    };
    let policy = &case.environment.policy;
    let rules: [(&str, &'static str, Rule); 8] = [
        ("concurrency", ENFORCE, concurrency),
        ("lockdown", ENFORCE, lockdown),
        ("freeze", policy.freeze.mode, freeze),
        ("promotion", policy.promotion.mode, promotion),
        ("approval", policy.approval.mode, approval),
        ("vulnerabilities", policy.vulnerabilities.mode, vulnerabilities),
        ("image", policy.image.mode, image),
        ("outdated", policy.outdated, outdated),
    ];
    let rules: BTreeMap<_, _> = rules
        .into_iter()
        .map(|(name, mode, rule)| {
            let finding = match mode {
                OFF => Finding::Off,
                _ if asked.kind == "remove" && !OF_REMOVALS.contains(&name) => Exempt,
                _ => rule(&case),
            };
            (name, (mode, finding))
        })
        .collect();
    // "An override lifts every rule but concurrency."
    let counts = |name: &str| name == "concurrency" || !asked.overrides;
    let in_the_way: Vec<Option<Time>> = rules
        .iter()
        .filter_map(|(name, (mode, finding))| match finding {
            Fails(_, retry_at) if *mode == ENFORCE && counts(name) => Some(*retry_at),
            Holds | Exempt | Finding::Off | Fails(..) => None,
        })
        .collect();
    // "The latest of the failing enforced checks, null if one has none."
    let retry_at = if in_the_way.contains(&None) { None } else { in_the_way.iter().copied().max().flatten() };
    Answer { allowed: in_the_way.is_empty(), retry_at, rules }
}

/// What is no question for the gate: the status that it is refused with. "Only a rollback may preempt"; only what is current
/// is redeployed; "a rollback goes to a *release*: two releases with one image are two choices", and only the very release
/// that is current is none.
pub fn refusal(ledger: &Ledger, asked: &Question) -> Option<u16> {
    let current = ledger.target((asked.service, asked.environment)).current();
    let is_there = current.is_some_and(|current| current.version == asked.version);
    let artefact = ledger.artefact(asked.service, &asked.version);
    match asked.kind {
        kind if asked.preempt && kind != "rollback" => Some(422),
        _ if ledger.environments[asked.environment].is_shut() => Some(409),
        "redeploy" if current.is_none_or(|current| current.artefact != artefact) => Some(422),
        "rollback" if is_there => Some(409),
        "remove" if !is_there => Some(409),
        _ => None,
    }
}

/// "At most one running deployment per target"; "`preempt: true` on a rollback cancels the running deployment"; "how long
/// a running deployment may stay silent before it is `expired` and its lock falls".
fn concurrency(case: &Case<'_>) -> Finding {
    let running = case.target.running.as_ref().map(|id| &case.ledger.runs[id]);
    match running.filter(|run| run.lease_ends > case.asked.at) {
        Some(run) if !case.asked.preempt => Fails("concurrent-deployment", Some(run.lease_ends)),
        _ => Holds,
    }
}

/// "Emergency stop; nothing but an override starts there until it is lifted."
fn lockdown(case: &Case<'_>) -> Finding {
    if case.environment.locked_down { Fails("lockdown", None) } else { Holds }
}

/// "`exempt_kinds` (default `rollback`; `hotfix` counts only from a token with that scope)"; a rollback is one when it is
/// verified. "`retry_at` = when it opens, several windows merged".
fn freeze(case: &Case<'_>) -> Finding {
    let covers = |window: &&Window| {
        let tier = case.environment.tier.as_str();
        let is_named = window.services.is_empty() || window.services.contains(&case.asked.service);
        is_named && (window.environments.contains(&case.asked.environment) || window.tiers.contains(&tier))
    };
    let windows: Vec<&Window> = case.ledger.windows.values().filter(covers).collect();
    let latest_end = |at: Time| windows.iter().filter_map(|window| holds_until(&window.when, at)).max();
    let Some(mut opens) = latest_end(case.asked.at) else { return Holds };
    let kind = case.asked.kind;
    let is_what_it_says = match kind {
        "hotfix" => case.asked.may_hotfix,
        "rollback" => is_verified(case),
        _ => true,
    };
    if case.environment.policy.freeze.exempt_kinds.contains(&kind) && is_what_it_says {
        return Exempt;
    }
    while let Some(later) = latest_end(opens) {
        opens = later;
    }
    Fails("freeze-window", Some(opens))
}

/// When a window that holds at a moment ends.
fn holds_until(when: &When, at: Time) -> Option<Time> {
    match when {
        When::Once(from, to) => (*from <= at && at < *to).then_some(*to),
        When::Daily { from, to, ahead } => {
            let midnight = (at + *ahead).date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc() - *ahead;
            // One that began the day before may hold still.
            [-1, 0].into_iter().find_map(|day| {
                let day = midnight + TimeDelta::days(day);
                let (from, to) = (TimeDelta::minutes(*from), TimeDelta::minutes(*to));
                let over_midnight = if to < from { TimeDelta::days(1) } else { TimeDelta::zero() };
                holds_until(&When::Once(day + from, day + to + over_midnight), at)
            })
        }
    }
}

/// "Soak = the longest stay of the artefact in the source before now, kept even when a newer build has replaced it, lost
/// when it was reverted there"; "`from` (confirmed and not archived), `require: all|any`"; "a verified rollback is exempt".
fn promotion(case: &Case<'_>) -> Finding {
    if is_verified(case) {
        return Exempt;
    }
    let rule = &case.environment.policy.promotion;
    let findings: Vec<Finding> = rule.from.iter().map(|source| source_of(case, source, rule.soak)).collect();
    if rule.all && findings.iter().all(|finding| *finding == Holds) || !rule.all && findings.contains(&Holds)
    {
        return Holds;
    }
    let failing = || {
        findings.iter().filter_map(|finding| match finding {
            Fails(code, retry_at) => Some((*code, *retry_at)),
            Holds | Exempt | Finding::Off => None,
        })
    };
    // Of several reasons, the one that is told is the farthest from holding where all must, and the nearest where any may.
    let distance = |code: &&str| {
        ["soak-not-met", "promotion-missing", "promotion-source-invalid"]
            .iter()
            .position(|other| other == code)
    };
    let codes = failing().map(|(code, _)| code);
    let times = || failing().map(|(_, retry_at)| retry_at);
    if rule.all {
        let retry_at = if times().any(|time| time.is_none()) { None } else { times().max().flatten() };
        Fails(codes.max_by_key(distance).unwrap(), retry_at)
    } else {
        Fails(codes.min_by_key(distance).unwrap(), times().flatten().min())
    }
}

fn source_of(case: &Case<'_>, source: &'static str, soak: TimeDelta) -> Finding {
    let usable = case.ledger.environments.get(source);
    if !usable.is_some_and(|environment| environment.confirmed && !environment.archived) {
        return Fails("promotion-source-invalid", None);
    }
    let target = case.ledger.target((case.asked.service, source));
    let reverted_at = target.reverted_at(&case.asked.version, &case.artefact);
    let stays = target.stays(&case.asked.version, &case.artefact).into_iter();
    let counting = stays.filter(|(since, _)| reverted_at.is_none_or(|reverted| *since > reverted));
    let counting: Vec<_> = counting.collect();
    let length = |(since, until): &(Time, Option<Time>)| until.unwrap_or(case.asked.at) - *since;
    match counting.iter().map(length).max() {
        None => Fails("promotion-missing", None),
        Some(longest) if longest >= soak => Holds,
        Some(_) => {
            let goes_on = counting.iter().find(|(_, until)| until.is_none());
            Fails("soak-not-met", goes_on.map(|(since, _)| *since + soak))
        }
    }
}

/// "`rules: [{groups, required}]`, all must hold; the flat form stays as one rule"; "subjects of tokens and given names are
/// compared after NFKC and case folding, trimmed, without invisible characters"; "where nobody is known to have initiated a
/// release, `require_known_initiator` makes it fail"; "one voice per subject, never the subjects that initiated or recorded the release or start the deployment unless
/// `allow_self`, and is void once the release is reverted in that environment"; "rejection blocks until withdrawn";
/// "a verified rollback is exempt".
fn approval(case: &Case<'_>) -> Finding {
    if is_verified(case) {
        return Exempt;
    }
    let Question { service, environment, version, initiated_by, deployer, at, .. } = case.asked;
    let rule = &case.environment.policy.approval;
    if case.ledger.voices(service, version, environment).any(|voice| !voice.approves) {
        return Fails("approval-rejected", None);
    }
    if rule.require_known_initiator && !case.release.initiated && initiated_by.is_none() {
        return Fails("initiator-unknown", None);
    }
    let reverted_at = case.target.reverted_at(version, &case.artefact);
    let own = |name: &Option<String>, person: &str| name.as_deref().is_some_and(|name| who(name) == person);
    let approvals: Vec<_> = case
        .ledger
        .voices(service, version, environment)
        .filter(|voice| voice.at + rule.expires_after > *at)
        .filter(|voice| reverted_at.is_none_or(|reverted| voice.at > reverted))
        .filter(|voice| voice.image == case.release.image)
        .map(|voice| (who(&voice.subject), &voice.groups))
        .filter(|(person, _)| rule.allow_self || !case.release.makers.contains(*person))
        .filter(|(person, _)| rule.allow_self || !own(deployer, person) && !own(initiated_by, person))
        .collect();
    let holds = |groups: &[&str], required: usize| {
        let of_groups = approvals.iter().filter(|(_, spoke_for)| {
            groups.is_empty() || groups.iter().any(|group| spoke_for.contains(*group))
        });
        of_groups.map(|(person, _)| *person).collect::<BTreeSet<_>>().len() >= required
    };
    let all = holds(&rule.groups, rule.required)
        && rule.rules.iter().all(|(groups, required)| holds(groups, *required));
    if all { Holds } else { Fails("approval-missing", None) }
}

/// "`max: {critical, high, …}`, `scanners` accepted, `require_scan`, `max_scan_age_seconds`"; "a report replaces the classes
/// that it covers, for its platform, and nothing else; the gate judges all of them together, the worst platform counting";
/// "plain reports cover everything of their scanner"; "a verified rollback is exempt".
fn vulnerabilities(case: &Case<'_>) -> Finding {
    if is_verified(case) {
        return Exempt;
    }
    let rule = &case.environment.policy.vulnerabilities;
    let scans = case.ledger.scans.get(&(case.asked.service, case.artefact.clone()));
    let mut alive: BTreeMap<&str, Vec<(&Scan, usize)>> = BTreeMap::new();
    for (place, scan) in scans.into_iter().flatten().enumerate() {
        let scanner = scan.scanner.as_str();
        let is_accepted = rule.scanners.is_empty() || rule.scanners.contains(&scanner);
        let later: Vec<&Scan> = scans
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(other, later)| later.scanner == scanner && (later.at, *other) > (scan.at, place))
            .map(|(_, later)| later)
            .collect();
        for (part, found) in scan.parts.iter().enumerate() {
            if is_accepted && !is_looked_at_again(scan.platform, found.class, &later) {
                alive.entry(scanner).or_default().push((scan, part));
            }
        }
    }
    if alive.is_empty() {
        return if rule.require_scan { Fails("scan-missing", None) } else { Holds };
    }
    let is_over = |parts: &Vec<(&Scan, usize)>| {
        let platforms: BTreeSet<_> = parts.iter().map(|(scan, _)| scan.platform).collect();
        platforms.into_iter().any(|platform| {
            let here = parts.iter().filter(|(scan, _)| scan.platform == platform);
            let counts: Vec<[u32; 5]> = here.map(|(scan, part)| counted(case, scan, *part)).collect();
            let sum = |severity: usize| counts.iter().map(|counts| counts[severity]).sum::<u32>();
            (0..5).any(|severity| rule.max[severity].is_some_and(|max| sum(severity) > max))
        })
    };
    if alive.values().any(is_over) {
        return Fails("vulnerability-budget", None);
    }
    let oldest = |parts: &Vec<(&Scan, usize)>| parts.iter().map(|(scan, _)| scan.at).min().unwrap();
    let newest = alive.values().map(oldest).max().unwrap();
    if rule.max_age.is_some_and(|age| newest + age < case.asked.at) {
        return Fails("scan-stale", None);
    }
    Holds
}

/// "`only_fixable` counts only what has a fix"; a plain report does not tell, so that all of it counts. "Waivers take one
/// vulnerability out of the budget in the services and environments they name (all where they name none)", until they end;
/// a plain report names none.
fn counted(case: &Case<'_>, scan: &Scan, part: usize) -> [u32; 5] {
    let only_fixable = case.environment.policy.vulnerabilities.only_fixable;
    let Found { counts, fixable, .. } = &scan.parts[part];
    if scan.platform.is_none() {
        return *counts;
    }
    let is_waived = |severity: usize, number: u32| {
        let mut waivers = case.ledger.waivers.values();
        waivers.any(|waiver| {
            (waiver.severity, waiver.number) == (severity, number)
                && waiver.until > case.asked.at
                && waiver.service.is_none_or(|name| name == case.asked.service)
                && waiver.environment.is_none_or(|name| name == case.asked.environment)
        })
    };
    let found = if only_fixable { fixable } else { counts };
    std::array::from_fn(|severity| {
        let left = (0..found[severity]).filter(|number| !is_waived(severity, *number)).count();
        u32::try_from(left).unwrap()
    })
}

/// Whether a scanner has later looked at the same packages for the same platform; a plain report is of all of them, and is
/// only outdone by another.
fn is_looked_at_again(platform: Option<&str>, class: &str, later: &[&Scan]) -> bool {
    let mut same = later.iter().filter(|scan| scan.platform == platform).flat_map(|scan| &scan.parts);
    later.iter().any(|scan| scan.platform.is_none()) || same.any(|other| other.class == class)
}

/// "`require_digest`, `allowed_repositories` (globs)"; "a verified rollback is exempt".
fn image(case: &Case<'_>) -> Finding {
    if is_verified(case) {
        return Exempt;
    }
    let rule = &case.environment.policy.image;
    let Some(image) = &case.release.image else {
        let is_wanted = rule.require_digest || !rule.allowed.is_empty();
        return if is_wanted { Fails("image-not-pinned", None) } else { Holds };
    };
    let repository: Vec<&str> = image.split('@').next().unwrap().split('/').collect();
    let fits = |pattern: &&str| path_fits(&pattern.split('/').collect::<Vec<_>>(), &repository);
    if rule.allowed.is_empty() || rule.allowed.iter().any(fits) {
        return Holds;
    }
    Fails("image-repository", None)
}

/// `**` stands for any number of parts.
fn path_fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| path_fits(rest, &path[skipped..])),
        ([first, rest @ ..], [part, parts @ ..]) => part_fits(first, part) && path_fits(rest, parts),
        _ => false,
    }
}

/// `*` stands for any characters of a part.
fn part_fits(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == part,
        Some((start, rest)) => part
            .strip_prefix(start)
            .is_some_and(|left| (0..=left.len()).any(|skipped| part_fits(rest, &left[skipped..]))),
    }
}

/// "`outdated` (kind `deploy` of a release older than the current one: the retried old job, the slower build)".
fn outdated(case: &Case<'_>) -> Finding {
    if case.asked.kind != "deploy" {
        return Exempt;
    }
    let current = case.target.current().map(|current| current.version.clone());
    let current = current.map(|version| case.ledger.releases[&(case.asked.service, version)].order());
    if current.is_some_and(|current| case.release.order() < current) {
        Fails("outdated", None)
    } else {
        Holds
    }
}

/// "Verified when that release succeeded here through the gate, is not current, was not itself reverted here, and is
/// among the last `rollback_depth` such."
fn is_verified(case: &Case<'_>) -> bool {
    let choices = case.target.choices();
    let reach = choices.iter().take(DEPTH);
    case.asked.kind == "rollback" && reach.into_iter().any(|version| *version == case.asked.version)
}
