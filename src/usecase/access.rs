//! Who asks, and who may do what at all: for whoever reviews it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    domain::{
        credential::Credential,
        identity::trust::Trust,
        page::{Page, PageRequest, page},
        scope::Narrowing,
        vocabulary::Scope,
    },
    store::{db, token, trust},
    usecase::{context::Ctx, error::Error},
};

/// Something that lets somebody in.
#[derive(Clone, Debug)]
pub enum Access {
    /// A token that is still good.
    Token(Credential),
    /// A trust.
    Trust(Trust),
}

impl Access {
    fn id(&self) -> Uuid {
        match self {
            Self::Token(token) => token.principal.token_id,
            Self::Trust(trust) => trust.id,
        }
    }

    fn places(&self) -> &Narrowing {
        match self {
            Self::Token(token) => &token.principal.narrowing,
            Self::Trust(trust) => &trust.definition.places,
        }
    }

    fn is_good(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Token(token) => token.clone().at(now).is_ok(),
            Self::Trust(_) => true,
        }
    }
}

/// Lists everything that lets somebody in, oldest first, as far as it reaches no further than whoever asks: an auditor's
/// list, too.
pub async fn list(ctx: &Ctx, request: &PageRequest<Uuid>) -> Result<Page<Access>, Error> {
    ctx.require(Scope::Audit)?;
    let conn = ctx.app.db.read();
    let now = db::now(conn).await?;
    let (mut seen, mut rest) = (Vec::new(), request.clone());
    loop {
        let tokens = token::list(conn, &rest).await?;
        let trusts = trust::list(conn, &rest).await?;
        let mut rows: Vec<_> =
            tokens.into_iter().map(Access::Token).chain(trusts.into_iter().map(Access::Trust)).collect();
        rows.sort_by_key(Access::id);
        let more = usize::try_from(rest.limit).unwrap_or(usize::MAX).saturating_add(1);
        // Of either kind no more than this was read, so that nothing is known of what comes later.
        let full = rows.len() >= more;
        rows.truncate(more);
        rest.after = rows.last().map(Access::id);
        seen.extend(rows.into_iter().filter(|row| ctx.within().covers(row.places()) && row.is_good(now)));
        if !full || seen.len() >= more {
            return Ok(page(seen, request.limit, Access::id));
        }
    }
}

/// When what a request came with ends, if it does.
pub async fn expires_at(ctx: &Ctx) -> Result<Option<DateTime<Utc>>, Error> {
    let found = token::find_any(ctx.app.db.read(), ctx.principal.token_id).await?;
    Ok(found.and_then(|found| found.expires_at))
}
