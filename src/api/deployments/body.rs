//! What is said of deployments: parsed whole, with every fault named.

use chrono::DateTime;
use poem_openapi::{Object, types::Example};
use uuid::Uuid;

use crate::{
    api::{
        releases::DeployedRelease,
        types::{Text, Time, Whole, owned},
    },
    config::LedgerConfig,
    domain::{
        deployment::{self, Past, Plan, Progress, TRAFFIC_MAX, lease_seconds},
        descriptive::Ignored,
        fault::Faults,
        form::{Long, OverrideReason, Short, WebUrl},
        gate::rules::preempts,
        text::{Name, Version},
        vocabulary::{Kind, Outcome, Strategy},
    },
    http::spec::Unless,
    usecase::{
        deployments::{record::Record, start::Start},
        register::Placement,
    },
};

/// Why the gate's rules are to be lifted.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields)]
pub struct OverrideBody {
    /// A reason of at least ten characters; it is part of the decision.
    pub reason: Text<OverrideReason>,
}

const VERSION_MISSING: &str = "must name the release's version; only a removal may leave it out";

/// What is missing of bodies that lack something else as well, which are judged by their shape alone.
pub const REQUIRED: [Unless; 3] =
    [version_of("StartDeployment"), version_of("RecordDeployment"), version_of("GateQuestion")];

const fn version_of(component: &'static str) -> Unless {
    let other = ("kind", Kind::Remove.as_str());
    Unless { component, member: "version", other, detail: VERSION_MISSING }
}

/// The version that is meant, below `prefix`; only a removal may leave it out.
pub fn meant<T: std::ops::Deref<Target = str>>(
    given: Option<&T>,
    kind: Option<Kind>,
    prefix: &str,
    faults: &mut Faults,
) -> Option<Version> {
    let pointer = format!("{prefix}/version");
    if given.is_none() && kind.is_none_or(Kind::ships) {
        faults.add(&pointer, "required", VERSION_MISSING);
    }
    faults.take_optional(&pointer, given.map(|text| Version::parse(text)))
}

