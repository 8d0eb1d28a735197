//! Finishes: how a pipeline says that a deployment came out.

use serde_json::json;
use uuid::Uuid;

use crate::{
    domain::{
        deployment::{Command, Move, Named, Situation, advance},
        event::{EventKind, NewEvent},
        vocabulary::{Outcome, Scope},
    },
    store::{
        db::Tx,
        deployment::{self, Locked},
    },
    usecase::{
        context::{Ctx, Render},
        deployments::end,
        error::Error,
    },
};

async fn lock(ctx: &Ctx, tx: &Tx, id: Uuid) -> Result<(Locked, Situation), Error> {
    let locked = deployment::lock(tx.conn(), id, ctx.within()).await?;
    let locked = locked.ok_or_else(|| Error::not_found("deployment", &id))?;
    let situation = locked.named.deployment.situation(locked.target.last_started_at);
    Ok((locked, situation))
}

/// What a finish came to.
enum Finished {
    /// It ended now.
    Now(Named),
    /// It had ended so before.
    Already(Named),
    /// It came too late to count; the result is kept beside the status.
    TooLate,
}

/// Finishes a deployment. The same again changes nothing.
pub async fn finish(
    ctx: &Ctx,
    id: Uuid,
    outcome: Outcome,
    message: Option<&String>,
    render: Render<'_, Named>,
) -> Result<Named, Error> {
    ctx.require(Scope::Deploy)?;
    let finished =
        ctx.app.db.write(|tx| async move { finish_in(ctx, tx, id, outcome, message, render).await }).await?;
    match finished {
        Finished::Now(named) => {
            end::count(&ctx.app, &named);
            Ok(named)
        }
        Finished::Already(named) => Ok(named),
        Finished::TooLate => Err(Error::Conflict(
            "the deployment expired and a later one of its target has started; \
             this result is kept as its late_status and changes nothing else"
                .to_owned(),
        )),
    }
}

async fn finish_in(
    ctx: &Ctx,
    tx: Tx,
    id: Uuid,
    outcome: Outcome,
    message: Option<&String>,
    render: Render<'_, Named>,
) -> Result<Finished, Error> {
    let (mut locked, situation) = lock(ctx, &tx, id).await?;
    let step = advance(situation, Command::Finish(outcome), locked.now);
    match step.map_err(|refused| Error::Conflict(refused.to_string()))? {
        Move::End(status) => {
            let event = end::apply(&tx, &mut locked, status, message.cloned(), ctx.actor()).await?;
            ctx.record(&tx, vec![event], end::at(&locked)).await?;
            let now = locked.now;
            Ok(Finished::Now(ctx.commit(tx, now, locked.named, render).await?))
        }
        Move::KeepLate(outcome) => {
            // The first one is kept: those that follow say nothing that would count.
            if locked.named.deployment.standing.late_status.is_none() {
                deployment::keep_late(tx.conn(), id, outcome).await?;
                let data = json!({ "late_status": outcome, "message": message });
                let event =
                    end::about(NewEvent::new(EventKind::DeploymentLate, ctx.actor(), data), &locked.named);
                let named = &locked.named;
                let place = (named.service.as_str(), named.environment.as_str());
                ctx.record(&tx, vec![event], end::next_at(&locked.target, locked.now, place)).await?;
                tx.commit(()).await?;
            }
            Ok(Finished::TooLate)
        }
        Move::Already | Move::Renew | Move::Resume => {
            let now = locked.now;
            Ok(Finished::Already(ctx.commit(tx, now, locked.named, render).await?))
        }
    }
}
