//! What the model knows: nothing but what was asked for and answered with success, and the times of the answers.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{people::who, policy::Policy};

pub type Time = DateTime<Utc>;
/// A service and an environment.
pub type Place = (&'static str, &'static str);

#[derive(Clone, Debug)]
pub struct Release {
    /// Its place in the order of registration.
    pub number: usize,
    /// When its commit was made, days before anything here was registered.
    pub committed: Option<Time>,
    pub image: Option<String>,
    /// Who initiated or recorded it, or added its image.
    pub makers: BTreeSet<String>,
    /// Whether somebody is known to have initiated it.
    pub initiated: bool,
}

/// A release as somebody describes it.
#[derive(Clone, Debug)]
pub struct Described {
    pub image: Option<String>,
    /// Who records it.
    pub by: String,
    pub initiated_by: Option<String>,
    pub committed: Option<Time>,
}

/// A success of a target.
#[derive(Clone, Debug)]
pub struct Success {
    pub at: Time,
    pub version: String,
    pub artefact: String,
    /// Whether it went through the gate, or was put on record by somebody who may override.
    pub credited: bool,
    /// The rollback that took it back.
    pub reverted: Option<Reversal>,
    /// Whether it left nothing there.
    pub removal: bool,
}

/// What a rollback took back: what became current between two moments, but for the release that it returned to.
#[derive(Clone, Debug)]
pub struct Reversal {
    after: Time,
    pub at: Time,
    version: String,
    artefact: String,
}

