//! `/auth` and `/access`: who asks, how a pipeline is let in, and who may do what at all.

use std::collections::BTreeSet;

use poem::Request;
use poem_openapi::{Object, OpenApi, param::Query, payload::Json, types::Example};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::{self, Auth},
        page::{List, Listed, Page, Words, page_request},
        trusts::listed,
        types::{Nullable, Text, Time},
    },
    domain::{
        actor::Principal,
        credential::Credential,
        form::Jwt,
        identity::{
            Identity,
            trust::{Definition, Trust},
        },
        people::shown,
        role::Role,
        scope::Narrowing,
        vocabulary::{CredentialKind, Scope},
    },
    http::{
        middleware::{access_log::ActorName, request_id::RequestId},
        problem::Problem,
    },
    usecase::{
        access::{self, Access},
        app::App,
        exchange::{self, Exchanged},
    },
};

/// The operations.
#[derive(Debug)]
pub struct IdentityApi;

/// An ID token of a pipeline.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct IdToken {
    /// The ID token, as the issuer signed it (RFC 7515 §7.1), at most 16 KiB.
    pub id_token: Text<Jwt>,
}

impl Example for IdToken {
    fn example() -> Self {
        Self {
            id_token:
                "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2dpdGxhYi5jb20ifQ.c2lnbmF0dXJl"
                    .into(),
        }
    }
}

/// What an ID token was exchanged for.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Exchanged")]
pub struct ExchangedView {
    /// The credential: sent as a token is, and shown this once.
    pub token: String,
    /// When it stops working, but for seeing through what it started.
    pub expires_at: Time,
    /// Whom it stands for.
    pub subject: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The trust that let it in.
    pub trust: String,
    /// The services that it is narrowed to; null for all.
    pub services: Nullable<Vec<String>>,
    /// The environments that it is narrowed to; null for all.
    pub environments: Nullable<Vec<String>>,
    /// Who is proved to have started the pipeline; null where nobody is.
    pub initiator: Nullable<String>,
}

