//! `/tokens`: who may do what.

use std::collections::BTreeSet;

use poem::{Request, http::StatusCode};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::Example,
};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        reply::{Done, Made as MadeStatus, Reply, answer},
        types::{Many, Nullable, Text, Time, owned},
        view::refuse,
    },
    clock,
    domain::{
        actor::{Actor, Principal},
        credential::Credential,
        fault::Faults,
        form::TellingShort,
        idempotency::Answer,
        identity::Identity,
        person::Person,
        scope::Narrowing,
        text::{self, Name, SHORT_TEXT_MAX},
        vocabulary::Scope,
    },
    http::problem::Problem,
    usecase::tokens::{self, Made, NewToken},
};

/// The most names that one list of a token has.
const NAMES_MAX: usize = 200;

/// The operations.
#[derive(Debug)]
pub struct TokensApi;

/// A token.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Token")]
pub struct TokenView {
    /// Identity.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The person or pipeline that holds it.
    pub subject: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The groups it approves for.
    pub groups: Vec<String>,
    /// The services it is narrowed to; null for all.
    pub services: Nullable<Vec<String>>,
    /// The environments it is narrowed to; null for all.
    pub environments: Nullable<Vec<String>>,
    /// When it stops working.
    pub expires_at: Nullable<Time>,
    /// When it was made.
    pub created_at: Time,
    /// Since when it is revoked.
    pub revoked_at: Nullable<Time>,
    /// The secret; shown once, to whoever made it, and to nobody else ever.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

fn view(token: Credential, secret: Option<String>) -> TokenView {
    let names = |names: Option<BTreeSet<String>>| Nullable(names.map(|names| names.into_iter().collect()));
    let Principal { token_id, actor, scopes, groups, narrowing, .. } = token.principal;
    TokenView {
        id: token_id,
        name: actor.token,
        subject: actor.subject,
        scopes: scopes.into_iter().collect(),
        groups: groups.into_iter().collect(),
        services: names(narrowing.services),
        environments: names(narrowing.environments),
        expires_at: token.expires_at.map(Time).into(),
        created_at: Time(token.created_at),
        revoked_at: token.revoked_at.map(Time).into(),
        token: secret,
    }
}

/// Names that a token is narrowed to.
type Names = Many<Text<Name>, 0, NAMES_MAX>;

/// Groups that a token is put into.
type Groups = Many<Text<TellingShort>, 0, NAMES_MAX>;

/// A token to make.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct CreateToken {
    /// Its name: a DNS-1123 label.
    pub name: Text<Name>,
    /// The person or pipeline that holds it, at most 200 characters; the name when absent.
    #[oai(skip_serializing_if_is_none)]
    pub subject: Option<Text<TellingShort>>,
    /// What it may do.
    pub scopes: Many<Scope, 1, { usize::MAX }>,
    /// The groups it approves for.
    #[oai(default)]
    pub groups: Groups,
    /// The services it is narrowed to; all when absent.
    #[oai(skip_serializing_if_is_none)]
    pub services: Option<Names>,
    /// The environments it is narrowed to; all when absent.
    #[oai(skip_serializing_if_is_none)]
    pub environments: Option<Names>,
    /// When it stops working; never when absent.
    #[oai(skip_serializing_if_is_none)]
    pub expires_at: Option<Time>,
}

impl Example for CreateToken {
    fn example() -> Self {
        Self {
            name: "ci-shop".into(),
            subject: Some("gitlab:acme/shop".into()),
            scopes: Many(vec![Scope::Read, Scope::Deploy]),
            groups: Many::default(),
            services: Some(Many(vec!["shop".into()])),
            environments: None,
            expires_at: None,
        }
    }
}

fn names(faults: &mut Faults, pointer: &str, given: &Names) -> BTreeSet<String> {
    if given.0.len() > NAMES_MAX {
        faults.add(pointer, "too-many", format!("must have at most {NAMES_MAX} names"));
    }
    for (index, name) in given.0.iter().enumerate() {
        faults.take(&format!("{pointer}/{index}"), Name::parse(name));
    }
    given.0.iter().map(|name| name.0.clone()).collect()
}

