//! Trusts: making, editing and deleting them, and explaining what they make of an ID token.

use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{
        event::EventKind,
        idempotency::Answer,
        identity::{
            Identity,
            claims::Claims,
            trust::{Definition, Known, Looked, Outside, TRUSTS_MAX, Trust, choose},
        },
        page::{Page, PageRequest, page},
        revision::Expected,
        vocabulary::Scope,
    },
    store::{error::StoreError, token, trust},
    usecase::{
        context::Ctx,
        error::Error,
        seen,
        work::{Render, Work},
    },
};

/// What an edit makes of what it finds.
pub type Edit<'a> = &'a (dyn Fn(Definition) -> Definition + Send + Sync);

/// Makes a trust within the rights of whoever asks.
pub async fn create(ctx: &Ctx, definition: &Definition, render: Render<'_, Trust>) -> Result<Answer, Error> {
    ctx.require(Scope::Admin)?;
    refuse_short_lived(ctx).await?;
    check(ctx, definition)?;
    ctx.write(|work| async move { create_in(ctx, work, definition, render).await }).await
}

async fn create_in(
    ctx: &Ctx,
    mut work: Work,
    definition: &Definition,
    render: Render<'_, Trust>,
) -> Result<Answer, Error> {
    trust::lock_table(work.conn()).await?;
    let now = work.now().await?;
    if trust::count(work.conn(), &definition.issuer).await? >= TRUSTS_MAX {
        let detail = format!("{} has {TRUSTS_MAX} trusts, the most there can be", definition.issuer);
        return Err(Error::Conflict(detail));
    }
    let made = Trust::new(clock::new_id(), definition.clone(), ctx.actor().clone(), now);
    trust::insert(work.conn(), &made).await.map_err(|error| taken(error, &made))?;
    work.tell(EventKind::TrustCreated, json!({ "id": made.id, "trust": made.definition }));
    work.answer(now, &made, render).await
}

fn taken(error: StoreError, trust: &Trust) -> Error {
    if matches!(error, StoreError::Unique(_)) {
        return Error::Conflict(format!(
            "there is a trust named {}; take another name",
            trust.definition.name
        ));
    }
    error.into()
}

/// Fails when a token that expires would make what does not.
async fn refuse_short_lived(ctx: &Ctx) -> Result<(), Error> {
    if matches!(ctx.principal.identity, Identity::Session(_)) {
        return Ok(());
    }
    let maker = token::find_any(ctx.app.db.read(), ctx.principal.token_id).await?;
    if maker.is_some_and(|maker| maker.expires_at.is_some()) {
        return Err(Error::Forbidden("what expires makes no trust, because that does not".to_owned()));
    }
    Ok(())
}

/// Checks what a trust says, and that it reaches no further than whoever makes it.
fn check(ctx: &Ctx, definition: &Definition) -> Result<(), Error> {
    let issuers: Vec<&str> = ctx.app.issuers.names().collect();
    let issuer = ctx.app.issuers.named(&definition.issuer);
    let immutable = issuer.map(|issuer| issuer.config.immutable_claims()).unwrap_or_default();
    let known = Known { issuers: &issuers, immutable: &immutable };
    definition.validate(known).map_err(|faults| Error::Invalid(faults.into_vec()))?;
    if !ctx.within().covers(&definition.places) {
        return Err(Error::Forbidden(
            "whoever is narrowed makes only trusts that are narrowed as far".to_owned(),
        ));
    }
    Ok(())
}

/// Edits a trust. Only a revision that is `expected`. What was exchanged by it before stays as it was until it ends.
pub async fn update(ctx: &Ctx, name: &str, expected: &Expected, edit: Edit<'_>) -> Result<Trust, Error> {
    ctx.require(Scope::Admin)?;
    refuse_short_lived(ctx).await?;
    ctx.write(|work| async move { update_in(ctx, work, name, expected, edit).await }).await
}

async fn update_in(
    ctx: &Ctx,
    mut work: Work,
    name: &str,
    expected: &Expected,
    edit: Edit<'_>,
) -> Result<Trust, Error> {
    let mut found = lock(ctx, &work, name, expected).await?;
    let after = edit(found.definition.clone());
    check(ctx, &after)?;
    if after == found.definition {
        return Ok(found);
    }
    let now = work.now().await?;
    let before = found.edit(after, now);
    trust::update(work.conn(), &found).await.map_err(|error| taken(error, &found))?;
    let data = json!({ "id": found.id, "before": before, "after": found.definition });
    work.tell(EventKind::TrustUpdated, data);
    work.commit(now, found).await
}

