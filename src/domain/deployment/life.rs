//! The moves of a deployment's life, each with what it means for the target. Whoever calls them holds the locks of both.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    Deployment, Entry, Plan, Progress, Standing, Times,
    advance::{Command, Move, Refused, Situation, advance},
    is_beyond, lease_end,
};
use crate::domain::{
    actor::Actor,
    fault::Faults,
    release::{NOTHING, Release},
    rollback::Return,
    target::{Current, Running, Target, mended_stay},
    vocabulary::{Kind, Outcome, Scope, Status},
};

/// A deployment that the gate lets start.
#[derive(Debug)]
pub struct New<'a> {
    pub id: Uuid,
    pub release: &'a Release,
    pub kind: Kind,
    pub plan: Plan,
    pub lease_seconds: i64,
    pub override_reason: Option<String>,
    /// The gate's answer that lets it start.
    pub decision_id: Uuid,
    /// What it means as a rollback.
    pub back: Return,
    pub actor: Actor,
    /// The credential of the pipeline that starts it; none for others.
    pub credential: Option<Uuid>,
}

/// A deployment that is over when it comes on record.
#[derive(Clone, Debug)]
pub struct Past {
    pub kind: Kind,
    pub plan: Plan,
    /// A line for people.
    pub message: Option<String>,
    pub outcome: Outcome,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    /// Whether its pipeline went on without asking the gate.
    pub ungated: bool,
}

impl Past {
    /// Checks what decides something; the rest is descriptive ([`crate::domain::descriptive`]).
    pub fn validate(&self, faults: &mut Faults) {
        self.plan.validate(faults);
        if self.finished_at < self.started_at {
            faults.add("/finished_at", "before-start", "must not be before started_at");
        }
    }

    /// The scopes of which one puts it on record. What went on without the gate, and began no longer ago than a deployment
    /// may run, is told by whoever may deploy there: it is marked as ungated, earns nothing, and would be missing otherwise.
    /// Everything else is a claim about the past, for which there is a scope of its own.
    pub fn told_with(&self, now: DateTime<Utc>, lease_max: Duration) -> &'static [Scope] {
        let age = (now - self.started_at).to_std().unwrap_or_default();
        if self.ungated && age <= lease_max { &[Scope::Record, Scope::Deploy] } else { &[Scope::Record] }
    }
}

/// What is there once a deployment of this kind has succeeded, as stays are measured.
fn leaves(kind: Kind, release: &Release) -> String {
    if kind.ships() { release.identity.artefact() } else { NOTHING.to_owned() }
}

/// The end of a deployment.
#[derive(Clone, Debug)]
pub struct End {
    pub at: DateTime<Utc>,
    /// What was said with it.
    pub message: Option<String>,
    /// The deployment that was current until then, where this one took its place.
    pub superseded: Option<Uuid>,
}

/// What a finish does.
#[derive(Clone, Debug)]
pub enum Finish {
    /// It ends.
    Now(End),
    /// It had ended so before.
    Already,
    /// It comes too late to count. Kept beside the status at a moment, unless another was kept before.
    TooLate { kept_at: Option<DateTime<Utc>> },
}

/// What a heartbeat does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The lease begins anew.
    Renewed,
    /// It had run out, and the deployment goes on.
    Resumed {
        at: DateTime<Utc>,
        /// When it was found silent for too long.
        expired_at: Option<DateTime<Utc>>,
    },
}

/// A success that lies next to a moment in a target's history.
#[derive(Clone, Debug)]
pub struct Neighbour {
    pub id: Uuid,
    pub release_id: Uuid,
    /// What stays are measured by.
    pub artefact: String,
    /// When it became current.
    pub finished_at: DateTime<Utc>,
    pub stay_started_at: DateTime<Utc>,
}

impl Neighbour {
    /// Whether it left a release there, and not nothing.
    pub fn left_something(&self) -> bool {
        self.artefact != NOTHING
    }
}

/// What lies around a success that is put into a target's past.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The last success before it.
    pub before: Option<Neighbour>,
    /// The first one after it.
    pub next: Option<Neighbour>,
    /// The rollback that reverted the time in which it lies.
    pub reverted_by: Option<Uuid>,
    /// Since when it reverts itself, where it is a rollback.
    pub reverts_since: Option<DateTime<Utc>>,
}

