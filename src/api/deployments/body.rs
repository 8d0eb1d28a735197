//! What is said of deployments: parsed whole, with every fault named.

use poem_openapi::{Object, types::Example};
use uuid::Uuid;

use crate::{
    api::{
        releases::DeployedRelease,
        types::{Text, Time, owned},
    },
    config::LedgerConfig,
    domain::{
        deployment::Progress,
        fault::{Faults, Malformed},
        gate::rules::preempts,
        text::{self, Name, SHORT_TEXT_MAX, TEXT_MAX, Version},
        vocabulary::{Kind, Outcome, Strategy},
    },
    usecase::{
        deployments::{record::Record, start::Start},
        register::GivenRelease,
    },
};

/// The shortest reason for lifting the gate's rules, in characters.
const OVERRIDE_REASON_MIN: usize = 10;

/// Why the gate's rules are to be lifted.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct OverrideBody {
    /// A reason of at least ten characters; it is part of the decision.
    pub reason: Text,
}

/// A deployment to start.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct StartDeployment {
    /// The service; registered in passing when it is not known.
    pub service: Text,
    /// The environment; registered in passing when it is not known.
    pub environment: Text,
    /// The release's version.
    pub version: Text,
    /// The release, for when it is not on record yet.
    #[oai(skip_serializing_if_is_none)]
    pub release: Option<DeployedRelease>,
    /// How it replaces what was there; `rolling` when absent.
    #[oai(skip_serializing_if_is_none)]
    pub strategy: Option<Strategy>,
    /// What it is for; when absent `redeploy` if the release is current, else `deploy`.
    #[oai(skip_serializing_if_is_none)]
    pub kind: Option<Kind>,
    /// True lets a rollback cancel what is running in the target, in the same step. Only a rollback may (`not-a-rollback`).
    #[oai(default)]
    pub preempt: bool,
    /// The deployment whose damage it repairs.
    #[oai(skip_serializing_if_is_none)]
    pub remediates: Option<Uuid>,
    /// The person who set it off, at most 200 characters.
    #[oai(skip_serializing_if_is_none)]
    pub initiated_by: Option<Text>,
    /// Why, at most 2000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<Text>,
    /// The pipeline that does it: an http or https URL.
    #[oai(skip_serializing_if_is_none)]
    pub pipeline_url: Option<Text>,
    /// How long it may stay silent before it expires, in seconds; at most seven days.
    #[oai(skip_serializing_if_is_none)]
    pub lease_seconds: Option<i64>,
    /// Lifts every rule of the gate but concurrency; needs the scope `override`.
    #[oai(skip_serializing_if_is_none)]
    pub r#override: Option<OverrideBody>,
}

impl Example for StartDeployment {
    fn example() -> Self {
        Self {
            service: "shop".into(),
            environment: "staging".into(),
            version: "1.4.2".into(),
            release: Some(DeployedRelease::example()),
            strategy: Some(Strategy::Rolling),
            kind: None,
            preempt: false,
            remediates: None,
            initiated_by: Some("ada".into()),
            reason: None,
            pipeline_url: None,
            lease_seconds: Some(600),
            r#override: None,
        }
    }
}

/// A deployment that is over.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct RecordDeployment {
    /// The service; registered in passing when it is not known.
    pub service: Text,
    /// The environment; registered in passing when it is not known.
    pub environment: Text,
    /// The release's version.
    pub version: Text,
    /// The release, for when it is not on record yet.
    #[oai(skip_serializing_if_is_none)]
    pub release: Option<DeployedRelease>,
    /// How it replaced what was there; `rolling` when absent.
    #[oai(skip_serializing_if_is_none)]
    pub strategy: Option<Strategy>,
    /// What it was for; `deploy` when absent.
    #[oai(skip_serializing_if_is_none)]
    pub kind: Option<Kind>,
    /// How it came out.
    pub status: Outcome,
    /// When it started.
    pub started_at: Time,
    /// When it finished; not in the future.
    pub finished_at: Time,
    /// Whether its pipeline went on without asking the gate.
    #[oai(default)]
    pub ungated: bool,
    /// The deployment whose damage it repaired.
    #[oai(skip_serializing_if_is_none)]
    pub remediates: Option<Uuid>,
    /// The person who set it off, at most 200 characters.
    #[oai(skip_serializing_if_is_none)]
    pub initiated_by: Option<Text>,
    /// Why, at most 2000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<Text>,
    /// A line for people, at most 2000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub message: Option<Text>,
    /// The pipeline that did it: an http or https URL.
    #[oai(skip_serializing_if_is_none)]
    pub pipeline_url: Option<Text>,
}