/// Deletes a trust, and ends at once what was exchanged by it.
pub async fn delete(ctx: &Ctx, name: &str, expected: &Expected) -> Result<(), Error> {
    ctx.require(Scope::Admin)?;
    ctx.write(|work| async move { delete_in(ctx, work, name, expected).await }).await
}

async fn delete_in(ctx: &Ctx, mut work: Work, name: &str, expected: &Expected) -> Result<(), Error> {
    let found = lock(ctx, &work, name, expected).await?;
    let now = work.now().await?;
    trust::delete(work.conn(), found.id).await?;
    let ended = token::revoke_of(work.conn(), found.id, now).await?;
    let data = json!({ "id": found.id, "trust": found.definition, "ended": ended });
    work.tell(EventKind::TrustDeleted, data);
    work.commit(now, ()).await
}

async fn lock(ctx: &Ctx, work: &Work, name: &str, expected: &Expected) -> Result<Trust, Error> {
    let found = trust::lock(work.conn(), name).await?;
    let found = found.filter(|found| ctx.within().covers(&found.definition.places));
    let found = found.ok_or_else(|| Error::not_found("trust", name))?;
    Error::if_edited(expected, found.revision)?;
    Ok(found)
}

/// Reads a trust.
pub async fn get(ctx: &Ctx, name: &str) -> Result<Trust, Error> {
    ctx.require(Scope::Admin)?;
    let found = trust::find(ctx.app.db.read(), name).await?;
    let found = found.filter(|found| ctx.within().covers(&found.definition.places));
    found.ok_or_else(|| Error::not_found("trust", name))
}

/// Lists trusts, oldest first: those that reach no further than whoever asks.
pub async fn list(ctx: &Ctx, request: &PageRequest<Uuid>) -> Result<Page<Trust>, Error> {
    ctx.require(Scope::Admin)?;
    let read = async |rest| trust::list(ctx.app.db.read(), &rest).await;
    let id = |trust: &Trust| trust.id;
    let may_see = |trust: &Trust| ctx.within().covers(&trust.definition.places);
    Ok(page(seen::next(request, read, id, may_see).await?, request.limit, id))
}

/// What the trusts make of an ID token.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Whose it is.
    pub issuer: String,
    /// What it says.
    pub claims: Claims,
    /// The trust that lets it in; none where none does.
    pub chosen: Option<String>,
    /// Why none does; empty where one does.
    pub reason: String,
    /// Each trust of the issuer that the caller may see, with each claim that it wants.
    pub trusts: Vec<(String, Vec<Looked>)>,
}

/// Explains what the trusts make of an ID token, claim by claim. It is looked at as if it were exchanged, and is not counted.
pub async fn explain(ctx: &Ctx, id_token: &str) -> Result<Explained, Error> {
    ctx.require(Scope::Admin)?;
    let issuer = ctx.app.issuers.of_token(id_token).map_err(Error::Identity)?;
    let claims = issuer.verify(id_token, &issuer.audience, clock::now()).await?;
    let name = issuer.config.name.clone();
    let mut trusts = trust::of_issuer(ctx.app.db.read(), &name, TRUSTS_MAX).await?;
    trusts.retain(|trust| ctx.within().covers(&trust.definition.places));
    let (chosen, reason) = match choose(&trusts, &claims) {
        Ok(trust) => (Some(trust.definition.name.clone()), String::new()),
        Err(outside) => (None, in_words(&outside, &name)),
    };
    let looked = |trust: Trust| (trust.definition.name.clone(), trust.definition.look_at(&claims));
    let trusts = trusts.into_iter().map(looked).collect();
    Ok(Explained { issuer: name, chosen, reason, trusts, claims })
}

/// Why no trust lets a pipeline in, and what to do about it.
pub fn in_words(outside: &Outside, issuer: &str) -> String {
    match outside {
        Outside::Unmatched(None) => format!(
            "no trust is about {issuer}; an admin makes one with `waybill trust create --issuer {issuer}`"
        ),
        Outside::Unmatched(Some((nearest, amiss))) => {
            let claim =
                |claim: &Looked| format!("{} must be {} and is {}", claim.claim, claim.wanted, claim.given);
            let amiss: Vec<_> = amiss.iter().map(claim).collect();
            format!("no trust lets this ID token in; the nearest is {nearest}: {}", amiss.join("; "))
        }
        Outside::Several(names) => format!(
            "the trusts {} all let this ID token in, and none says more exactly whom it means; have one of them match another \
             claim, or delete it",
            names.join(" and ")
        ),
    }
}