/// A deployment that was let start.
#[derive(Clone, Debug)]
pub struct Run {
    pub place: Place,
    pub version: String,
    pub artefact: String,
    pub started_at: Time,
    pub lease_ends: Time,
    /// Whether somebody has looked at the target after the lease had run out: it is `expired` then.
    pub found_silent: bool,
    /// Whether anything was put on record there as having happened since it started.
    pub recorded_since: bool,
    /// For a rollback: it takes back what became current after this.
    pub reverts_after: Option<Time>,
    /// "Kind `remove` takes a service out of an environment."
    pub removal: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Target {
    /// In the order of time.
    pub successes: Vec<Success>,
    reversals: Vec<Reversal>,
    /// The id of what is under way, unless its lease has run out.
    pub running: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Environment {
    pub tier: String,
    pub confirmed: bool,
    pub archived: bool,
    pub locked_down: bool,
    pub policy: Policy,
}

/// What a subject says to a release going to an environment.
#[derive(Clone, Debug)]
pub struct Voice {
    pub subject: String,
    pub groups: BTreeSet<String>,
    pub approves: bool,
    pub at: Time,
    /// The image that the release had.
    pub image: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Scan {
    pub scanner: String,
    pub at: Time,
    /// None of a plain report, which is of every one.
    pub platform: Option<&'static str>,
    /// For each class of packages what was found; a plain report is of all packages.
    pub parts: Vec<Found>,
}

/// What was found in packages of a class: how many, in the order of the severities, and how many of these have a fix.
#[derive(Clone, Debug)]
pub struct Found {
    pub class: &'static str,
    pub counts: [u32; 5],
    pub fixable: [u32; 5],
}

/// A vulnerability that does not count for a while: the so-manieth of a severity, in a service and in an environment, or in
/// all of them.
#[derive(Clone, Debug)]
pub struct Waiver {
    pub severity: usize,
    pub number: u32,
    pub service: Option<&'static str>,
    pub environment: Option<&'static str>,
    pub until: Time,
}

#[derive(Clone, Debug)]
pub struct Window {
    pub environments: Vec<&'static str>,
    pub tiers: Vec<&'static str>,
    /// "Freeze windows may name `services`"; all where it names none.
    pub services: Vec<&'static str>,
    pub when: When,
}

#[derive(Clone, Debug)]
pub enum When {
    Once(Time, Time),
    /// Every day, from one minute of the day to another, where clocks are ahead of UTC by so much.
    Daily {
        from: i64,
        to: i64,
        ahead: TimeDelta,
    },
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub releases: BTreeMap<(&'static str, String), Release>,
    pub environments: BTreeMap<&'static str, Environment>,
    pub targets: BTreeMap<Place, Target>,
    /// Those that are not over, or might still be finished late.
    pub runs: BTreeMap<String, Run>,
    /// By the id, of the service, version and environment that each is about.
    pub voices: BTreeMap<String, ((&'static str, String, &'static str), Voice)>,
    /// By the service and the artefact, in the order of arrival.
    pub scans: BTreeMap<(&'static str, String), Vec<Scan>>,
    pub windows: BTreeMap<String, Window>,
    pub waivers: BTreeMap<String, Waiver>,
}

impl Environment {
    /// "A start revives an archived environment of tier `development` or `testing`; others stay archived."
    pub fn is_shut(&self) -> bool {
        self.archived && !["development", "testing"].contains(&self.tier.as_str())
    }
}

impl Release {
    /// "`least(committed_at, created_at)` where a commit time came with it, else `created_at`; ties by number."
    pub fn order(&self) -> (bool, Option<Time>, usize) {
        (self.committed.is_none(), self.committed, self.number)
    }

    /// "The image digest where both releases have one, else the version."
    pub fn artefact(&self, version: &str) -> String {
        let digest = self.image.as_ref().map(|image| image.split('@').nth(1).unwrap());
        digest.unwrap_or(version).to_owned()
    }
}

impl Ledger {
    /// How many waivers hold at a moment.
    pub fn holding_waivers(&self, at: Time) -> usize {
        self.waivers.values().filter(|waiver| waiver.until > at).count()
    }

    pub fn artefact(&self, service: &'static str, version: &str) -> String {
        self.releases[&(service, version.to_owned())].artefact(version)
    }

    pub fn target(&self, place: Place) -> &Target {
        const NOTHING: &Target = &Target { successes: Vec::new(), reversals: Vec::new(), running: None };
        self.targets.get(&place).unwrap_or(NOTHING)
    }

    /// Something got as far as the gate here, or was put on record.
    pub fn used(&mut self, environment: &str) {
        self.environments.get_mut(environment).unwrap().archived = false;
    }

    /// A release is on record; known already, it may only have gained its image.
    pub fn registered(
        &mut self,
        service: &'static str,
        version: &str,
        Described { image, by, initiated_by, committed }: Described,
    ) {
        let number = self.releases.keys().filter(|(other, _)| *other == service).count();
        let release = self.releases.entry((service, version.to_owned()));
        let by = who(&by).to_owned();
        let release = release.or_insert_with(|| Release {
            number,
            committed,
            image: image.clone(),
            makers: initiated_by.iter().map(|name| who(name).to_owned()).chain([by.clone()]).collect(),
            initiated: initiated_by.is_some(),
        });
        if release.image.is_none() && image.is_some() {
            release.image = image;
            release.makers.insert(by);
        }
    }

    pub fn started(&mut self, id: String, run: Run) {
        self.targets.entry(run.place).or_default().running = Some(id.clone());
        self.runs.insert(id, run);
    }

    /// Somebody wants to start something here, and finds out whether what runs is silent.
    pub fn looked_at(&mut self, place: Place, at: Time) {
        let Some(id) = self.targets.get(&place).and_then(|target| target.running.as_ref()) else { return };
        let Some(run) = self.runs.get_mut(id) else { return };
        run.found_silent |= run.lease_ends <= at;
    }

    /// "A heartbeat for an `expired` deployment resumes it, unless anything was started or recorded in the target since."
    pub fn may_go_on(&self, id: &str) -> bool {
        let run = &self.runs[id];
        let has_target = self.target(run.place).running.as_deref() == Some(id);
        let is_open = !self.environments[run.place.1].archived;
        has_target && (!run.found_silent || !run.recorded_since && is_open)
    }

    /// A deployment ended; `succeeded_at` is when, if it went well.
    pub fn finished(&mut self, id: &str, succeeded_at: Option<Time>) {
        let run = self.runs.remove(id).unwrap();
        let target = self.targets.entry(run.place).or_default();
        if target.running.as_deref() == Some(id) {
            target.running = None;
        }
        let Some(at) = succeeded_at else { return };
        let Run { version, artefact, removal, .. } = run;
        let success = Success { at, version, artefact, credited: true, reverted: None, removal };
        target.succeeded(success, run.reverts_after);
    }

    /// A deployment had ended otherwise, or its result came too late.
    pub fn given_up(&mut self, id: &str) {
        let run = self.runs.remove(id).unwrap();
        let target = self.targets.entry(run.place).or_default();
        target.running.take_if(|running| running == id);
    }

    /// What stands of what was said to a release going to an environment.
    pub fn voices(&self, service: &str, version: &str, environment: &str) -> impl Iterator<Item = &Voice> {
        let about = (service.to_owned(), version.to_owned(), environment.to_owned());
        self.voices.values().filter_map(move |((service, version, environment), voice)| {
            ((*service, version.as_str(), *environment)
                == (about.0.as_str(), about.1.as_str(), about.2.as_str()))
                .then_some(voice)
        })
    }
}

impl Target {
    /// What is current: "after a removal nothing is".
    pub fn current(&self) -> Option<&Success> {
        self.at(None)
    }

    /// What was current right before a moment, or is now.
    pub fn at(&self, before: Option<Time>) -> Option<&Success> {
        let past = self.successes.iter().rev();
        past.filter(|success| before.is_none_or(|at| success.at < at)).take(1).find(|last| !last.removal)
    }

    /// What was put there, in the order of time.
    fn put(&self) -> impl DoubleEndedIterator<Item = &Success> {
        self.successes.iter().filter(|success| !success.removal)
    }

    /// Since when what a rollback to this release takes back became current, if it starts or is put on record at `at`:
    /// since the release was last put there, or else its artefact, or else all of the stay that the rollback ends. That
    /// is the stay of a release where the artefact goes on.
    pub fn reverts_after(&self, version: &str, artefact: &str, at: Time) -> Option<Time> {
        let past: Vec<_> = self.put().rev().filter(|success| success.at < at).collect();
        if let Some(there) = past.iter().find(|success| success.version == version) {
            return Some(there.at);
        }
        let Some(ended) = self.at(Some(at)) else {
            return past.iter().find(|success| success.artefact == artefact).map(|there| there.at);
        };
        let removed = self.successes.iter().rev().find(|success| success.removal && success.at < at);
        let since = removed.map(|removal| removal.at);
        let mut stay: Vec<_> = past.iter().copied().filter(|success| Some(success.at) > since).collect();
        if ended.artefact == artefact {
            stay = stay.into_iter().take_while(|success| success.version == ended.version).collect();
        } else if let Some(there) = past.iter().find(|success| success.artefact == artefact) {
            return Some(there.at);
        } else {
            stay = stay.into_iter().take_while(|success| success.artefact == ended.artefact).collect();
        }
        Some(stay.last().unwrap().at - TimeDelta::microseconds(1))
    }

    /// Something succeeded here, now or, as it is put on record, before.
    pub fn succeeded(&mut self, mut success: Success, reverts_after: Option<Time>) {
        let (at, version, artefact) = (success.at, success.version.clone(), success.artefact.clone());
        let takes_back =
            |reversal: &&Reversal| reversal.after < at && at < reversal.at && reversal.version != version;
        success.reverted =
            self.reversals.iter().filter(takes_back).min_by_key(|reversal| reversal.at).cloned();
        let place = self.successes.partition_point(|other| other.at < at);
        self.successes.insert(place, success);
        let Some(after) = reverts_after else { return };
        let reversal = Reversal { after, at, version, artefact };
        for past in &mut self.successes {
            if after < past.at && past.at < at && past.version != reversal.version {
                past.reverted.get_or_insert_with(|| reversal.clone());
            }
        }
        self.reversals.push(reversal);
    }

    /// "A release is reverted when a rollback takes it away": when that last was here.
    fn release_reverted_at(&self, version: &str) -> Option<Time> {
        let same = self.put().filter(|success| success.version == version);
        same.filter_map(|success| success.reverted.as_ref()).map(|reversal| reversal.at).max()
    }

    /// "Its artefact too, only if the rollback returns to another artefact": when that last was here.
    fn artefact_reverted_at(&self, artefact: &str) -> Option<Time> {
        let same = self.put().filter(|success| success.artefact == artefact);
        let reversals = same.filter_map(|success| success.reverted.as_ref());
        reversals.filter(|reversal| reversal.artefact != artefact).map(|reversal| reversal.at).max()
    }

    /// When a release or its artefact was last reverted here.
    pub fn reverted_at(&self, version: &str, artefact: &str) -> Option<Time> {
        self.release_reverted_at(version).max(self.artefact_reverted_at(artefact))
    }

    /// The stays of an artefact here, each from when it first went through the gate, with the end of those that are over;
    /// as they count for one of its releases. Once a rollback to another has taken that one back alone, it must have been put
    /// there anew.
    pub fn stays(&self, version: &str, artefact: &str) -> Vec<(Time, Option<Time>)> {
        let own = self.put().filter(|success| success.version == version);
        let alone = own.filter_map(|success| success.reverted.as_ref());
        let alone = alone.filter(|reversal| reversal.artefact == artefact).map(|reversal| reversal.at).max();
        let is_anew =
            |success: &&Success| alone.is_none_or(|at| success.version == version && success.at > at);
        let mut stays = Vec::new();
        let is_one =
            |one: &Success, next: &Success| one.artefact == next.artefact && !one.removal && !next.removal;
        for stay in self.successes.chunk_by(is_one).filter(|stay| !stay[0].removal) {
            let credited = stay.iter().filter(is_anew).find(|success| success.credited);
            if let Some(first) = credited.filter(|first| first.artefact == artefact) {
                let last = stay.last().unwrap().at;
                stays.push((first.at, self.successes.iter().map(|other| other.at).find(|at| *at > last)));
            }
        }
        stays
    }

    /// The versions that a rollback may return to as verified choices, those that went through the gate last before the
    /// others: "when that release succeeded here through the gate, is not current, and was not itself reverted here".
    pub fn choices(&self) -> Vec<&str> {
        let mut choices = Vec::new();
        let credited = || self.put().rev().filter(|success| success.credited);
        for success in credited() {
            let (version, artefact) = (success.version.as_str(), success.artefact.as_str());
            let of_artefact = credited().find(|other| other.artefact == artefact).map(|other| other.at);
            let is_reverted = self.release_reverted_at(version) > Some(success.at)
                || self.artefact_reverted_at(artefact) > of_artefact;
            let is_current = self.current().is_some_and(|current| current.version == version);
            if !is_current && !is_reverted && !choices.contains(&version) {
                choices.push(version);
            }
        }
        choices
    }
}
