//! Who asks, and who may do what at all: for whoever reviews it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{
        credential::Credential,
        identity::trust::Trust,
        page::{Page, PageRequest, page},
        role::Role,
        vocabulary::Scope,
    },
    store::{db, session, token, trust},
    usecase::{context::Ctx, error::Error, seen, sessions},
};

/// Something that lets somebody in, or says what they may do.
#[derive(Clone, Debug)]
pub enum Access {
    /// A role of the configuration, with its place there.
    Role(usize, Role),
    /// A token that is still good.
    Token(Credential),
    /// A trust.
    Trust(Trust),
    /// Somebody who is signed in.
    Session(Credential),
}

/// Where the list goes on: the roles come first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// Behind the role of this place.
    Role(usize),
    /// Behind what has this id.
    Row(Uuid),
}

impl Access {
    fn key(&self) -> Key {
        match self {
            Self::Role(place, _) => Key::Role(*place),
            Self::Token(_) | Self::Trust(_) | Self::Session(_) => Key::Row(self.id()),
        }
    }

    fn id(&self) -> Uuid {
        match self {
            Self::Role(..) => Uuid::nil(),
            Self::Token(known) | Self::Session(known) => known.principal.token_id,
            Self::Trust(trust) => trust.id,
        }
    }

    /// Whether it reaches no further than whoever asks.
    fn is_within(&self, ctx: &Ctx) -> bool {
        match self {
            Self::Role(_, role) => ctx.within().covers(&role.narrowing),
            Self::Token(token) => ctx.within().covers(&token.principal.narrowing),
            Self::Trust(trust) => ctx.within().covers(&trust.definition.places),
            Self::Session(session) => {
                let principal = &session.principal;
                // Of somebody whom an issuer vouched for, the roles say where.
                let roles = sessions::held_roles(&ctx.app, principal);
                ctx.within().covers(&principal.narrowing) || is_of_issuer(session) && covers_all(ctx, &roles)
            }
        }
    }

    fn is_good(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Token(token) => token.clone().at(now).is_ok(),
            Self::Role(..) | Self::Trust(_) | Self::Session(_) => true,
        }
    }
}

fn is_of_issuer(session: &Credential) -> bool {
    session.principal.session().is_some_and(|session| session.issuer().is_some())
}

fn covers_all(ctx: &Ctx, roles: &[Role]) -> bool {
    roles.iter().all(|role| ctx.within().covers(&role.narrowing))
}

/// Lists the roles, and then everything that lets somebody in, oldest first, as far as it reaches no further than whoever
/// asks: an auditor's list, too.
pub async fn list(ctx: &Ctx, request: &PageRequest<Key>) -> Result<Page<Access>, Error> {
    ctx.require(Scope::Audit)?;
    let more = usize::try_from(request.limit).unwrap_or(usize::MAX).saturating_add(1);
    let (roles, after) = match request.after {
        None => (0, None),
        Some(Key::Role(place)) => (place.saturating_add(1), None),
        Some(Key::Row(id)) => (usize::MAX, Some(id)),
    };
    // They say nothing where nobody signs in at an issuer.
    let all = ctx.app.config.auth.oidc.issuer.is_some().then_some(ctx.app.people.roles.as_slice());
    let roles = all.unwrap_or_default().iter().cloned().enumerate().skip(roles);
    let roles = roles.map(|(place, role)| Access::Role(place, role));
    let mut shown: Vec<_> = roles.filter(|role| role.is_within(ctx)).take(more).collect();
    let conn = ctx.app.db.read();
    let now = db::now(conn).await?;
    if shown.len() < more {
        let read = async |rest| {
            let tokens = token::list(conn, &rest).await?.into_iter().map(Access::Token);
            let trusts = trust::list(conn, &rest).await?.into_iter().map(Access::Trust);
            let sessions = session::list(conn, None, now, &rest).await?.into_iter().map(Access::Session);
            let mut rows: Vec<_> = tokens.chain(trusts).chain(sessions).collect();
            rows.sort_by_key(Access::id);
            // Of any kind no more than this was read, so that nothing is known of what comes later.
            rows.truncate(more);
            Ok(rows)
        };
        let rows = PageRequest { limit: request.limit, after };
        let may_see = |row: &Access| row.is_within(ctx) && row.is_good(now);
        shown.extend(seen::next(&rows, read, Access::id, may_see).await?);
    }
    Ok(page(shown, request.limit, Access::key))
}

/// When what a request came with ends, if it does.
pub async fn expires_at(ctx: &Ctx) -> Result<Option<DateTime<Utc>>, Error> {
    let found = token::find_any(ctx.app.db.read(), ctx.principal.token_id).await?;
    Ok(found.and_then(|found| found.expires_at))
}