impl Example for RecordDeployment {
    fn example() -> Self {
        let at = |second: i64| {
            Time(chrono::DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap_or_default())
        };
        Self {
            service: "shop".into(),
            environment: "staging".into(),
            version: "1.4.1".into(),
            release: Some(DeployedRelease::example()),
            strategy: None,
            kind: None,
            status: Outcome::Succeeded,
            started_at: at(0),
            finished_at: at(90),
            ungated: false,
            remediates: None,
            initiated_by: None,
            reason: None,
            message: None,
            pipeline_url: None,
        }
    }
}

/// A sign of life.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct Heartbeat {
    /// A line for people, at most 2000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub message: Option<Text>,
    /// A step of the strategy, at most 200 characters.
    #[oai(skip_serializing_if_is_none)]
    pub phase: Option<Text>,
    /// The share of the traffic that reaches the release, in percent.
    #[oai(skip_serializing_if_is_none)]
    pub traffic_percent: Option<i64>,
}

impl Example for Heartbeat {
    fn example() -> Self {
        Self {
            message: Some("3 of 5 replicas ready".into()),
            phase: Some("canary".into()),
            traffic_percent: Some(10),
        }
    }
}

/// An end.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct FinishDeployment {
    /// How it came out.
    pub status: Outcome,
    /// A line for people, at most 2000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub message: Option<Text>,
}

impl Example for FinishDeployment {
    fn example() -> Self {
        Self { status: Outcome::Succeeded, message: None }
    }
}

/// What starts and records name alike.
struct Named {
    service: Name,
    environment: Name,
    version: Version,
    release: Option<GivenRelease>,
}

fn named(
    (service, environment, version): (&str, &str, &str),
    release: Option<&DeployedRelease>,
    labels_max: usize,
    faults: &mut Faults,
) -> Option<Named> {
    let service = faults.take("/service", Name::parse(service));
    let environment = faults.take("/environment", Name::parse(environment));
    let version = faults.take("/version", Version::parse(version));
    let release = release.map(|release| release.parse(labels_max)).transpose();
    let release = release.map_err(|inner| faults.nest("/release", inner)).ok()?;
    Some(Named { service: service?, environment: environment?, version: version?, release })
}

fn short(faults: &mut Faults, pointer: &str, text: Option<&str>) {
    faults.take_optional(pointer, text.map(|text| text::free(text, SHORT_TEXT_MAX)));
}

fn long(faults: &mut Faults, pointer: &str, text: Option<&str>) {
    faults.take_optional(pointer, text.map(|text| text::free(text, TEXT_MAX)));
}