macro_rules! deployment_body {
    (
        $(#[$meta:meta])* $name:ident {
            $($(#[$own_meta:meta])* $own:ident: $type:ty = $example:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Object)]
        #[oai(deny_unknown_fields, example)]
        pub struct $name {
            /// The service; registered in passing when it is not known.
            pub service: Text<Name>,
            /// The environment; registered in passing when it is not known.
            pub environment: Text<Name>,
            /// The release's version. Only a removal may leave it out: it takes away whatever runs there. Where it names one,
            /// that one must run there.
            #[oai(skip_serializing_if_is_none)]
            pub version: Option<Text<Version>>,
            /// The release, for when it is not on record yet.
            #[oai(skip_serializing_if_is_none)]
            pub release: Option<DeployedRelease>,
            /// How it replaces what was there; `rolling` when absent.
            #[oai(skip_serializing_if_is_none)]
            pub strategy: Option<Strategy>,
            /// The deployment whose damage it repairs.
            #[oai(skip_serializing_if_is_none)]
            pub remediates: Option<Uuid>,
            /// The person who set it off, at most 200 characters.
            #[oai(skip_serializing_if_is_none)]
            pub initiated_by: Option<Text<Short>>,
            /// Why; what is longer than 2000 characters is cut.
            #[oai(skip_serializing_if_is_none)]
            pub reason: Option<Text<Long>>,
            /// The pipeline that does it: an http or https URL; anything else is dropped.
            #[oai(skip_serializing_if_is_none)]
            pub pipeline_url: Option<Text<WebUrl>>,
            $($(#[$own_meta])* pub $own: $type,)*
        }

        impl Example for $name {
            fn example() -> Self {
                Self {
                    service: "shop".into(),
                    environment: "staging".into(),
                    version: Some("1.4.2".into()),
                    release: Some(DeployedRelease::example()),
                    strategy: Some(Strategy::Rolling),
                    remediates: None,
                    initiated_by: Some("ada".into()),
                    reason: None,
                    pipeline_url: None,
                    $($own: $example,)*
                }
            }
        }

        impl $name {
            fn placement(
                &self,
                labels_max: usize,
                ignored: &mut Ignored,
                faults: &mut Faults,
            ) -> Option<Placement> {
                let service = faults.take("/service", Name::of_service(&self.service));
                let environment = faults.take("/environment", Name::of_environment(&self.environment));
                let version = meant(self.version.as_ref(), self.kind, "", faults);
                if self.release.is_some() && self.kind.is_some_and(|kind| !kind.ships()) {
                    faults.add("/release", "not-shipped", "must be absent: a removal ships no release");
                }
                let release = self.release.as_ref().map(|release| release.parse(labels_max)).transpose();
                let release = release.map_err(|inner| faults.nest("/release", inner)).ok()?;
                let release = release.map(|(release, inner)| {
                    ignored.nest("release", &inner);
                    release
                });
                Some(Placement { service: service?, environment: environment?, version, release })
            }

            fn plan(&self, ignored: &mut Ignored) -> Plan {
                let mut plan = Plan {
                    strategy: self.strategy.unwrap_or_default(),
                    reason: owned(self.reason.as_ref()),
                    pipeline_url: owned(self.pipeline_url.as_ref()),
                    initiated_by: owned(self.initiated_by.as_ref()),
                    remediates: self.remediates,
                };
                ignored.plan(&mut plan);
                plan
            }
        }
    };
}

deployment_body! {
    /// A deployment to start.
    StartDeployment {
        /// What it is for; when absent `redeploy` if the release is current, else `deploy`.
        #[oai(skip_serializing_if_is_none)]
        kind: Option<Kind> = None,
        /// True lets a rollback cancel what is running in the target, in the same step. Only a rollback may (`not-a-rollback`).
        #[oai(default)]
        preempt: bool = false,
        /// How long it may stay silent before it expires, in seconds; at most seven days.
        #[oai(skip_serializing_if_is_none)]
        lease_seconds: Option<Whole<1, { i64::MAX }>> = Some(Whole(600)),
        /// Lifts every rule of the gate but concurrency; needs the scope `override`.
        #[oai(skip_serializing_if_is_none)]
        r#override: Option<OverrideBody> = None,
    }
}

deployment_body! {
    /// A deployment that is over.
    RecordDeployment {
        /// What it was for; `deploy` when absent.
        #[oai(skip_serializing_if_is_none)]
        kind: Option<Kind> = None,
        /// How it came out.
        status: Outcome = Outcome::Succeeded,
        /// When it started.
        started_at: Time = Time(DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default()),
        /// When it finished; not in the future.
        finished_at: Time = Time(DateTime::from_timestamp(1_767_225_690, 0).unwrap_or_default()),
        /// Whether its pipeline went on without asking the gate.
        #[oai(default)]
        ungated: bool = false,
        /// A line for people; what is longer than 2000 characters is cut.
        #[oai(skip_serializing_if_is_none)]
        message: Option<Text<Long>> = None,
    }
}

/// A sign of life.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct Heartbeat {
    /// A line for people; what is longer than 2000 characters is cut.
    #[oai(skip_serializing_if_is_none)]
    pub message: Option<Text<Long>>,
    /// A step of the strategy; what is longer than 200 characters is cut.
    #[oai(skip_serializing_if_is_none)]
    pub phase: Option<Text<Short>>,
    /// The share of the traffic that reaches the release, in percent.
    #[oai(skip_serializing_if_is_none)]
    pub traffic_percent: Option<Whole<0, TRAFFIC_MAX>>,
}

impl Example for Heartbeat {
    fn example() -> Self {
        Self {
            message: Some("3 of 5 replicas ready".into()),
            phase: Some("canary".into()),
            traffic_percent: Some(Whole(10)),
        }
    }
}

/// An end.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct FinishDeployment {
    /// How it came out.
    pub status: Outcome,
    /// A line for people; what is longer than 2000 characters is cut.
    #[oai(skip_serializing_if_is_none)]
    pub message: Option<Text<Long>>,
}

impl Example for FinishDeployment {
    fn example() -> Self {
        Self { status: Outcome::Succeeded, message: None }
    }
}

impl StartDeployment {
    /// The start that is asked for, once every field of it that decides something is right; and what of the rest is not kept.
    pub fn parse(&self, labels_max: usize, ledger: &LedgerConfig) -> Result<(Start, Ignored), Faults> {
        let (mut faults, mut ignored) = (Faults::default(), Ignored::default());
        let placement = self.placement(labels_max, &mut ignored, &mut faults);
        let plan = self.plan(&mut ignored);
        plan.validate(&mut faults);
        let preempt = faults.take("/preempt", preempts(self.kind, self.preempt));
        let lease =
            lease_seconds(self.lease_seconds.map(|seconds| seconds.0), ledger.lease, ledger.max_lease);
        let lease_seconds = faults.take("/lease_seconds", lease);
        let override_reason = override_reason(self.r#override.as_ref(), &mut faults);
        let asked = placement.zip(preempt).zip(lease_seconds);
        let start = asked.map(|((placement, preempt), lease_seconds)| Start {
            placement,
            kind: self.kind,
            preempt,
            plan,
            lease_seconds,
            override_reason,
        });
        faults.finish(start.map(|start| (start, ignored)))
    }
}

/// Why the gate's rules are to be lifted, if they are.
pub fn override_reason(given: Option<&OverrideBody>, faults: &mut Faults) -> Option<String> {
    faults.take("/override/reason", deployment::override_reason(&given?.reason))
}

impl RecordDeployment {
    /// The deployment that is to be recorded, once every field of it that decides something is right; and what of the rest is
    /// not kept.
    pub fn parse(&self, labels_max: usize) -> Result<(Record, Ignored), Faults> {
        let (mut faults, mut ignored) = (Faults::default(), Ignored::default());
        let placement = self.placement(labels_max, &mut ignored, &mut faults);
        let mut past = Past {
            kind: self.kind.unwrap_or(Kind::Deploy),
            plan: self.plan(&mut ignored),
            message: owned(self.message.as_ref()),
            outcome: self.status,
            started_at: self.started_at.0,
            finished_at: self.finished_at.0,
            ungated: self.ungated,
        };
        past.validate(&mut faults);
        ignored.message(&mut past.message);
        faults.finish(placement.map(|placement| (Record { placement, past }, ignored)))
    }
}

impl Heartbeat {
    /// The progress, once every field of it that decides something is right; and what of the rest is not kept.
    pub fn parse(&self) -> Result<(Progress, Ignored), Faults> {
        let (mut faults, mut ignored) = (Faults::default(), Ignored::default());
        let mut progress = Progress {
            phase: owned(self.phase.as_ref()),
            traffic_percent: self.traffic_percent.map(|percent| percent.0),
            message: owned(self.message.as_ref()),
        };
        progress.validate(&mut faults);
        ignored.progress(&mut progress);
        faults.finish(Some((progress, ignored)))
    }
}

impl FinishDeployment {
    /// The end, its message, and what of it is not kept.
    pub fn parse(&self) -> (Outcome, Option<String>, Ignored) {
        let (mut message, mut ignored) = (owned(self.message.as_ref()), Ignored::default());
        ignored.message(&mut message);
        (self.status, message, ignored)
    }
}