impl Deployment {
    /// Starts: from now on the target is taken.
    pub fn start(target: &mut Target, new: New<'_>, now: DateTime<Utc>) -> Self {
        let started_at = target.next_at(now);
        let deployment = Self(Entry {
            id: new.id,
            service_id: target.service_id,
            environment_id: target.environment_id,
            release_id: new.release.id,
            artefact: leaves(new.kind, new.release),
            status: Status::Running,
            kind: new.kind,
            plan: new.plan,
            override_reason: new.override_reason,
            lease_seconds: new.lease_seconds,
            progress: Progress::default(),
            actor: new.actor,
            credential: new.credential,
            decision_id: Some(new.decision_id),
            times: Times {
                heartbeat_at: Some(now),
                lease_expires_at: Some(lease_end(now, new.lease_seconds)),
                reverts_since: new.back.reverts_since,
                ..Times::of_start(started_at)
            },
            standing: Standing { credited: true, verified: new.back.verified, ..Standing::default() },
        });
        target.running = Some(deployment.as_running());
        target.last_started_at = Some(started_at);
        target.last_at = Some(started_at);
        deployment
    }

    /// Comes on record after the fact, past the gate; `credited` where it is to count all the same. A success still needs
    /// its [place](Deployment::place) in the target's history.
    pub fn record(
        (id, actor): (Uuid, Actor),
        target: &mut Target,
        release: &Release,
        past: Past,
        credited: bool,
    ) -> Self {
        target.last_started_at = target.last_started_at.max(Some(past.started_at));
        target.last_at = target.last_at.max(Some(past.finished_at));
        Self(Entry {
            id,
            service_id: target.service_id,
            environment_id: target.environment_id,
            release_id: release.id,
            artefact: leaves(past.kind, release),
            status: past.outcome.into(),
            kind: past.kind,
            plan: past.plan,
            override_reason: None,
            lease_seconds: 0,
            progress: Progress { message: past.message, ..Progress::default() },
            actor,
            credential: None,
            decision_id: None,
            times: Times { finished_at: Some(past.finished_at), ..Times::of_start(past.started_at) },
            standing: Standing {
                recorded: true,
                ungated: past.ungated,
                credited: credited && !past.ungated,
                ..Standing::default()
            },
        })
    }

    /// Gives a recorded success its place: between the one before and the one after it, or as the current one. Where that
    /// breaks a stay that the others shared, or begins the next one's earlier, it gives the start of the next one's stay.
    pub fn place(&mut self, target: &mut Target, around: &Surroundings) -> Option<DateTime<Utc>> {
        let Surroundings { before, next, reverted_by, reverts_since } = around;
        let at = self.ended_at();
        let goes_on = before.as_ref().filter(|before| self.kind.ships() && before.artefact == self.artefact);
        let since = goes_on.map_or(at, |before| before.stay_started_at);
        self.0.times.stay_started_at = Some(since);
        let successor = next.as_ref().filter(|_| self.kind.ships());
        self.0.times.superseded_at = successor.map(|next| next.finished_at);
        self.0.times.reverts_since = *reverts_since;
        self.0.standing.superseded_by = successor.map(|next| next.id);
        self.0.standing.reverted_by = *reverted_by;
        let Some(next) = next else {
            target.current = self.as_current(since, at);
            return None;
        };
        let before = before.as_ref().map(|before| before.artefact.as_str());
        let start = mended_stay(before, (&self.artefact, since), (&next.artefact, next.finished_at))?;
        if let Some(current) = &mut target.current
            && current.since == next.stay_started_at
            && current.artefact == next.artefact
        {
            current.since = start;
        }
        Some(start)
    }

    /// Takes a sign of life: the lease begins anew.
    pub fn renew(&mut self, said: Progress, now: DateTime<Utc>) -> Result<(), Refused> {
        advance(self.situation(None), Command::Heartbeat, now)?;
        self.hear(said, now);
        Ok(())
    }

    /// Takes a sign of life also where the lease has run out: within `max_lease` of its start it goes on as if it had never
    /// run out, unless it is `overtaken` by something else that was started in its target since, or put on record as having
    /// happened since.
    pub fn resume(
        &mut self,
        target: &mut Target,
        said: Progress,
        (max_lease, overtaken): (TimeDelta, bool),
        now: DateTime<Utc>,
    ) -> Result<Beat, Refused> {
        let until = self.times.started_at.checked_add_signed(max_lease).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let situation =
            Situation { later_started: overtaken, resumable_until: Some(until), ..self.situation(None) };
        let step = advance(situation, Command::Heartbeat, now)?;
        self.hear(said, now);
        if step != Move::Resume {
            return Ok(Beat::Renewed);
        }
        let (at, expired_at) = (target.next_at(now), self.0.times.expired_at.take());
        self.0.status = Status::Running;
        self.0.times.finished_at = None;
        // The target is as if it had never been free: nothing else has happened in it.
        target.running = Some(self.as_running());
        target.last_at = Some(self.times.started_at);
        Ok(Beat::Resumed { at, expired_at })
    }

