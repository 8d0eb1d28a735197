//! Finishes: how a pipeline says that a deployment came out.

use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        deployment::{Finish, NamedDeployment},
        event::EventKind,
        idempotency::Answer,
        vocabulary::{Outcome, Scope},
    },
    store::deployment,
    usecase::{
        context::Ctx,
        deployments::held,
        error::Error,
        work::{Render, Work},
    },
};

/// What a finish came to.
enum Finished {
    /// It ended now.
    Now(Box<NamedDeployment>, Answer),
    /// It had ended so before.
    Already(Answer),
    /// It came too late to count; the result is kept beside the status.
    TooLate,
}

/// Finishes a deployment. The same again changes nothing.
pub async fn finish(
    ctx: &Ctx,
    id: Uuid,
    outcome: Outcome,
    message: Option<&String>,
    render: Render<'_, NamedDeployment>,
) -> Result<Answer, Error> {
    ctx.require_or_linger(Scope::Deploy)?;
    let finished =
        ctx.write(|work| async move { finish_in(ctx, work, id, (outcome, message), render).await }).await?;
    match finished {
        Finished::Now(named, answer) => {
            held::count(&ctx.app, &named);
            Ok(answer)
        }
        Finished::Already(answer) => Ok(answer),
        Finished::TooLate => Err(Error::Conflict(
            "the deployment expired and a later one of its target has started; \
             this result is kept as its late_status and changes nothing else"
                .to_owned(),
        )),
    }
}

async fn finish_in(
    ctx: &Ctx,
    mut work: Work,
    id: Uuid,
    (outcome, message): (Outcome, Option<&String>),
    render: Render<'_, NamedDeployment>,
) -> Result<Finished, Error> {
    let mut held = held::hold(ctx, &work, id).await?;
    let done = held.named.deployment.finish(&mut held.target, outcome, message.cloned(), held.now);
    match done.map_err(|refused| Error::Conflict(refused.to_string()))? {
        Finish::Now(end) => {
            held::write_end(&mut work, &held, &end, ctx.actor().clone()).await?;
            let answer = work.happened_at(end.at).answer(held.now, &held.named, render).await?;
            Ok(Finished::Now(Box::new(held.named), answer))
        }
        Finish::TooLate { kept_at } => {
            if let Some(at) = kept_at {
                held::warn_if_ahead(&held.named, at, held.now);
                deployment::keep_late(work.conn(), id, outcome).await?;
                let data = json!({ "late_status": outcome, "message": message });
                work.tell(EventKind::DeploymentLate, data).deployment(&held.named);
                work.commit(at, ()).await?;
            }
            Ok(Finished::TooLate)
        }
        Finish::Already => Ok(Finished::Already(work.answer(held.now, &held.named, render).await?)),
    }
}
