//! The history of a public project, cut off at several moments and moved so that each of them is now: what the gate says
//! to every release then, against a computation from the file alone that knows neither the server nor its rules.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use waybill::{
    clock,
    domain::{
        gate::{Inputs, evaluate},
        vocabulary::Scope,
    },
};

use crate::{
    db_test,
    replay::{
        DATA,
        plan::{self, History, Release, Step},
    },
    support::api::{Api, id_of},
};

/// How many of the releases that were there at each cut.
const CUTS: [usize; 4] = [13, 30, 47, usize::MAX];
/// How long after the last deployment into staging each cut is.
const AFTER: TimeDelta = TimeDelta::hours(5);
const SOAK: TimeDelta = TimeDelta::hours(30);
const SCAN_AGE: TimeDelta = TimeDelta::days(60);
const DEPTH: usize = 5;

type Time = DateTime<Utc>;

/// What is told of a release beside what the file says; all of it follows from the file.
struct Told {
    version: String,
    image: Option<String>,
    /// Critical and high vulnerabilities, where it was scanned.
    found: Option<(u64, u64)>,
    scanned_at: Time,
}

fn told(release: &Release, nth: usize, moved: TimeDelta) -> Told {
    let digits: Vec<u64> =
        release.commit_sha.chars().map(|digit| u64::from(digit.to_digit(16).unwrap())).collect();
    let registry = if digits[0] < 2 { "registry.example.org" } else { "registry.example.com" };
    let digest = format!("{}{}", release.commit_sha, "0".repeat(64 - release.commit_sha.len()));
    Told {
        version: release.version.clone(),
        image: (digits[1] > 0).then(|| format!("{registry}/podinfo@sha256:{digest}")),
        found: (!nth.is_multiple_of(6)).then(|| (digits[2] / 12, digits[3])),
        scanned_at: release.committed_at + moved + TimeDelta::minutes(20),
    }
}

/// The history up to a cut.
struct Cut {
    service: String,
    staging: String,
    prod: String,
    releases: Vec<Told>,
    /// What was over by then.
    steps: Vec<Step>,
    /// When prod is frozen.
    freezes: Vec<(Time, Time)>,
}

impl Cut {
    fn new(history: &History, number: usize) -> Self {
        let mut steps = plan::plan(history);
        let of_cut =
            |version: &str| history.releases.iter().take(CUTS[number]).any(|other| other.version == version);
        let last = steps.iter().rfind(|step| step.environment == "staging" && of_cut(&step.version)).unwrap();
        let end = last.finished_at + AFTER;
        let now = clock::now();
        let moved = now - end;
        steps.retain(|step| step.finished_at < end);
        let was_there = |release: &&Release| release.committed_at + TimeDelta::hours(1) < end;
        let releases: Vec<_> = history.releases.iter().take_while(was_there).collect();
        for step in &mut steps {
            step.started_at += moved;
            step.finished_at += moved;
        }
        let committed = releases.last().unwrap().committed_at + moved;
        let hours = |n| now + TimeDelta::hours(n);
        // One window is over, two overlap, and one follows on them at once; with every other cut there is none now.
        let freezes = if number.is_multiple_of(2) {
            vec![
                (committed - TimeDelta::days(9), hours(-1)),
                (hours(-1), hours(2)),
                (hours(1), hours(4)),
                (hours(4), hours(6)),
            ]
        } else {
            vec![(committed - TimeDelta::days(9), hours(-1)), (hours(1), hours(4))]
        };
        let releases =
            releases.into_iter().zip(1..).map(|(release, nth)| told(release, nth, moved)).collect();
        let [service, staging, prod] = ["podinfo", "staging", "prod"].map(|name| format!("{name}-{number}"));
        Self { service, staging, prod, releases, steps, freezes }
    }

    fn number(&self, version: &str) -> usize {
        self.releases.iter().position(|release| release.version == version).unwrap()
    }