impl StartDeployment {
    /// The start that is asked for, once every field of it is right.
    pub fn parse(&self, labels_max: usize, ledger: &LedgerConfig) -> Result<Start, Faults> {
        let mut faults = Faults::default();
        let names = (&*self.service, &*self.environment, &*self.version);
        let target = named(names, self.release.as_ref(), labels_max, &mut faults);
        short(&mut faults, "/initiated_by", self.initiated_by.as_deref());
        long(&mut faults, "/reason", self.reason.as_deref());
        faults.take_optional("/pipeline_url", self.pipeline_url.as_deref().map(text::web_url));
        let preempt = faults.take("/preempt", preempts(self.kind, self.preempt));
        let lease_seconds = faults.take("/lease_seconds", lease(self.lease_seconds, ledger));
        let override_reason = override_reason(self.r#override.as_ref(), &mut faults);
        let start = target.zip(preempt).zip(lease_seconds).map(|((named, preempt), lease_seconds)| Start {
            service: named.service,
            environment: named.environment,
            version: named.version,
            release: named.release,
            strategy: self.strategy.unwrap_or(Strategy::Rolling),
            kind: self.kind,
            preempt,
            remediates: self.remediates,
            initiated_by: owned(self.initiated_by.as_ref()),
            reason: owned(self.reason.as_ref()),
            pipeline_url: owned(self.pipeline_url.as_ref()),
            lease_seconds,
            override_reason,
        });
        faults.finish(start)
    }
}

fn lease(asked: Option<i64>, ledger: &LedgerConfig) -> Result<i64, Malformed> {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let max = seconds(ledger.max_lease);
    let asked = asked.unwrap_or_else(|| seconds(ledger.lease));
    if (1..=max).contains(&asked) {
        return Ok(asked);
    }
    Err(Malformed::new("out-of-range", format!("must be from 1 to {max} seconds")))
}

/// Why the gate's rules are to be lifted, if they are.
pub fn override_reason(given: Option<&OverrideBody>, faults: &mut Faults) -> Option<String> {
    let reason: &str = &given?.reason;
    let parsed = text::telling(reason, TEXT_MAX).and_then(|reason| {
        if text::readable(&reason) >= OVERRIDE_REASON_MIN {
            return Ok(reason);
        }
        let detail = format!("must be at least {OVERRIDE_REASON_MIN} characters that can be read");
        Err(Malformed::new("too-short", detail))
    });
    faults.take("/override/reason", parsed)
}

impl RecordDeployment {
    /// The deployment that is to be recorded, once every field of it is right.
    pub fn parse(&self, labels_max: usize) -> Result<Record, Faults> {
        let mut faults = Faults::default();
        let names = (&*self.service, &*self.environment, &*self.version);
        let target = named(names, self.release.as_ref(), labels_max, &mut faults);
        short(&mut faults, "/initiated_by", self.initiated_by.as_deref());
        long(&mut faults, "/reason", self.reason.as_deref());
        long(&mut faults, "/message", self.message.as_deref());
        faults.take_optional("/pipeline_url", self.pipeline_url.as_deref().map(text::web_url));
        if self.finished_at.0 < self.started_at.0 {
            faults.add("/finished_at", "before-start", "must not be before started_at");
        }
        let record = target.map(|named| Record {
            service: named.service,
            environment: named.environment,
            version: named.version,
            release: named.release,
            strategy: self.strategy.unwrap_or(Strategy::Rolling),
            kind: self.kind.unwrap_or(Kind::Deploy),
            remediates: self.remediates,
            initiated_by: owned(self.initiated_by.as_ref()),
            reason: owned(self.reason.as_ref()),
            pipeline_url: owned(self.pipeline_url.as_ref()),
            message: owned(self.message.as_ref()),
            outcome: self.status,
            started_at: self.started_at.0,
            finished_at: self.finished_at.0,
            ungated: self.ungated,
        });
        faults.finish(record)
    }
}

impl Heartbeat {
    /// The progress, once every field of it is right.
    pub fn parse(&self) -> Result<Progress, Faults> {
        let mut faults = Faults::default();
        long(&mut faults, "/message", self.message.as_deref());
        short(&mut faults, "/phase", self.phase.as_deref());
        if self.traffic_percent.is_some_and(|percent| !(0..=100).contains(&percent)) {
            faults.add("/traffic_percent", "out-of-range", "must be from 0 to 100");
        }
        faults.finish(Some(Progress {
            phase: owned(self.phase.as_ref()),
            traffic_percent: self.traffic_percent,
            message: owned(self.message.as_ref()),
        }))
    }
}

impl FinishDeployment {
    /// The end, once every field of it is right.
    pub fn parse(&self) -> Result<(Outcome, Option<String>), Faults> {
        let mut faults = Faults::default();
        long(&mut faults, "/message", self.message.as_deref());
        faults.finish(Some((self.status, owned(self.message.as_ref()))))
    }
}
