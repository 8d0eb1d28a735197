//! A freeze window as it is asked for: taken whole, with every fault named.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{
    Covers, Definition, Timing,
    schedule::{Schedule, State, cron, next, zone},
};
use crate::domain::{
    fault::Faults,
    places::{self, Known},
    text::{self, SHORT_TEXT_MAX, TEXT_MAX},
    vocabulary::Tier,
};

/// A freeze window as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    pub name: String,
    /// Why it is there.
    pub reason: String,
    /// The environments in which it counts.
    pub environments: Option<Vec<String>>,
    /// The tiers in which it counts.
    pub tiers: Option<Vec<Tier>>,
    /// The only services that it counts for.
    pub services: Option<Vec<String>>,
    /// When it begins, once.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends, once.
    pub ends_at: Option<DateTime<Utc>>,
    /// When it begins, again and again.
    pub start_cron: Option<String>,
    /// When it ends, again and again.
    pub end_cron: Option<String>,
    /// Where those are read.
    pub timezone: Option<String>,
}

impl From<&Definition> for Draft {
    fn from(definition: &Definition) -> Self {
        let Definition { name, reason, covers, services, timing } = definition.clone();
        let services = services.map(|names| names.into_iter().collect());
        let draft = Self { name, reason, services, ..Self::default() };
        let draft = match covers {
            Covers::Environments(names) => Self { environments: Some(names.into_iter().collect()), ..draft },
            Covers::Tiers(tiers) => Self { tiers: Some(tiers.into_iter().collect()), ..draft },
        };
        match timing {
            Timing::Once { starts_at, ends_at } => {
                Self { starts_at: Some(starts_at), ends_at: Some(ends_at), ..draft }
            }
            Timing::Recurring { start_cron, end_cron, timezone } => Self {
                start_cron: Some(start_cron),
                end_cron: Some(end_cron),
                timezone: Some(timezone),
                ..draft
            },
        }
    }
}

impl Draft {
    /// The window, once every field of it is right. `known` are those of the names that are on record, `before` is when it
    /// held so far, if it is on record itself.
    pub fn parse(
        &self,
        known: &Known,
        before: Option<&Timing>,
        now: DateTime<Utc>,
    ) -> Result<Definition, Faults> {
        let mut faults = Faults::default();
        let name = faults.take("/name", text::telling(&self.name, SHORT_TEXT_MAX));
        let reason = faults.take("/reason", text::telling(&self.reason, TEXT_MAX));
        let covers = self.covers(&known.environments, &mut faults);
        let services = self.services.as_ref().map(|names| {
            places::check("service", names, "leave it out for all of them", &known.services, &mut faults)
        });
        let timing = self.timing(before, now, &mut faults);
        let parts = name.zip(reason).zip(covers).zip(timing);
        faults.finish(parts.map(|(((name, reason), covers), timing)| Definition {
            name,
            reason,
            covers,
            services,
            timing,
        }))
    }

    fn covers(&self, known: &BTreeSet<String>, faults: &mut Faults) -> Option<Covers> {
        match (&self.environments, &self.tiers) {
            (Some(names), None) => {
                let instead = "`tiers` cover more at once";
                Some(Covers::Environments(places::check("environment", names, instead, known, faults)))
            }
            (None, Some(tiers)) => {
                if tiers.is_empty() {
                    faults.add("/tiers", "empty", "must name at least one tier");
                }
                Some(Covers::Tiers(tiers.iter().copied().collect()))
            }
            (None, None) => {
                let detail = "must name the environments, or `tiers` the tiers, in which it counts";
                faults.add("/environments", "required", detail);
                None
            }
            (Some(_), Some(_)) => {
                let detail =
                    "must not stand beside `environments`; leave one of them out, in an edit set it to null";
                faults.add("/tiers", "conflicting", detail);
                None
            }
        }
    }

    fn timing(&self, before: Option<&Timing>, now: DateTime<Utc>, faults: &mut Faults) -> Option<Timing> {
        let once = self.starts_at.is_some() || self.ends_at.is_some();
        let recurring =
            [("/start_cron", &self.start_cron), ("/end_cron", &self.end_cron), ("/timezone", &self.timezone)];
        match (once, recurring.iter().find(|(_, given)| given.is_some())) {
            (true, Some((pointer, _))) => {
                let detail = "must not stand beside `starts_at` and `ends_at`: a window holds once or again and again; \
                              leave one of them out, in an edit set it to null";
                faults.add(pointer, "conflicting", detail);
                None
            }
            (true, None) => self.once(before, now, faults),
            (false, Some(_)) => self.recurring(now, faults),
            (false, None) => {
                let detail = "must say when it begins, beside `ends_at`; or give `start_cron`, `end_cron` and `timezone`";
                faults.add("/starts_at", "required", detail);
                None
            }
        }
    }

    fn once(&self, before: Option<&Timing>, now: DateTime<Utc>, faults: &mut Faults) -> Option<Timing> {
        if self.starts_at.is_none() {
            faults.add("/starts_at", "required", "must say when it begins; the present moment will do");
        }
        if self.ends_at.is_none() {
            faults.add("/ends_at", "required", "must say when it ends: a freeze window is not for good");
        }
        let (starts_at, ends_at) = self.starts_at.zip(self.ends_at)?;
        let timing = Timing::Once { starts_at, ends_at };
        if ends_at <= starts_at {
            faults.add("/ends_at", "before-start", "must be later than starts_at");
        } else if ends_at <= now && before != Some(&timing) {
            // What is past was enforced as it was then: nobody declares or rewrites it.
            let detail =
                "must lie ahead: a window that is over holds nothing up; one that is to end now is deleted";
            faults.add("/ends_at", "past", detail);
        }
        Some(timing)
    }

    fn recurring(&self, now: DateTime<Utc>, faults: &mut Faults) -> Option<Timing> {
        let mut given = |pointer: &str, text: &Option<String>, what: &str| {
            if text.is_none() {
                faults.add(pointer, "required", format!("must say {what}"));
            }
            text.clone()
        };
        let start_cron = given("/start_cron", &self.start_cron, "when it begins, as a cron expression");
        let end_cron = given("/end_cron", &self.end_cron, "when it ends, as a cron expression");
        let timezone = given("/timezone", &self.timezone, "whose clocks count, such as Europe/Berlin or UTC");
        let mut fires = |pointer: &str, text: &Option<String>, code, what: &str| {
            let parsed = faults.take_optional(pointer, text.as_deref().map(cron))?;
            if next(&parsed, now.naive_utc()).is_some() {
                return Some(());
            }
            let detail = format!("never fires, so the window would never {what}: there is no such day");
            faults.add(pointer, code, detail);
            None
        };
        let start = fires("/start_cron", &start_cron, "never-starts", "begin");
        let end = fires("/end_cron", &end_cron, "never-ends", "end");
        let known = faults.take_optional("/timezone", timezone.as_deref().map(zone));
        let timing = start_cron.zip(end_cron).zip(timezone);
        let timing = timing.map(|((start_cron, end_cron), timezone)| Timing::Recurring {
            start_cron,
            end_cron,
            timezone,
        })?;
        if start.and(end).is_some()
            && known.is_some()
            && let State::Idle { starts: false, .. } = Schedule::read(&timing).at(now)
        {
            let detail = "fires whenever start_cron does, so the window would never hold";
            faults.add("/end_cron", "never-holds", detail);
        }
        Some(timing)
    }
}