impl From<Exchanged> for ExchangedView {
    fn from(Exchanged { credential, secret, trust }: Exchanged) -> Self {
        let Credential { principal, created_at, expires_at, .. } = credential;
        let initiator = principal.pipeline().and_then(|pipeline| pipeline.initiator.clone());
        Self {
            token: secret.expose_secret().to_owned(),
            expires_at: Time(expires_at.unwrap_or(created_at)),
            subject: principal.actor.subject,
            scopes: principal.scopes.into_iter().collect(),
            trust,
            services: listed(principal.narrowing.services),
            environments: listed(principal.narrowing.environments),
            initiator: Nullable(initiator),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Me")]
pub struct MeView {
    /// By what you were recognised.
    pub kind: CredentialKind,
    /// The credential's id.
    pub id: Uuid,
    /// What let you in: the token's name, or `trust:` and the trust's.
    pub token: String,
    /// Whom the ledger names.
    pub subject: String,
    /// Your name for people, as the issuer last gave it; null where there is none.
    pub name: Nullable<String>,
    /// What you may do.
    pub scopes: Vec<Scope>,
    /// The groups that you approve for.
    pub groups: Vec<String>,
    /// The services that you are narrowed to; null for all.
    pub services: Nullable<Vec<String>>,
    /// The environments that you are narrowed to; null for all.
    pub environments: Nullable<Vec<String>>,
    /// When the credential stops working; null where it does not.
    pub expires_at: Nullable<Time>,
    /// Who is proved to have started the pipeline; null where nobody is, or where it is none.
    pub initiator: Nullable<String>,
}

fn kind(principal: &Principal) -> CredentialKind {
    match principal.identity {
        Identity::Token => CredentialKind::Token,
        Identity::Pipeline(_) => CredentialKind::Pipeline,
        Identity::Session(_) => CredentialKind::Session,
    }
}

/// Something that lets somebody in, or says what they may do.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Access")]
pub struct AccessView {
    /// What it is: `role`, `token`, `trust` or `session`.
    pub kind: String,
    /// Identity; null for a role, which is in the configuration.
    pub id: Nullable<Uuid>,
    /// Its name: of a role the group, of a session what its person signed in by.
    pub name: String,
    /// Whom it is about: a token's or a session's subject; of a trust, the issuer with the claims that it wants; of a role,
    /// the issuer whose group it is.
    pub who: String,
    /// What it lets them do. Nothing of a session at an issuer: the roles of its groups say that.
    pub scopes: Vec<Scope>,
    /// The groups that they approve for.
    pub groups: Vec<String>,
    /// The services that they are narrowed to; null for all.
    pub services: Nullable<Vec<String>>,
    /// The environments that they are narrowed to; null for all.
    pub environments: Nullable<Vec<String>>,
    /// When it was made; null for a role.
    pub created_at: Nullable<Time>,
    /// When it ends; null where it does not.
    pub expires_at: Nullable<Time>,
}

impl Listed for AccessView {
    const PAGE: Words = Words {
        name: "AccessPage",
        is: "A page of what lets people and pipelines in.",
        items: "The roles, in the order of the configuration; then tokens, trusts and sessions, oldest first.",
    };
}

/// What may be done, by whom, and where.
fn rights(
    scopes: BTreeSet<Scope>,
    groups: BTreeSet<String>,
    Narrowing { services, environments }: Narrowing,
) -> AccessView {
    AccessView {
        kind: String::new(),
        id: Nullable(None),
        name: String::new(),
        who: String::new(),
        scopes: scopes.into_iter().collect(),
        groups: groups.into_iter().collect(),
        services: listed(services),
        environments: listed(environments),
        created_at: Nullable(None),
        expires_at: Nullable(None),
    }
}

fn of_role(role: Role, issuer: &str) -> AccessView {
    let who = format!("{issuer}: group {}", role.group);
    let rights = rights(role.scopes, [role.group.clone()].into(), role.narrowing);
    AccessView { kind: "role".to_owned(), name: role.group, who, ..rights }
}

fn of_trust(trust: Trust) -> AccessView {
    let Definition { name, issuer, claims, scopes, groups, places, .. } = trust.definition;
    let claims: Vec<_> = claims.iter().map(|(claim, wanted)| format!("{claim}={wanted}")).collect();
    AccessView {
        kind: "trust".to_owned(),
        id: Nullable(Some(trust.id)),
        name,
        who: format!("{issuer}: {}", claims.join(", ")),
        created_at: Nullable(Some(Time(trust.created_at))),
        ..rights(scopes, groups, places)
    }
}

fn of_credential(credential: Credential) -> AccessView {
    let Credential { principal, created_at, expires_at, .. } = credential;
    let name = principal.session().and_then(|session| session.shown_name.as_deref());
    AccessView {
        kind: kind(&principal).as_str().to_owned(),
        id: Nullable(Some(principal.token_id)),
        who: shown(name, &principal.actor.subject),
        name: principal.actor.token,
        created_at: Nullable(Some(Time(created_at))),
        expires_at: Nullable(expires_at.map(Time)),
        ..rights(principal.scopes, principal.groups, principal.narrowing)
    }
}

#[OpenApi(tag = "Tags::Tokens")]
impl IdentityApi {
    /// Exchange a pipeline's ID token for a credential
    ///
    /// Needs no token. The ID token is one of an issuer of the server's configuration, made for this server (its `aud`), and
    /// a trust lets it in. The credential is good for as long as the ID token, but at least 5 minutes and at most an hour;
    /// after that it may still heartbeat, finish and read the deployments that it started. An ID token is exchanged at most
    /// 20 times.
    #[oai(path = "/auth/exchange", method = "post", operation_id = "exchange_id_token")]
    async fn exchange_id_token(
        &self,
        request: &Request,
        body: Json<IdToken>,
    ) -> Result<Json<ExchangedView>, Problem> {
        let app = request.data::<App>().ok_or_else(Problem::internal)?;
        let request_id = RequestId::of(request).unwrap_or_default();
        let shown = exchange::verify(app, &body.0.id_token.0).await?;
        auth::limit(request, app, shown.whose())?;
        let exchanged = exchange::exchange(app, &shown, &request_id).await?;
        ActorName::set(request, &exchanged.credential.principal.actor.token);
        Ok(Json(exchanged.into()))
    }

    /// Who asks
    #[oai(path = "/auth/me", method = "get", operation_id = "get_me")]
    async fn get_me(&self, auth: Auth) -> Result<Json<MeView>, Problem> {
        let ctx = auth.ctx();
        let expires_at = access::expires_at(&ctx).await?;
        let principal = ctx.principal;
        let name = principal.session().and_then(|session| session.shown_name.clone());
        let initiator = principal.pipeline().and_then(|pipeline| pipeline.initiator.clone());
        Ok(Json(MeView {
            kind: kind(&principal),
            id: principal.token_id,
            token: principal.actor.token,
            subject: principal.actor.subject,
            name: Nullable(name),
            scopes: principal.scopes.into_iter().collect(),
            groups: principal.groups.into_iter().collect(),
            services: listed(principal.narrowing.services),
            environments: listed(principal.narrowing.environments),
            expires_at: Nullable(expires_at.map(Time)),
            initiator: Nullable(initiator),
        }))
    }

    /// List who may do what
    ///
    /// Every role of the configuration, every token that is good, every trust, and whoever is signed in, for whoever reviews
    /// them; it needs the scope `audit`. What reaches further than whoever asks is left out.
    #[oai(path = "/access", method = "get", operation_id = "list_access")]
    async fn list_access(
        &self,
        auth: Auth,
        request: &Request,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<AccessView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let ctx = auth.ctx();
        let page = access::list(&ctx, &asked).await?;
        let issuer = ctx.app.config.auth.oidc.issuer.as_deref().unwrap_or_default();
        List::of(page, request, |access| match access {
            Access::Role(_, role) => of_role(role, issuer),
            Access::Trust(trust) => of_trust(trust),
            Access::Token(credential) | Access::Session(credential) => of_credential(credential),
        })
    }
}