    /// Comes out in this way.
    pub fn finish(
        &mut self,
        target: &mut Target,
        outcome: Outcome,
        message: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<Finish, Refused> {
        match advance(self.situation(target.last_started_at), Command::Finish(outcome), now)? {
            Move::End(status) => Ok(Finish::Now(self.end(target, status, message, now))),
            Move::KeepLate(outcome) => {
                // Those that follow say nothing that would count.
                let kept_at = self.standing.late_status.is_none().then(|| target.next_at(now));
                self.0.standing.late_status.get_or_insert(outcome);
                Ok(Finish::TooLate { kept_at })
            }
            Move::Already | Move::Renew | Move::Resume => Ok(Finish::Already),
        }
    }

    /// Ends where its lease has run out.
    pub fn expire(&mut self, target: &mut Target, now: DateTime<Utc>) -> Option<End> {
        let step = advance(self.situation(target.last_started_at), Command::Expire, now);
        let Ok(Move::End(status)) = step else { return None };
        Some(self.end(target, status, None, now))
    }

    /// Gives way to a rollback that takes its place.
    pub fn preempt(&mut self, target: &mut Target, now: DateTime<Utc>) -> Option<End> {
        let step = advance(self.situation(target.last_started_at), Command::Preempt, now);
        let Ok(Move::End(status)) = step else { return None };
        self.0.standing.preempted = true;
        Some(self.end(target, status, Some("cancelled by a rollback".to_owned()), now))
    }

    /// Lets a lease begin now that was given by a wrong clock: it may not be silent for longer than its start asked for.
    /// Gives the end that the lease had.
    pub fn shorten_lease(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let end = self.times.lease_expires_at.filter(|end| is_beyond(*end, now, self.lease_seconds))?;
        self.renew(Progress::default(), now).ok().map(|()| end)
    }

    /// When it ended, or where it runs, when it started.
    pub fn ended_at(&self) -> DateTime<Utc> {
        self.times.finished_at.unwrap_or(self.times.started_at)
    }

    fn end(
        &mut self,
        target: &mut Target,
        status: Status,
        message: Option<String>,
        now: DateTime<Utc>,
    ) -> End {
        let at = target.next_at(now);
        self.0.status = status;
        self.0.times.finished_at = Some(at);
        if status == Status::Expired {
            self.0.times.expired_at = Some(at);
        }
        if message.is_some() {
            self.0.progress.message.clone_from(&message);
        }
        target.last_at = Some(at);
        target.running = target.running.take().filter(|running| running.deployment_id != self.id);
        let mut superseded = None;
        if status == Status::Succeeded {
            let since = target.stay(&self.artefact, at);
            self.0.times.stay_started_at = Some(since);
            let before = std::mem::replace(&mut target.current, self.as_current(since, at));
            superseded = before.map(|before| before.deployment_id);
        }
        End { at, message, superseded }
    }

    fn hear(&mut self, said: Progress, now: DateTime<Utc>) {
        self.0.times.heartbeat_at = Some(now);
        self.0.times.lease_expires_at = Some(lease_end(now, self.lease_seconds));
        self.0.progress = said.after(std::mem::take(&mut self.0.progress));
    }

    /// What its moves depend on, given when the latest deployment of its target started.
    fn situation(&self, last_started_at: Option<DateTime<Utc>>) -> Situation {
        Situation {
            status: self.status,
            lease_expires_at: self.times.lease_expires_at,
            later_started: last_started_at.is_some_and(|last| last > self.times.started_at),
            resumable_until: None,
        }
    }

    fn as_running(&self) -> Running {
        Running {
            deployment_id: self.id,
            release_id: self.release_id,
            since: self.times.started_at,
            actor: self.actor.clone(),
        }
    }

    /// What is current once it has succeeded: nothing after a removal, which for that is never superseded.
    fn as_current(&self, since: DateTime<Utc>, finished_at: DateTime<Utc>) -> Option<Current> {
        self.kind.ships().then(|| Current {
            deployment_id: self.id,
            release_id: self.release_id,
            artefact: self.artefact.clone(),
            since,
            finished_at,
            actor: self.actor.clone(),
        })
    }
}