    /// What succeeded in an environment, in the order of time.
    fn successes(&self, environment: &str) -> impl DoubleEndedIterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.environment == environment && step.succeeds)
    }

    fn current(&self) -> Option<&str> {
        self.successes("prod").last().map(|step| step.version.as_str())
    }

    /// Why a release may not go to prod, with the moment from which on it may where that is known.
    fn reasons(&self, version: &str, rollback: bool, now: Time) -> Vec<(&'static str, Option<Time>)> {
        let mut reasons = Vec::new();
        let is_exempt = rollback && self.choices().contains(version);
        let frozen = |at: &Time| self.freezes.iter().any(|(from, to)| from <= at && at < to);
        if frozen(&now) && !is_exempt {
            let ends = self.freezes.iter().map(|(_, to)| *to).filter(|to| *to > now && !frozen(to));
            reasons.push(("freeze-window", ends.min()));
        }
        if is_exempt {
            return reasons;
        }
        reasons.extend(self.promotion(version, now));
        let told = &self.releases[self.number(version)];
        match &told.found {
            None => reasons.push(("scan-missing", None)),
            Some((critical, high)) if *critical > 0 || *high > 12 => {
                reasons.push(("vulnerability-budget", None));
            }
            Some(_) if now - told.scanned_at > SCAN_AGE => reasons.push(("scan-stale", None)),
            Some(_) => {}
        }
        match &told.image {
            None => reasons.push(("image-not-pinned", None)),
            Some(image) if !image.starts_with("registry.example.com/") => {
                reasons.push(("image-repository", None));
            }
            Some(_) => {}
        }
        if !rollback && self.current().is_some_and(|current| self.number(version) < self.number(current)) {
            reasons.push(("outdated", None));
        }
        reasons
    }

    /// Staging takes each release once, and nothing is reverted there: a release stays until the next one comes.
    fn promotion(&self, version: &str, now: Time) -> Option<(&'static str, Option<Time>)> {
        let mut stays = self.successes("staging").map(|step| step.finished_at).collect::<Vec<_>>();
        let Some(arrived) = self.successes("staging").find(|step| step.version == version) else {
            return Some(("promotion-missing", None));
        };
        stays.retain(|at| *at > arrived.finished_at);
        let left = stays.first();
        let soaked = *left.unwrap_or(&now) - arrived.finished_at;
        let opens = if left.is_some() { None } else { Some(arrived.finished_at + SOAK) };
        (soaked < SOAK).then_some(("soak-not-met", opens))
    }

    /// What prod may go back to: the last that went well there, but for what is there and what was rolled back.
    fn choices(&self) -> BTreeSet<&str> {
        let mut stack: Vec<&str> = Vec::new();
        for step in self.successes("prod") {
            if step.kind == "rollback" {
                stack.pop();
            }
            stack.retain(|version| *version != step.version);
            stack.push(&step.version);
        }
        stack.iter().rev().skip(1).take(DEPTH).copied().collect()
    }

    fn policy(&self) -> Value {
        json!({
            "promotion": { "from": [self.staging], "soak_seconds": SOAK.num_seconds() },
            "vulnerabilities": { "max": { "critical": 0, "high": 12 }, "require_scan": true,
                "max_scan_age_seconds": SCAN_AGE.num_seconds() },
            "image": { "require_digest": true, "allowed_repositories": ["registry.example.com/**"] },
            "outdated": { "mode": "enforce" },
        })
    }

    async fn register(&self, api: &Api, history: &History) {
        for name in [&self.staging, &self.prod] {
            api.post("/environments", json!({ "name": name })).await.ok(201);
        }
        api.put(&format!("/environments/{}/policy", self.prod), self.policy()).await.ok(200);
        for (from, to) in &self.freezes {
            let window = json!({ "name": "pause", "reason": "holidays", "environments": [self.prod], "starts_at": from, "ends_at": to });
            // One that is over cannot be declared any more, and would not count either.
            let answer = api.post("/freeze-windows", window).await;
            assert_eq!(answer.status, if *to > clock::now() { 201 } else { 422 }, "{}", answer.text);
        }
        api.post("/services", json!({ "name": self.service })).await.ok(201);
        let releases = format!("/services/{}/releases", self.service);
        for (told, release) in self.releases.iter().zip(&history.releases) {
            let mut body = json!({ "version": told.version, "commit_sha": release.commit_sha });
            if let Some(image) = &told.image {
                body["image"] = json!(image);
            }
            api.post(&releases, body).await.ok(201);
            if let Some((critical, high)) = told.found {
                let counts =
                    json!({ "critical": critical, "high": high, "medium": 0, "low": 0, "unknown": 0 });
                let scan = json!({ "scanner": "other", "scanned_at": told.scanned_at, "counts": counts });
                api.post(&format!("{releases}/{}/scans", told.version), scan).await.ok(201);
            }
        }
    }

    /// Puts what happened on record, by somebody whose word counts.
    async fn record(&self, api: &Api) {
        for step in self.steps.iter().filter(|step| step.environment != "dev") {
            let environment = if step.environment == "prod" { &self.prod } else { &self.staging };
            let body = json!({
                "service": self.service, "environment": environment, "version": step.version, "kind": step.kind,
                "status": if step.succeeds { "succeeded" } else { "failed" },
                "started_at": step.started_at, "finished_at": step.finished_at,
            });
            api.post("/deployments/record", body).await.ok(201);
        }
    }

    /// Asks about every release, in both ways; gives the codes that were answered.
    async fn ask(&self, api: &Api, codes: &mut BTreeSet<String>) {
        for told in &self.releases {
            for rollback in [false, true] {
                let is_current = self.current() == Some(&told.version);
                let mut body = json!({ "service": self.service, "environment": self.prod, "version": told.version, "record": true });
                if rollback {
                    body["kind"] = json!("rollback");
                }
                let answer = api.post("/gate/check", body).await;
                if rollback && is_current {
                    answer.ok(409);
                    continue;
                }
                self.compare(&answer.ok(200), &told.version, rollback || is_current, rollback, codes);
            }
        }
    }

    /// Starts every release, and takes it back at once where that was let.
    async fn start(&self, api: &Api, codes: &mut BTreeSet<String>) {
        let mut started = 0;
        for told in &self.releases {
            let body = json!({ "service": self.service, "environment": self.prod, "version": told.version });
            let answer = api.post("/deployments", body).await;
            let said = answer.json();
            let is_current = self.current() == Some(&told.version);
            self.compare(&said["decision"], &told.version, is_current, false, codes);
            assert_eq!(answer.status, if said["decision"]["allowed"] == true { 201 } else { 409 }, "{said}");
            if answer.status == 201 {
                api.finished(&id_of(&said["deployment"]), "failed").await;
                started += 1;
            }
        }
        assert!(started > 0, "nothing was let start");
    }

    fn compare(
        &self,
        said: &Value,
        version: &str,
        may_be_older: bool,
        rollback: bool,
        codes: &mut BTreeSet<String>,
    ) {
        let mut right = self.reasons(version, rollback, time(&said["evaluated_at"]));
        right.retain(|(code, _)| !may_be_older || *code != "outdated");
        let failing = said["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "fail");
        let found: Vec<_> = failing
            .map(|check| {
                let at = &check["retry_at"];
                (check["code"].as_str().unwrap(), (!at.is_null()).then(|| time(at)))
            })
            .collect();
        let what = format!("{version} of {}, rollback: {rollback}: {said}", self.service);
        assert_eq!(found, right, "{what}");
        assert_eq!(said["allowed"], right.is_empty(), "{what}");
        let times: Option<Vec<Time>> = right.iter().map(|(_, at)| *at).collect();
        let opens = times.and_then(|times| times.into_iter().max());
        assert_eq!((!said["retry_at"].is_null()).then(|| time(&said["retry_at"])), opens, "{what}");
        codes.extend(right.iter().map(|(code, _)| (*code).to_owned()));
        codes.extend(
            said["checks"].as_array().unwrap().iter().map(|check| check["code"].as_str().unwrap().to_owned()),
        );
    }
}

