//! The names that subjects go by.

use std::collections::BTreeSet;

use crate::{
    domain::{
        page::{Page, PageRequest, page},
        people::{Named, Names},
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

/// The names of those whom the caller was shown. Nobody is looked for where no issuer vouches for any of them, so that it
/// costs nothing where people do not sign in.
pub async fn names(ctx: &Ctx, subjects: BTreeSet<String>) -> Result<Names, Error> {
    let vouched = |subject: &String| {
        let issuer = subject.split_once(':').map(|(issuer, _)| issuer);
        issuer.is_some_and(|issuer| ctx.app.issuers.named(issuer).is_some())
    };
    let subjects: Vec<_> = subjects.into_iter().filter(vouched).collect();
    Ok(person::names(ctx.app.db.read(), &subjects).await?.into_iter().collect())
}
