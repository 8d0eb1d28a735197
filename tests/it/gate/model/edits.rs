//! The steps of the walk that change what the gate reads.

use chrono::{DateTime, DurationRound as _, TimeDelta, Timelike as _};
use serde_json::{Value, json};
use waybill::clock;

use super::{
    SERVICES, VERSIONS, Walk,
    ledger::{Described, Environment, Found, Scan, Success, Time, Voice, Waiver, When, Window},
    people::{Person, who},
    policy::{ENFORCE, OFF, Policy, REPORT, SEVERITIES},
};
use crate::support::{
    api::{Answer, Api, commit, id_of, image},
    random::Random,
};

pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];
const GROUPS: [&str; 2] = ["managers", "security"];
const SCANNERS: [&str; 2] = ["trivy", "other"];
const PLATFORMS: [&str; 2] = ["amd64", "arm64"];
const TIERS: [&str; 3] = ["production", "staging", "development"];
const REPOSITORIES: [&str; 5] = [
    "registry.example.com/shop",
    "registry.example.com/*",
    "**/shop",
    "registry.*/**",
    "registry.example.org/**",
];

pub fn time(value: &Value) -> Time {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

fn whole_seconds(at: Time) -> Time {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap()
}

fn mode(random: &mut Random) -> &'static str {
    random.pick::<&str>(&[ENFORCE, ENFORCE, REPORT, OFF, OFF])
}

fn policy(random: &mut Random, environment: &str) -> Policy {
    let mut policy = Policy::default();
    policy.freeze.mode = *random.pick(&[ENFORCE, ENFORCE, REPORT, OFF]);
    policy.freeze.exempt_kinds = random.some(&["rollback", "hotfix", "redeploy"]);
    let below = ENVIRONMENTS.iter().take_while(|other| **other != environment).copied().collect::<Vec<_>>();
    policy.promotion.from = random.some(&below);
    policy.promotion.mode = if policy.promotion.from.is_empty() { OFF } else { mode(random) };
    policy.promotion.all = random.once_in(2);
    policy.promotion.soak = TimeDelta::seconds(*random.pick(&[0, 0, 1, 2, 600, 3600]));
    policy.approval.mode = mode(random);
    policy.approval.required = *random.pick(&[1, 1, 2]);
    policy.approval.groups = random.some(&GROUPS);
    if random.once_in(3) {
        policy.approval.rules = vec![(random.some(&GROUPS), *random.pick(&[1, 2])), (vec!["security"], 1)];
    }
    policy.approval.require_known_initiator = random.once_in(2);
    policy.approval.allow_self = random.once_in(4);
    policy.vulnerabilities.mode = mode(random);
    policy.vulnerabilities.max[0] = Some(0);
    policy.vulnerabilities.max[1] = random.once_in(2).then_some(2);
    policy.vulnerabilities.only_fixable = random.once_in(3);
    policy.vulnerabilities.scanners = random.some(&SCANNERS);
    policy.vulnerabilities.require_scan = random.once_in(2);
    policy.vulnerabilities.max_age = random.once_in(2).then(|| TimeDelta::hours(1));
    policy.image.mode = mode(random);
    policy.image.allowed = if random.once_in(2) { vec![*random.pick(&REPOSITORIES)] } else { vec![] };
    policy.image.require_digest = policy.image.allowed.is_empty() || random.once_in(2);
    policy.outdated = *random.pick(&[ENFORCE, ENFORCE, REPORT, OFF]);
    policy
}

/// Counts by the names of the severities.
fn named(counts: [u32; 5]) -> serde_json::Map<String, Value> {
    SEVERITIES.iter().zip(counts).map(|(name, count)| ((*name).to_owned(), json!(count))).collect()
}

/// The other name of the so-manieth vulnerability of a severity.
fn advisory(severity: &str, number: u32) -> String {
    format!("ALAS-2026-{number}-{severity}")
}