fn time(value: &Value) -> Time {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

/// Judges all decisions on record again, by what is kept with them, and gives their number.
pub async fn judged_again(api: &Api) -> usize {
    let (mut judged, mut cursor) = (0, String::new());
    loop {
        let page = api.get(&format!("/decisions?inputs=true&limit=200{cursor}")).await.ok(200);
        for stored in page["items"].as_array().unwrap() {
            let inputs: Inputs = serde_json::from_value(stored["inputs"].clone()).unwrap();
            let verdict = evaluate(&inputs, time(&stored["evaluated_at"]));
            let again = json!({
                "allowed": verdict.allowed,
                "state": verdict.state(),
                "retry_at": verdict.retry_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)),
            });
            for (name, value) in again.as_object().unwrap() {
                assert_eq!(stored[name], *value, "{name} of {stored}");
            }
            for (check, then) in verdict.checks.iter().zip(stored["checks"].as_array().unwrap()) {
                let check = serde_json::to_value(check).unwrap();
                for name in ["rule", "mode", "outcome", "code", "message", "details"] {
                    assert_eq!(check[name], then[name], "{name} of {stored}");
                }
            }
            judged += 1;
        }
        let Some(next) = page["next_cursor"].as_str() else { return judged };
        cursor = format!("&cursor={next}");
    }
}

db_test!(
    async fn every_decision_is_what_the_history_says(db: TestDb) {
        let admin = Api::new(&db).await;
        let importer = admin.person("importer", &[Scope::Read, Scope::Record, Scope::Override], &[]).await;
        let pipeline = admin.person("pipeline", &[Scope::Read, Scope::Deploy], &[]).await;
        let history: History = serde_json::from_str(DATA).unwrap();
        let mut codes = BTreeSet::new();
        for number in 0..CUTS.len() {
            let cut = Cut::new(&history, number);
            cut.register(&admin, &history).await;
            cut.record(&importer).await;
            cut.ask(&pipeline, &mut codes).await;
            if number == 1 {
                cut.start(&pipeline, &mut codes).await;
            }
        }
        let expected = [
            "exempt",
            "freeze-window",
            "image-not-pinned",
            "image-repository",
            "off",
            "outdated",
            "pass",
            "promotion-missing",
            "scan-missing",
            "scan-stale",
            "soak-not-met",
            "vulnerability-budget",
        ];
        assert_eq!(codes, expected.map(str::to_owned).into());
        assert!(judged_again(&admin).await > 100);
        db.assert_sound().await;
    }
);
