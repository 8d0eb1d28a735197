//! The names that subjects go by.

use crate::{
    domain::{
        page::{Page, PageRequest, page},
        people::Named,
        vocabulary::Scope,
    },
    store::person,
    usecase::{context::Ctx, error::Error},
};

/// Lists those who have signed in at an issuer, by subject, with the name that each was last seen with.
pub async fn list(ctx: &Ctx, request: &PageRequest<String>) -> Result<Page<Named>, Error> {
    ctx.require(Scope::Read)?;
    let rows = person::list(ctx.app.db.read(), request).await?;
    Ok(page(rows, request.limit, |named| named.subject.clone()))
}
