//! Random histories over all calls, by people with different rights and an adversary among them: what the gate says to each
//! start is what a model says that knows only what was answered before, and is written from the design's sentences.

pub mod edits;
pub mod ledger;
pub mod people;
pub mod policy;
pub mod rules;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

use self::{
    edits::time,
    ledger::{Ledger, Run},
    people::{People, Person},
    rules::{Finding, Question},
};
use crate::{
    db_test,
    gate::replay::judged_again,
    support::{
        api::{Answer, Api, id_of},
        db::TestDb,
        random::Random,
    },
};

const SERVICES: [&str; 2] = ["shop", "pay"];
const VERSIONS: [&str; 6] = ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"];
const SEEDS: [u64; 3] = [2, 30, 400];
const STEPS: u32 = 800;
/// At the end everybody is silent for a while, so often.
const ROUNDS_OF_SILENCE: u32 = 2;

/// A walk under way.
struct Walk {
    seed: u64,
    step: u32,
    random: Random,
    people: People,
    ledger: Ledger,
    /// How often each rule found what.
    seen: BTreeMap<String, u32>,
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} of seed {}", self.step, self.seed)
    }
}

/// The kinds that starts ask for, as often as they stand here.
const KINDS: &[Option<&str>] = &[
    None,
    None,
    Some("deploy"),
    Some("rollback"),
    Some("rollback"),
    Some("rollback"),
    Some("hotfix"),
    Some("redeploy"),
    Some("remove"),
];

impl Walk {
    async fn step(&mut self) {
        match self.random.below(42) {
            0..16 => self.start().await,
            16..23 => self.finish().await,
            23 => self.heartbeat().await,
            24 => self.register().await,
            25..28 => {
                let importer = self.people.importer.clone();
                self.record(&importer, true).await;
            }
            28..30 => {
                let reporter = self.random.pick(&self.people.reporters).clone();
                self.record(&reporter, false).await;
            }
            30 => self.set_policy().await,
            31 => self.lock_down().await,
            32 | 40 => self.edit_environment().await,
            33 => self.freeze().await,
            34..36 => self.scan().await,
            36..39 => self.speak().await,
            39 => self.waive().await,
            _ => self.intrude().await,
        }
    }