fn groups(faults: &mut Faults, given: &Groups) -> BTreeSet<String> {
    if given.0.len() > NAMES_MAX {
        faults.add("/groups", "too-many", format!("must have at most {NAMES_MAX} groups"));
    }
    for (index, group) in given.0.iter().enumerate() {
        faults.take(&format!("/groups/{index}"), text::group(&group.0));
    }
    given.0.iter().map(|group| group.0.clone()).collect()
}

impl CreateToken {
    /// The token that is asked for, once every field of it is right.
    pub fn parse(&self) -> Result<NewToken, Faults> {
        let mut faults = Faults::default();
        let name = faults.take("/name", Name::parse(&self.name));
        let subject = owned(self.subject.as_ref()).unwrap_or_else(|| self.name.0.clone());
        faults.take("/subject", text::telling(&subject, SHORT_TEXT_MAX));
        let server = Actor::server();
        if self.name.0 == server.token || Person::of(&subject) == Person::of(&server.subject) {
            faults.add("/name", "reserved", "must not be the name that the server has in the audit log");
        }
        if self.scopes.0.is_empty() {
            faults.add("/scopes", "empty", "must hold at least one scope");
        }
        if self.expires_at.is_some_and(|at| at.0 <= clock::now()) {
            faults.add("/expires_at", "past", "must be in the future");
        }
        let groups = groups(&mut faults, &self.groups);
        let services = self.services.as_ref().map(|given| names(&mut faults, "/services", given));
        let environments = self.environments.as_ref().map(|given| names(&mut faults, "/environments", given));
        let token = name.map(|name| NewToken {
            principal: Principal {
                token_id: Uuid::nil(),
                identity: Identity::Token,
                actor: Actor { token: name.to_string(), subject },
                scopes: self.scopes.0.iter().copied().collect(),
                groups,
                narrowing: Narrowing { services, environments },
            },
            expires_at: self.expires_at.map(|time| time.0),
        });
        faults.finish(token)
    }
}

impl Listed for TokenView {
    const PAGE: Words =
        Words { name: "TokenPage", is: "A page of tokens.", items: "The tokens, oldest first." };
}

fn rendered(made: &Made, secret: Option<String>) -> Answer {
    let location = Some(format!("/api/v1/tokens/{}", made.token.principal.token_id));
    Answer { location, ..answer(StatusCode::CREATED, &view(made.token.clone(), secret)) }
}

#[OpenApi(tag = "Tags::Tokens")]
impl TokensApi {
    /// Make a token
    ///
    /// Its secret is in this answer and nowhere else; an answer given again for an idempotency key omits it. No token
    /// makes another that reaches further than itself; an admin may put it into any group.
    #[oai(path = "/tokens", method = "post", operation_id = "create_token")]
    async fn create_token(
        &self,
        auth: Auth,
        body: Json<CreateToken>,
    ) -> Result<Reply<TokenView, MadeStatus>, Problem> {
        let new = body.0.parse().map_err(refuse)?;
        auth.once(&body.0, |ctx| async move {
            let made = tokens::create(&ctx, &new, &|made| rendered(made, None)).await?;
            Ok(rendered(&made, Some(made.secret.expose_secret().to_owned())))
        })
        .await
    }

    /// List tokens
    #[oai(path = "/tokens", method = "get", operation_id = "list_tokens")]
    async fn list_tokens(
        &self,
        auth: Auth,
        request: &Request,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<TokenView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let page = tokens::list(&auth.ctx(), &asked).await?;
        List::of(page, request, |token| view(token, None))
    }

    /// Revoke a token
    ///
    /// It stops working with the next request. Its name is free again.
    #[oai(path = "/tokens/:id", method = "delete", operation_id = "revoke_token")]
    async fn revoke_token(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        tokens::revoke(&auth.ctx(), id.0).await?;
        Ok(Done::Done)
    }
}
