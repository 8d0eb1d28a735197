//! `/gate/wait`: a check that answers when there is something to say.

use std::time::Duration;

use poem::{Request, web::Data};
use poem_openapi::{ApiResponse, OpenApi, param::Query, payload::Json};

use crate::{
    api::{
        Tags,
        auth::Auth,
        deployments::body::meant,
        gate::{AnswerView, deployer as deployer_of},
    },
    domain::{
        address::Pages,
        fault::{Faults, Malformed},
        form::Form,
        gate::rules::preempts,
        text::{self, Name, SHORT_TEXT_MAX},
        vocabulary::Kind,
    },
    http::{
        peer::Peer,
        problem::{Code, FieldError, Problem},
    },
    shutdown::Shutdown,
    usecase::gate::{
        check::{GateAnswer, Question},
        wait::{self, LONGEST, Waiting},
    },
};

/// How long a request waits that does not say: less than proxies let a connection be silent.
const USUAL_SECONDS: u64 = 50;

/// What `seen` looks like.
pub(super) const SEEN: Form = Form { pattern: "^[A-Za-z0-9]*$", min: 1, max: 64 };

/// The operation.
#[derive(Debug)]
pub struct GateWaitApi;

/// What the gate said in the end.
#[derive(ApiResponse)]
pub enum Waited {
    /// What a start would be told now.
    #[oai(status = 200)]
    Answer(
        Json<AnswerView>,
        /// In how many seconds every failing rule will hold, where that is known.
        #[oai(header = "Retry-After")]
        Option<u64>,
    ),
}

impl Waited {
    fn of(answer: GateAnswer, pages: &Pages) -> Self {
        let decision = &answer.decided.decision;
        let left =
            decision.verdict.retry_at.map(|at| (at - decision.evaluated_at).to_std().unwrap_or_default());
        let seconds = left.map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0));
        Self::Answer(Json(AnswerView::of(answer, pages)), seconds.map(|seconds| seconds.max(1)))
    }
}

/// Refuses a request for all of its parameters that cannot be used.
fn refuse(faults: Faults) -> Problem {
    let field = |fault: crate::domain::fault::Fault| FieldError::new(fault.pointer, fault.code, fault.detail);
    Problem::new(Code::InvalidRequest, "Some parameters cannot be used; `errors` names each of them.")
        .errors(faults.into_vec().into_iter().map(field).collect())
}

fn seconds(asked: Option<u64>) -> Result<Duration, Malformed> {
    let (asked, max) = (asked.unwrap_or(USUAL_SECONDS), LONGEST.as_secs());
    if (1..=max).contains(&asked) {
        return Ok(Duration::from_secs(asked));
    }
    Err(Malformed::new("out-of-range", format!("must be from 1 to {max} seconds")))
}

fn state(seen: String) -> Result<String, Malformed> {
    if (SEEN.min..=SEEN.max).contains(&seen.len()) && seen.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(seen);
    }
    Err(Malformed::new("invalid", "must be the `state` of an earlier answer"))
}

#[OpenApi(tag = "Tags::Gate")]
impl GateWaitApi {
    /// Wait for the gate
    ///
    /// The same as a check, as a long poll. It answers at once when the gate allows it or when something else stands in
    /// the way than `seen`, which is the `state` of the last answer; else as soon as one of the two is the case; else at
    /// the timeout, with what stands in the way then. Whatever happens to the target wakes it, on whichever replica, and
    /// so does the moment at which a rule begins to hold. A server that is about to stop answers at once: ask again. So
    /// does one whose client closes its side of the connection.
    #[oai(path = "/gate/wait", method = "get", operation_id = "wait_gate")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter")]
    async fn wait_gate(
        &self,
        auth: Auth,
        shutdown: Data<&Shutdown>,
        request: &Request,
        /// The service.
        service: Query<String>,
        /// The environment.
        environment: Query<String>,
        /// The release's version; it must be registered. Only for a removal it may be absent.
        version: Query<Option<String>>,
        /// What the deployment would be for; when absent `redeploy` if the release is current, else `deploy`.
        kind: Query<Option<Kind>>,
        /// Whether it would cancel what is running. Only a rollback may (`not-a-rollback`).
        preempt: Query<Option<bool>>,
        /// The person who would set it off, at most 200 characters.
        initiated_by: Query<Option<String>>,
        /// The subject that would deploy it, at most 200 characters; nobody in particular when absent.
        deployer: Query<Option<String>>,
        /// Whether it is the caller who would, so that it is judged as a start with this token.
        for_caller: Query<Option<bool>>,
        /// How long to wait at most, from 1 to 300 seconds; 50 when absent.
        timeout: Query<Option<u64>>,
        /// The `state` of the last answer; when absent, what stands in the way at first.
        seen: Query<Option<String>>,
    ) -> Result<Waited, Problem> {
        let mut faults = Faults::default();
        let service = faults.take("/query/service", Name::of_service(&service.0));
        let environment = faults.take("/query/environment", Name::of_environment(&environment.0));
        let version = meant(version.0.as_ref(), kind.0, "/query", &mut faults);
        let initiated_by = initiated_by.0.as_ref().map(|text| text::free(text, SHORT_TEXT_MAX));
        let initiated_by = faults.take_optional("/query/initiated_by", initiated_by);
        let for_caller = for_caller.0.unwrap_or(false);
        let deployer = deployer_of("/query/deployer", deployer.0.as_deref(), for_caller, &mut faults);
        let timeout = faults.take("/query/timeout", seconds(timeout.0));
        let seen = faults.take_optional("/query/seen", seen.0.map(state));
        let preempt = preempts(kind.0, preempt.0.unwrap_or(false));
        let preempt = faults.take("/query/preempt", preempt);
        let named = service.zip(environment).zip(preempt).zip(timeout);
        let waiting = named.map(|(((service, environment), preempt), timeout)| Waiting {
            question: Question {
                service,
                environment,
                version,
                kind: kind.0,
                preempt,
                initiated_by: initiated_by.into_iter().collect(),
                deployer,
                override_reason: None,
            },
            seen,
            timeout,
        });
        let waiting = faults.finish(waiting).map_err(refuse)?;
        // Boxed: with two evaluations in it, it would otherwise make every request large.
        let ctx = auth.ctx();
        let answer = Box::pin(wait::wait(&ctx, &waiting, enough(shutdown.0, request.data()))).await?;
        Ok(Waited::of(answer, &ctx.app.people.pages))
    }
}

/// Resolves when there is no more use in waiting: the server stops, or nobody may be there any more to be told.
async fn enough(shutdown: &Shutdown, client: Option<&Peer>) {
    let closed = async {
        match client {
            Some(client) => client.closed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shutdown.draining() => {}
        () = closed => {}
    }
}
