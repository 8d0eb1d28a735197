//! Reading what the gate said before.

use uuid::Uuid;

use crate::{
    domain::{
        gate::{
            redact::{is_within, redacted},
            stored::{Filter, Stored},
        },
        page::{Page, PageRequest, TimeKey, page},
        vocabulary::Scope,
    },
    store::decision,
    usecase::{
        context::Ctx,
        error::Error,
        named::{self, Confined},
    },
};

/// Reads a decision, as far as the caller may see it.
pub async fn get(ctx: &Ctx, id: Uuid) -> Result<Stored, Error> {
    ctx.require(Scope::Read)?;
    let found = decision::find(ctx.app.db.read(), ctx.within(), id).await?;
    found.map(|stored| visible(ctx, stored)).ok_or_else(|| Error::not_found("decision", &id))
}

/// Lists decisions, those that were last said first.
pub async fn list(ctx: &Ctx, filter: &Filter, request: &PageRequest<TimeKey>) -> Result<Page<Stored>, Error> {
    ctx.require(Scope::Read)?;
    let rows = decision::list(ctx.app.db.read(), ctx.within(), filter, request).await?;
    if rows.is_empty() {
        let Filter { service, environment, version, .. } = filter;
        let only = Confined {
            service: service.as_deref(),
            environment: environment.as_deref(),
            version: version.as_deref(),
            ..Confined::default()
        };
        named::check(ctx, only).await?;
    }
    let rows = rows.into_iter().map(|stored| visible(ctx, stored)).collect();
    Ok(page(rows, request.limit, |stored| TimeKey {
        at: stored.decision.evaluated_at,
        id: stored.decision.id,
    }))
}

fn visible(ctx: &Ctx, mut stored: Stored) -> Stored {
    stored.inputs = stored.inputs.filter(|inputs| is_within(inputs, ctx.within()));
    stored.decision = redacted(stored.decision, ctx.within());
    stored
}
