//! How the errors of the use cases look from outside: the one place that maps them to problems.

use std::time::Duration;

use chrono::SecondsFormat;
use poem_openapi::types::ToJSON as _;
use serde_json::{Value, json};

use crate::{
    api::view::DecisionView,
    domain::{address::Page, deployment::NamedDeployment, fault::Fault, gate::Decision},
    http::problem::{Code, FieldError, Problem, guess},
    telemetry::chain,
    usecase::error::Error,
};

/// When to try again what there was no room for.
const CROWDED: Duration = Duration::from_secs(5);

const IN_DOUBT: &str = "The connection to the database was lost before it said whether this was done. Look, or send the same \
                        request again with its Idempotency-Key.";

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(faults) => {
                let detail = "Some fields are not as they must be; `errors` names each of them.";
                let field = |fault: Fault| FieldError::new(fault.pointer, fault.code, fault.detail);
                Self::new(Code::InvalidInput, detail).errors(faults.into_iter().map(field).collect())
            }
            Error::NotFound { what, name, remedy, meant } => {
                let detail =
                    |guess: &str| format!("There is no {what} {name}. {guess}{remedy}").trim_end().to_owned();
                match meant {
                    Some(meant) => {
                        Self::new(Code::NotFound, detail(&format!("{} ", guess(&meant.1)))).probably(*meant)
                    }
                    None => Self::new(Code::NotFound, detail("")),
                }
            }
            Error::Conflict(detail) => Self::new(Code::Conflict, sentence(&detail)),
            Error::Lost { detail, deployment, taken_by } => Self::new(Code::Conflict, sentence(&detail))
                .with_deployment(lost(&deployment, taken_by.as_deref()))
                .with_page(Page::Deployment(deployment.deployment.id)),
            Error::Denied(decision) => denied(*decision),
            Error::Repeated => {
                Self::new(Code::Conflict, "A request with the same Idempotency-Key is being answered.")
            }
            Error::Stale(detail) => Self::new(Code::Stale, sentence(&detail)),
            Error::Forbidden(detail) => Self::new(Code::Forbidden, sentence(&detail)),
            Error::Unauthenticated(detail) => Self::new(Code::Unauthenticated, sentence(detail)),
            Error::Identity(invalid) => Self::new(Code::IdentityInvalid, sentence(&invalid.to_string())),
            Error::Untrusted(detail) => Self::new(Code::IdentityUntrusted, sentence(&detail)),
            Error::Ambiguous(detail) => Self::new(Code::IdentityAmbiguous, sentence(&detail)),
            Error::IssuerDown(detail) => {
                Self::new(Code::IssuerUnreachable, sentence(&detail)).retry_after(CROWDED)
            }
            Error::Crowded(detail) => Self::new(Code::Unavailable, sentence(detail)).retry_after(CROWDED),
            Error::Greedy(detail) => Self::new(Code::RateLimited, sentence(detail)).retry_after(CROWDED),
            Error::Raced => Self::new(Code::Unavailable, "Too many requests register the same; try again."),
            Error::Dormant => {
                Self::new(Code::Unavailable, "Somebody archives the environment at the same time; try again.")
            }
            Error::Unavailable(error) => {
                tracing::warn!(error = chain(&error), "the database did not answer");
                let detail = match error.unwritable() {
                    Some(fault) => format!("The database takes no writes: {fault}."),
                    None if error.is_in_doubt() => IN_DOUBT.to_owned(),
                    None => "The database does not answer; try again.".to_owned(),
                };
                Self::new(Code::Unavailable, detail)
            }
            Error::Internal(error) => {
                let error = chain(&error);
                tracing::error!(error, "a statement failed");
                Self::internal()
            }
        }
    }
}

/// Every reason that the gate has, and when to try again, where that is known.
fn denied(decision: Decision) -> Problem {
    let reasons: Vec<_> = decision.verdict.denying().map(|check| check.message.clone()).collect();
    let detail = format!("The gate says no: {}.", reasons.join("; "));
    let wait = decision.verdict.retry_at.map(|at| (at - decision.evaluated_at).to_std().unwrap_or_default());
    let problem = Problem::new(Code::GateDenied, detail);
    let problem = wait.into_iter().fold(problem, Problem::retry_after);
    let problem = problem.with_page(Page::Decision(decision.id));
    problem.with_decision(DecisionView::from(decision).to_json().unwrap_or_default())
}

/// What a program needs to know of a deployment whose lease is lost: whether somebody else has its target.
fn lost(NamedDeployment { deployment, .. }: &NamedDeployment, taken_by: Option<&NamedDeployment>) -> Value {
    let taken_by = taken_by.map(|NamedDeployment { deployment, release, .. }| {
        json!({
            "id": deployment.id, "version": release.version, "status": deployment.status,
            "recorded": deployment.standing.recorded, "actor": deployment.actor,
            "started_at": deployment.times.started_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        })
    });
    json!({ "id": deployment.id, "status": deployment.status, "taken_by": taken_by })
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