/// A result of Trivy with so many vulnerabilities of each severity, the first of which have a fix.
fn result(Found { class, counts, fixable }: &Found) -> Value {
    let of = |((severity, count), fixable): ((&'static str, u32), u32)| {
        (0..count).map(move |number| {
            let id = format!("CVE-2026-{number:04}-{severity}");
            let fix = if number < fixable { "2" } else { "" };
            json!({ "VulnerabilityID": id, "VendorIDs": [advisory(severity, number)], "PkgName": "p", "FixedVersion": fix, "Severity": severity.to_uppercase() })
        })
    };
    let found: Vec<Value> = SEVERITIES.into_iter().zip(*counts).zip(*fixable).flat_map(of).collect();
    json!({ "Class": if *class == "os" { "os-pkgs" } else { "lang-pkgs" }, "Vulnerabilities": found })
}

impl Walk {
    pub async fn register_environments(&mut self) {
        for (name, tier) in ENVIRONMENTS.into_iter().zip(["development", "staging", "production"]) {
            let environment = Environment {
                tier: tier.to_owned(),
                confirmed: true,
                archived: false,
                locked_down: false,
                policy: Policy::default(),
            };
            // One was found by a deployment, and nobody has looked at it.
            self.people.admin.api.post("/environments", json!({ "name": name })).await.ok(201);
            self.ledger.environments.insert(name, environment);
        }
    }

    pub async fn set_policy(&mut self) {
        let name = *self.random.pick(&["staging", "prod", "prod"]);
        let policy = policy(&mut self.random, name);
        let answer = self.people.admin.api.put(&format!("/environments/{name}/policy"), policy.body()).await;
        if self.counts(&answer, &[200, 409, 422], "set a policy") {
            self.ledger.environments.get_mut(name).unwrap().policy = policy;
        }
    }

    pub async fn lock_down(&mut self) {
        let name = *self.random.pick(&["staging", "prod"]);
        let (path, admin) = (format!("/environments/{name}/lockdown"), self.people.admin.api.clone());
        let place = self.random.once_in(4);
        let answer = if place {
            admin.send_json(poem::http::Method::PUT, &path, &[], &json!({ "reason": "stop" })).await
        } else {
            admin.delete(&path).await
        };
        if self.counts(&answer, &[200, 204, 409], "a lockdown") {
            self.ledger.environments.get_mut(name).unwrap().locked_down = place;
        }
    }

    pub async fn edit_environment(&mut self) {
        let name = *self.random.pick(&["dev", "dev", "staging", "prod"]);
        let archive = self.random.once_in(if name == "dev" { 2 } else { 5 });
        let tier = if name == "prod" { "production" } else { *self.random.pick(&TIERS) };
        let body =
            if archive { json!({ "archived": true }) } else { json!({ "archived": false, "tier": tier }) };
        let answer = self.people.admin.api.patch(&format!("/environments/{name}"), body).await;
        if self.counts(&answer, &[200, 409], "an edit") {
            let environment = self.ledger.environments.get_mut(name).unwrap();
            environment.archived = archive;
            if !archive {
                tier.clone_into(&mut environment.tier);
            }
        }
    }

    pub async fn freeze(&mut self) {
        if self.ledger.windows.len() > 2 || self.random.once_in(2) {
            return self.thaw().await;
        }
        let mut body = json!({ "name": "pause", "reason": "hands off" });
        let (environments, tiers) = if self.random.once_in(2) {
            (vec![*self.random.pick(&["staging", "prod"])], vec![])
        } else {
            (vec![], vec![*self.random.pick(&TIERS)])
        };
        if environments.is_empty() {
            body["tiers"] = json!(tiers);
        } else {
            body["environments"] = json!(environments);
        }
        let services = if self.random.once_in(3) { vec![*self.random.pick(&SERVICES)] } else { vec![] };
        if !services.is_empty() {
            body["services"] = json!(services);
        }
        let now = whole_seconds(clock::now());
        let is_daily = |window: &Window| matches!(window.when, When::Daily { .. });
        let when = if self.random.once_in(3) && !self.ledger.windows.values().any(is_daily) {
            let ahead = TimeDelta::minutes(330);
            let minute = i64::from((now + ahead).num_seconds_from_midnight()) / 60;
            let from = (minute + i64::try_from(self.random.below(4)).unwrap() * 60 - 150).rem_euclid(1440);
            let to = (from + 100).rem_euclid(1440);
            body["start_cron"] = json!(format!("{} {} * * *", from % 60, from / 60));
            body["end_cron"] = json!(format!("{} {} * * *", to % 60, to / 60));
            body["timezone"] = json!("Asia/Kolkata");
            When::Daily { from, to, ahead }
        } else {
            let from = now + TimeDelta::seconds(*self.random.pick(&[-60, 0, 1, 600]));
            let to = now + TimeDelta::seconds(*self.random.pick(&[2, 3, 700, 5000]));
            let to = to.max(from + TimeDelta::seconds(1));
            (body["starts_at"], body["ends_at"]) = (json!(from), json!(to));
            When::Once(from, to)
        };
        let answer = self.people.admin.api.post("/freeze-windows", body).await;
        self.ledger.windows.insert(id_of(&answer.ok(201)), Window { environments, tiers, services, when });
    }

    async fn thaw(&mut self) {
        let ids: Vec<String> = self.ledger.windows.keys().cloned().collect();
        if ids.is_empty() {
            return;
        }
        let id = self.random.pick(&ids).clone();
        let path = format!("/freeze-windows/{id}");
        let window = self.ledger.windows.get_mut(&id).unwrap();
        if let When::Once(from, to) = &mut window.when
            && self.random.once_in(2)
        {
            let later = whole_seconds(clock::now()).max(*from) + TimeDelta::seconds(2);
            self.people.admin.api.patch(&path, json!({ "ends_at": later })).await.ok(200);
            *to = later;
            return;
        }
        self.people.admin.api.delete(&path).await.ok(204);
        self.ledger.windows.remove(&id);
    }

    pub async fn scan(&mut self) {
        let (service, version) = self.any_release();
        let Some(artefact) = self.known(service, &version) else { return };
        let back = *self.random.pick(&[0, 60, 3700, 3700, 9000]);
        let at = clock::now() - TimeDelta::seconds(back);
        let scanner = *self.random.pick(&SCANNERS);
        let platform = (scanner == "trivy" && !self.random.once_in(4)).then(|| *self.random.pick(&PLATFORMS));
        let classes: &[&str] = match (platform, self.random.below(3)) {
            (None, _) => &["all"],
            (Some(_), 0) => &["os"],
            (Some(_), 1) => &["language"],
            (Some(_), _) => &["os", "language"],
        };
        let mut found = |class: &&'static str| {
            let counts = std::array::from_fn(|_| u32::try_from(self.random.below(4) / 2 * 3).unwrap());
            let fixable = counts.map(|count| count.min(u32::try_from(self.random.below(4)).unwrap()));
            Found { class, counts, fixable }
        };
        let parts: Vec<Found> = classes.iter().map(&mut found).collect();
        let body = match platform {
            None => json!({ "scanner": scanner, "scanned_at": at, "counts": named(parts[0].counts) }),
            Some(platform) => {
                let image = self.ledger.releases[&(service, version.clone())].image.clone();
                json!({ "SchemaVersion": 2, "CreatedAt": at, "Results": parts.iter().map(result).collect::<Vec<_>>(),
                    "Metadata": { "RepoDigests": image.as_slice(), "ImageConfig": { "architecture": platform } } })
            }
        };
        let path = format!("/services/{service}/releases/{version}/scans");
        let answer = self.people.scanner.api.post(&path, body).await;
        if self.counts(&answer, &[201], "a scan") {
            let at = time(&answer.json()["scanned_at"]);
            let scan = Scan { scanner: scanner.to_owned(), at, platform, parts };
            self.ledger.scans.entry((service, artefact)).or_default().push(scan);
        }
    }

    /// Waives a vulnerability, mostly of the worst, for moments or for long; or withdraws what was waived.
    pub async fn waive(&mut self) {
        let manager = self.people.manager.api.clone();
        if self.ledger.waivers.len() > 5 || self.random.once_in(3) {
            let ids: Vec<String> = self.ledger.waivers.keys().cloned().collect();
            if !ids.is_empty() {
                let id = self.random.pick(&ids).clone();
                manager.delete(&format!("/waivers/{id}")).await.ok(204);
                self.ledger.waivers.remove(&id);
            }
            return;
        }
        let severity = *self.random.pick(&[0, 0, 0, 1]);
        let number = u32::try_from(self.random.below(3)).unwrap();
        let until = whole_seconds(clock::now()) + TimeDelta::seconds(*self.random.pick(&[2, 3, 600]));
        let vulnerability = if self.random.once_in(2) {
            advisory(SEVERITIES[severity], number)
        } else {
            format!("CVE-2026-{number:04}-{}", SEVERITIES[severity])
        };
        let service = self.random.once_in(2).then(|| self.any_service());
        let environment = self.random.once_in(2).then(|| *self.random.pick(&["staging", "prod"]));
        let mut body =
            json!({ "vulnerability": vulnerability, "reason": "nobody reaches it", "expires_at": until });
        for (names, name) in [("services", service), ("environments", environment)] {
            if let Some(name) = name {
                body[names] = json!([name]);
            }
        }
        let answer = manager.post("/waivers", body).await;
        // What is no id by its form must be one that a scan has given.
        if self.counts(&answer, &[201, 422], "a waiver") {
            let waiver = Waiver { severity, number, service, environment, until };
            self.ledger.waivers.insert(id_of(&answer.json()), waiver);
        }
    }

    pub async fn speak(&mut self) {
        let (service, version) = self.any_release();
        let environment = *self.random.pick(&["staging", "prod", "prod"]);
        let person = self.random.pick(&self.people.approvers).clone();
        let path = format!("/services/{service}/releases/{version}/approvals");
        let ids: Vec<&String> = self.ledger.voices.keys().collect();
        if !ids.is_empty() && self.random.once_in(4) {
            let id = (*self.random.pick(&ids)).clone();
            return self.withdraw(&person, &id).await;
        }
        let approves = !self.random.once_in(6);
        let decision = if approves { "approved" } else { "rejected" };
        let body = json!({ "environment": environment, "decision": decision });
        let answer = person.api.post(&path, body).await;
        if !self.counts(&answer, &[201, 200, 404, 409], "a voice") || answer.status == 200 {
            return;
        }
        let (made, about) = (answer.json(), (service, version, environment));
        let (subject, groups) = (person.subject.to_owned(), person.groups);
        self.ledger
            .voices
            .retain(|_, (other, voice)| *other != about || who(&voice.subject) != who(&subject));
        let image = self.ledger.releases[&(service, about.1.clone())].image.clone();
        let voice = Voice { subject, groups, approves, at: time(&made["created_at"]), image };
        self.ledger.voices.insert(id_of(&made), (about, voice));
    }

    async fn withdraw(&mut self, person: &Person, id: &str) {
        let ((service, version, _), voice) = self.ledger.voices[id].clone();
        let path = format!("/services/{service}/releases/{version}/approvals/{id}");
        let answer = person.api.delete(&path).await;
        let own = who(&voice.subject) == who(person.subject);
        assert_eq!(answer.status, if own { 204 } else { 403 }, "{}", answer.text);
        if answer.status == 204 {
            self.ledger.voices.remove(id);
        }
    }

    /// Registers a release, or gives one its image; what is on record already stays as it is.
    pub async fn register(&mut self) {
        let (service, version) = self.any_release();
        let person = self.random.pick(&self.people.deployers).clone();
        let (mut body, described) = self.release_of(&version, &person);
        body["version"] = json!(version);
        let answer = person.api.post(&format!("/services/{service}/releases"), body).await;
        if self.counts(&answer, &[201, 200, 409], "a registration") {
            self.ledger.registered(service, &version, described);
        }
    }

    /// Puts a success on record somewhere in the last two hours.
    pub async fn record(&mut self, person: &Person, credited: bool) {
        let place = self.any_place();
        let (_, mut version) = self.any_release();
        let (release, described) = self.release_of(&version, person);
        let kind = *self.random.pick(&["deploy", "deploy", "hotfix", "rollback", "remove"]);
        let back = TimeDelta::milliseconds(i64::try_from(self.random.below(7_200_000)).unwrap());
        let at = if self.random.once_in(3) { clock::now() } else { clock::now() - back };
        let mut body = json!({
            "service": place.0, "environment": place.1, "version": version, "release": release, "kind": kind,
            "status": "succeeded", "started_at": at, "finished_at": at,
        });
        let removal = kind == "remove";
        if removal {
            let Some(there) = self.ledger.target(place).at(Some(at)) else { return };
            version.clone_from(&there.version);
            body["version"] = json!(version);
            body.as_object_mut().unwrap().remove("release");
        }
        let answer = person.api.post("/deployments/record", body).await;
        if !self.counts(&answer, &[201, 409], "a record") {
            return;
        }
        self.ledger.used(place.1);
        if !removal {
            self.ledger.registered(place.0, &version, described);
        }
        let (at, artefact) = (time(&answer.json()["finished_at"]), self.ledger.artefact(place.0, &version));
        for run in self.ledger.runs.values_mut().filter(|run| run.place == place) {
            run.recorded_since |= at > run.started_at;
        }
        let target = self.ledger.targets.entry(place).or_default();
        let after = (kind == "rollback").then(|| target.reverts_after(&version, &artefact, at)).flatten();
        target.succeeded(Success { at, version, artefact, credited, reverted: None, removal }, after);
    }

    /// The release that everybody means by a version, as this person describes it, and the adversary at times otherwise.
    pub fn release_of(&mut self, version: &str, person: &Person) -> (Value, Described) {
        let number = VERSIONS.iter().position(|other| *other == version).unwrap();
        // Two versions share a digest; the last one has none to begin with, and another one comes from elsewhere.
        let digit = ['a', 'a', 'b', 'c', 'd', 'e'][number];
        let mut named = Some(image(digit));
        if number == 3 {
            named = named.map(|image| image.replace(".com", ".org"));
        }
        if number == 5 && !self.random.once_in(4) {
            named = None;
        }
        if self.random.once_in(10) {
            named = Some(image('f'));
        }
        let initiated_by =
            self.random.pick(&[None, None, Some("Ann"), Some("BEN"), Some(" Eve")]).map(str::to_owned);
        let ago = TimeDelta::days(1 + i64::try_from(self.random.below(5)).unwrap());
        let committed =
            self.random.once_in(2).then(|| clock::now().duration_trunc(TimeDelta::days(1)).unwrap() - ago);
        let body = json!({ "commit_sha": commit(version), "image": named, "initiated_by": initiated_by,
            "committed_at": committed });
        let body: serde_json::Map<_, _> =
            body.as_object().unwrap().clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
        let by = person.subject.to_owned();
        (Value::Object(body), Described { image: named, by, initiated_by, committed })
    }

    pub fn any_release(&mut self) -> (&'static str, String) {
        (self.any_service(), (*self.random.pick(&VERSIONS)).to_owned())
    }

    pub fn any_place(&mut self) -> super::ledger::Place {
        (self.any_service(), *self.random.pick(&["dev", "staging", "staging", "prod", "prod", "prod"]))
    }

    /// One of them at most times, so that its history is long.
    fn any_service(&mut self) -> &'static str {
        if self.random.once_in(6) { SERVICES[1] } else { SERVICES[0] }
    }

    /// The artefact of a release that is on record.
    pub fn known(&self, service: &'static str, version: &str) -> Option<String> {
        let release = self.ledger.releases.get(&(service, version.to_owned()))?;
        Some(release.artefact(version))
    }

    /// Whether something was answered with success; any other answer must be one of these.
    pub fn counts(&self, answer: &Answer, expected: &[u16], what: &str) -> bool {
        assert!(expected.contains(&answer.status), "{what}, {self}: {} {}", answer.status, answer.text);
        answer.status < 300
    }

    /// The adversary tries what is nobody's without the right to.
    pub async fn intrude(&mut self) {
        let eve: Api = self.random.pick(&self.people.adversary).api.clone();
        let (service, version) = self.any_release();
        let release = format!("/services/{service}/releases/{version}");
        let answers = match self.random.below(6) {
            5 => vec![
                eve.post(
                    "/waivers",
                    json!({ "vulnerability": "CVE-2026-0001", "reason": "because I say so",
                    "expires_at": clock::now() + TimeDelta::days(1) }),
                )
                .await,
            ],
            0 => vec![
                eve.put("/environments/prod/policy", Policy::default().body()).await,
                eve.patch("/environments/staging", json!({ "archived": false, "tier": "other" })).await,
                eve.patch("/environments/prod", json!({ "archived": true })).await,
            ],
            1 => vec![
                eve.delete("/environments/prod/lockdown").await,
                eve.put("/environments/prod/lockdown", json!({ "reason": "mine" })).await,
            ],
            2 => {
                let body = json!({ "scanner": "trivy", "scanned_at": clock::now(),
                    "counts": { "critical": 0, "high": 0, "medium": 0, "low": 0, "unknown": 0 } });
                vec![eve.post(&format!("{release}/scans"), body).await]
            }
            3 => {
                let ids: Vec<String> = self.ledger.windows.keys().cloned().collect();
                let id =
                    ids.first().cloned().unwrap_or_else(|| "01940000-0000-7000-8000-000000000000".to_owned());
                vec![
                    eve.delete(&format!("/freeze-windows/{id}")).await,
                    eve.patch(&format!("/freeze-windows/{id}"), json!({ "reason": "mine" })).await,
                ]
            }
            _ => {
                let body = json!({ "name": "mine", "subject": "ann", "scopes": ["approve"], "groups": ["managers"] });
                vec![eve.post("/tokens", body).await]
            }
        };
        for answer in answers {
            assert_eq!(answer.status, 403, "{}", answer.text);
        }
    }
}