    /// Asks the gate at times, then starts.
    async fn start(&mut self) {
        let place = self.any_place();
        let (_, mut version) = self.any_release();
        let overrides = self.random.once_in(12);
        let deployer = self.random.pick(&self.people.deployers).clone();
        let person = if overrides { self.people.manager.clone() } else { deployer };
        let kind = *self.random.pick(KINDS);
        if kind == Some("remove") && self.random.once_in(2) {
            let Some(current) = self.ledger.target(place).current() else { return };
            version.clone_from(&current.version);
        }
        let preempt = self.random.once_in(if kind == Some("rollback") { 2 } else { 20 });
        let initiated_by = *self.random.pick(&[None, None, Some("ann"), Some("c\u{200d}yd")]);
        let mut body =
            json!({ "service": place.0, "environment": place.1, "version": version, "preempt": preempt });
        for (name, value) in [("kind", kind), ("initiated_by", initiated_by)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        if overrides {
            body["override"] = json!({ "reason": "because I have to" });
        }
        let target = self.ledger.target(place);
        let current = target.current().map(|current| current.version.clone());
        let kind = kind.unwrap_or(if current.as_ref() == Some(&version) { "redeploy" } else { "deploy" });
        let question = Question {
            service: place.0,
            environment: place.1,
            version: version.clone(),
            kind,
            preempt,
            initiated_by: initiated_by.map(str::to_owned),
            deployer: Some(person.subject.to_owned()),
            may_hotfix: person.may_hotfix,
            overrides,
            at: chrono::DateTime::UNIX_EPOCH,
        };
        let is_known = self.known(place.0, &version).is_some();
        if kind == "remove" && !is_known {
            return;
        }
        let asked = if is_known && self.random.once_in(2) {
            Some(self.check(&person, &question, &body).await)
        } else {
            None
        };
        let mut given = None;
        if kind != "remove" && (!is_known || self.random.once_in(4)) {
            let (release, described) = self.release_of(&version, &person);
            body["release"] = release;
            given = Some(described);
        }
        let lease = *self.random.pick(&[1, 600]);
        body["lease_seconds"] = json!(lease);
        let answer = person.api.post("/deployments", body).await;
        assert!([201, 409, 422].contains(&answer.status), "{self}: {} {}", answer.status, answer.text);
        if given.is_none() {
            self.answered(&question, &answer);
        }
        let Some(decision) = decision_of(&answer) else { return };
        self.ledger.used(place.1);
        if let Some(described) = given {
            self.ledger.registered(place.0, &version, described);
        }
        self.judge(&person, question, &answer, &decision, asked.flatten());
    }

    /// A start is refused without a decision when it is no question for the gate, and only then.
    fn answered(&mut self, question: &Question, answer: &Answer) {
        let refused = decision_of(answer).is_none().then_some(answer.status);
        let refusal = rules::refusal(&self.ledger, question);
        assert_eq!(refused, refusal, "{self}, a start of {question:?}: {}", answer.text);
        if refusal.is_some() {
            *self.seen.entry(format!("refused a {}", question.kind)).or_default() += 1;
        }
    }

    /// What the gate says when it is only asked, for the caller, for somebody else or for nobody in particular; nothing
    /// where it refuses to be asked that.
    async fn check(&mut self, person: &Person, question: &Question, body: &Value) -> Option<Asked> {
        let mut body = body.clone();
        body["record"] = json!(self.random.once_in(4));
        let deployer = match self.random.below(4) {
            0 => None,
            1 => Some(*self.random.pick(&["Ann", "BEN", "somebody"])),
            _ => Some(person.subject),
        };
        if deployer == Some(person.subject) {
            body["for_caller"] = json!(true);
        } else if let Some(deployer) = deployer {
            body["deployer"] = json!(deployer);
        }
        let answer = person.api.post("/gate/check", body).await;
        let refusal = rules::refusal(&self.ledger, question);
        assert_eq!(answer.status, refusal.unwrap_or(200), "{self}, a check of {question:?}: {}", answer.text);
        if refusal.is_some() {
            return None;
        }
        let said = answer.json();
        assert_eq!(said["deployer"], json!(deployer), "{self}: {said}");
        let deployer = deployer.map(str::to_owned);
        let question = Question { at: time(&said["evaluated_at"]), deployer, ..question.clone() };
        let right = rules::answer(&self.ledger, &question);
        assert_eq!(heard(&said), right, "{self}, a check of {question:?}: {said}");
        let reverts_after = self.reverts_after(&question);
        let told = &said["reverts_since"];
        assert_eq!((!told.is_null()).then(|| time(told)), reverts_after, "{self}: {question:?}");
        let state = said["state"].as_str().unwrap().to_owned();
        let waivers = self.ledger.holding_waivers(question.at);
        (said["deployer"] == person.subject).then_some(Asked { right, waivers, state })
    }

    /// Compares the gate's answer with the model's, and carries on with what it was.
    fn judge(
        &mut self,
        person: &Person,
        mut question: Question,
        answer: &Answer,
        decision: &Value,
        asked: Option<Asked>,
    ) {
        question.at = time(&decision["evaluated_at"]);
        let right = rules::answer(&self.ledger, &question);
        let what = format!("{self}, {question:?} by {}: {decision}", person.subject);
        assert_eq!(heard(decision), right, "{what}");
        assert_eq!(answer.status == 201, right.allowed, "{what}");
        let waivers = self.ledger.holding_waivers(question.at);
        if let Some(then) = asked.filter(|then| (&then.right, then.waivers) == (&right, waivers)) {
            assert_eq!(decision["state"], then.state, "what was checked; {what}");
        }
        for (_, finding) in right.rules.values() {
            let code = if let Finding::Fails(code, _) = finding {
                (*code).to_owned()
            } else {
                format!("{finding:?}")
            };
            *self.seen.entry(code).or_default() += 1;
        }
        self.ledger.looked_at((question.service, question.environment), question.at);
        let outcome = if right.allowed { "allowed" } else { "denied" };
        *self.seen.entry(outcome.to_owned()).or_default() += 1;
        if !right.allowed {
            // Whatever was overdue is over now, but for a result that comes late.
            return;
        }
        if question.kind == "remove" {
            *self.seen.entry("removed".to_owned()).or_default() += 1;
        }
        let started = &answer.json()["deployment"];
        let place = (question.service, question.environment);
        let artefact = self.ledger.artefact(place.0, &question.version);
        let reverts_after = self.reverts_after(&question);
        let run = Run {
            place,
            version: question.version,
            artefact,
            started_at: time(&started["started_at"]),
            lease_ends: time(&started["lease_expires_at"]),
            found_silent: false,
            recorded_since: false,
            reverts_after,
            removal: question.kind == "remove",
        };
        self.ledger.started(id_of(started), run);
    }

    /// Since when what a rollback would take back became current.
    fn reverts_after(&self, question: &Question) -> Option<ledger::Time> {
        let target = self.ledger.target((question.service, question.environment));
        let artefact = self.ledger.artefact(question.service, &question.version);
        let is_rollback = question.kind == "rollback";
        is_rollback.then(|| target.reverts_after(&question.version, &artefact, question.at)).flatten()
    }

    /// Finishes something, also what has expired or was cancelled.
    async fn finish(&mut self) {
        let ids: Vec<String> = self.ledger.runs.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.random.pick(&ids).clone();
        let status = *self.random.pick(&["succeeded", "succeeded", "succeeded", "failed", "canceled"]);
        let person = self.random.pick(&self.people.deployers).clone();
        let answer = person.api.post(&format!("/deployments/{id}/finish"), json!({ "status": status })).await;
        if self.counts(&answer, &[200, 409], "a finish") {
            let ended = answer.json();
            // A cancelled one may be told again that it is.
            let again = self.ledger.target(self.ledger.runs[&id].place).running.as_ref() != Some(&id)
                && ended["status"] == "canceled";
            let at = (ended["status"] == "succeeded" && !again).then(|| time(&ended["finished_at"]));
            let place = self.ledger.runs[&id].place;
            self.ledger.finished(&id, at);
            let shown = self.people.admin.api.target(&format!("{}/{}", place.0, place.1)).await;
            let choice = self.ledger.target(place).choices().first().copied();
            assert_eq!(shown["rollback_to"]["version"].as_str(), choice, "{self}: {shown}");
        } else {
            self.ledger.given_up(&id);
        }
    }

    async fn heartbeat(&mut self) {
        let ids: Vec<String> = self.ledger.runs.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.random.pick(&ids).clone();
        self.beat(id).await;
    }

    /// Starts and finishes until something runs that will soon have been silent for too long.
    async fn get_busy(&mut self) {
        for _ in 0..STEPS / 8 {
            let soon = waybill::clock::now() + Duration::from_secs(2);
            let mut running = self.ledger.targets.values().filter_map(|target| target.running.as_ref());
            if running.any(|id| self.ledger.runs[id].lease_ends < soon) {
                return;
            }
            self.start().await;
            if self.random.once_in(4) {
                self.finish().await;
            }
        }
    }

    /// Has the server find out which leases have run out, and has the pipelines of most go on.
    async fn find_silent(&mut self) {
        let eve = self.people.deployers[0].api.clone();
        waybill::usecase::upkeep::expire_leases(&eve.app).await.unwrap();
        let ids: Vec<String> =
            self.ledger.targets.values().filter_map(|target| target.running.clone()).collect();
        for (place, id) in ids.into_iter().enumerate() {
            let deployment = self.people.admin.api.deployment(&id).await;
            let Some(run) = self.ledger.runs.get_mut(&id) else { continue };
            run.found_silent = deployment["status"] == "expired";
            if run.found_silent && place % 3 != 2 {
                self.beat(id).await;
            }
        }
    }

    async fn beat(&mut self, id: String) {
        let eve = self.people.deployers[0].api.clone();
        let answer = eve.post(&format!("/deployments/{id}/heartbeat"), json!({ "phase": "on" })).await;
        let goes_on = self.ledger.may_go_on(&id);
        assert_eq!(answer.status, if goes_on { 200 } else { 409 }, "{self}: a heartbeat: {}", answer.text);
        if !goes_on {
            return;
        }
        let run = self.ledger.runs.get_mut(&id).unwrap();
        run.lease_ends = time(&answer.json()["lease_expires_at"]);
        if std::mem::take(&mut run.found_silent) {
            *self.seen.entry("resumed".to_owned()).or_default() += 1;
        }
    }
}

/// What the gate was asked just before a start, for the one who starts.
struct Asked {
    right: rules::Answer,
    /// How many waivers held: how much is over the budget is part of the reason.
    waivers: usize,
    state: String,
}

/// The decision in the answer to a start, unless it was refused for another reason.
fn decision_of(answer: &Answer) -> Option<Value> {
    let body = answer.json();
    Some(body["decision"].clone()).filter(|decision| !decision.is_null())
}

/// What a decision says, in the model's words.
pub fn heard(decision: &Value) -> rules::Answer {
    const WORDS: [&str; 17] = [
        "enforce",
        "report",
        "off",
        "concurrent-deployment",
        "lockdown",
        "freeze-window",
        "promotion-missing",
        "soak-not-met",
        "promotion-source-invalid",
        "approval-missing",
        "approval-rejected",
        "initiator-unknown",
        "vulnerability-budget",
        "scan-missing",
        "scan-stale",
        "image-not-pinned",
        "image-repository",
    ];
    const RULES: [&str; 8] = [
        "concurrency",
        "lockdown",
        "freeze",
        "promotion",
        "approval",
        "vulnerabilities",
        "image",
        "outdated",
    ];
    let word = |value: &Value| {
        let said = value.as_str().unwrap();
        let known = WORDS.iter().chain(&RULES).find(|word| **word == said);
        *known.unwrap_or_else(|| panic!("{said} is no word of the gate: {decision}"))
    };
    let maybe = |value: &Value| (!value.is_null()).then(|| time(value));
    let finding = |check: &Value| match check["outcome"].as_str().unwrap() {
        "pass" => Finding::Holds,
        "skipped" if check["code"] == "exempt" => Finding::Exempt,
        "skipped" => Finding::Off,
        _ => Finding::Fails(word(&check["code"]), maybe(&check["retry_at"])),
    };
    let checks = decision["checks"].as_array().unwrap();
    let rules = checks.iter().map(|check| (word(&check["rule"]), (word(&check["mode"]), finding(check))));
    rules::Answer {
        allowed: decision["allowed"].as_bool().unwrap(),
        retry_at: maybe(&decision["retry_at"]),
        rules: rules.collect(),
    }
}

async fn walk(api: &Api, seed: u64, codes: &mut BTreeMap<String, u32>) {
    let people = People::new(api).await;
    let (ledger, random) = (Ledger::default(), Random(seed));
    let mut walk = Walk { seed, step: 0, random, people, ledger, seen: std::mem::take(codes) };
    for name in SERVICES {
        api.post("/services", json!({ "name": name })).await.ok(201);
    }
    walk.register_environments().await;
    for step in 0..STEPS {
        walk.step = step;
        walk.step().await;
        if step % 50 == 49 {
            // Short leases, soaks and freezes end.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    for round in 1..=ROUNDS_OF_SILENCE {
        walk.get_busy().await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        walk.find_silent().await;
        for step in 0..STEPS / 20 {
            walk.step = STEPS * round + step;
            walk.step().await;
        }
    }
    *codes = walk.seen;
}

async fn connected(db: &TestDb) -> Api {
    Api::with(db, |config| config.ledger.rollback_depth = u32::try_from(rules::DEPTH).unwrap()).await
}

/// Every reason that a rule can give; each must have come up.
const CODES: [&str; 15] = [
    "concurrent-deployment",
    "lockdown",
    "freeze-window",
    "promotion-missing",
    "soak-not-met",
    "promotion-source-invalid",
    "approval-missing",
    "approval-rejected",
    "initiator-unknown",
    "vulnerability-budget",
    "scan-missing",
    "scan-stale",
    "image-not-pinned",
    "image-repository",
    "outdated",
];

db_test!(
    async fn no_history_starts_what_the_policy_forbids(db: TestDb) {
        let mut seen = BTreeMap::new();
        for seed in SEEDS {
            let own = if db.is_postgres() { TestDb::postgres().await } else { TestDb::sqlite().await };
            let api = connected(&own).await;
            walk(&api, seed, &mut seen).await;
            assert!(judged_again(&api).await > 50);
            own.assert_sound().await;
        }
        let often = |what: &str| seen.get(what).copied().unwrap_or_default();
        for code in CODES {
            assert!(often(code) > 0, "no start failed by {code}: {seen:?}");
        }
        assert!(often("refused a rollback") > 0, "none was to what is current: {seen:?}");
        assert!(often("removed") > 0 && often("refused a remove") > 0, "{seen:?}");
        assert!(often("resumed") > 0, "nothing that had expired went on: {seen:?}");
        assert!(often("allowed") > 100 && often("denied") > 100 && often("Exempt") > 10, "{seen:?}");
    }
);
