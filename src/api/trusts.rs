//! `/trusts`: which pipelines of an issuer may do what.

use std::collections::{BTreeMap, BTreeSet};

use poem::Request;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
    types::{Example, MaybeUndefined},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        etag,
        identity::IdToken,
        page::{List, Listed, Page, Words, page_request},
        reply::{Changed, Done, Made, Reply, made},
        types::{Many, Nullable, Text, Time},
        view::{ActorView, edited, refuse},
        who::{See, Who},
    },
    domain::{
        fault::Faults,
        idempotency::Answer,
        identity::trust::{Definition, Looked, Trust},
        scope::Narrowing,
        text::Name,
        vocabulary::Scope,
    },
    http::problem::Problem,
    usecase::trusts::{self, Explained},
};

/// The most names that one list of a trust has.
const NAMES_MAX: usize = 200;

/// The operations.
#[derive(Debug)]
pub struct TrustsApi;

/// A trust: which pipelines of an issuer may do what.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Trust")]
pub struct TrustView {
    /// Identity.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The issuer whose ID tokens it is about.
    pub issuer: String,
    /// What each of these claims must be.
    pub claims: BTreeMap<String, String>,
    /// Our environments by what the issuer calls them; null where its claim `environment` does not count.
    pub environment_map: Nullable<BTreeMap<String, String>>,
    /// What its pipelines may do.
    pub scopes: Vec<Scope>,
    /// The groups that they approve for.
    pub groups: Vec<String>,
    /// The services that they are narrowed to; null for all.
    pub services: Nullable<Vec<String>>,
    /// The environments that they are narrowed to; null for all.
    pub environments: Nullable<Vec<String>>,
    /// Who made it.
    pub actor: ActorView,
    /// When it was made.
    pub created_at: Time,
    /// When it was last edited.
    pub updated_at: Time,
}

/// The names of a set, null where there is none.
pub(super) fn listed(names: Option<BTreeSet<String>>) -> Nullable<Vec<String>> {
    Nullable(names.map(|names| names.into_iter().collect()))
}

impl From<Trust> for TrustView {
    fn from(trust: Trust) -> Self {
        let Definition { name, issuer, claims, environment_map, scopes, groups, places } = trust.definition;
        Self {
            id: trust.id,
            name,
            issuer,
            claims,
            environment_map: Nullable(environment_map),
            scopes: scopes.into_iter().collect(),
            groups: groups.into_iter().collect(),
            services: listed(places.services),
            environments: listed(places.environments),
            actor: trust.actor.into(),
            created_at: Time(trust.created_at),
            updated_at: Time(trust.updated_at),
        }
    }
}

/// Names that a trust is narrowed to.
type Names = Many<Text<Name>, 0, NAMES_MAX>;

/// A trust to make.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct CreateTrust {
    /// Its name: a DNS-1123 label.
    pub name: Text<Name>,
    /// The issuer, by its name in the server's configuration.
    pub issuer: Text<Name>,
    /// What each of these claims must be, by its name or by a JSON pointer to a nested one: to the letter, or with `*` for
    /// anything up to the next `/`. At least one is to the letter that the issuer never reuses.
    pub claims: BTreeMap<String, String>,
    /// Our environments by what the claim `environment` calls them. Where it is given, a pipeline acts in the one that its ID
    /// token names, and in no other.
    #[oai(skip_serializing_if_is_none)]
    pub environment_map: Option<BTreeMap<String, String>>,
    /// What its pipelines may do.
    pub scopes: Many<Scope, 1, { usize::MAX }>,
    /// The groups that they approve for.
    #[oai(default)]
    pub groups: Names,
    /// The services that they are narrowed to; all when absent.
    #[oai(skip_serializing_if_is_none)]
    pub services: Option<Names>,
    /// The environments that they are narrowed to; all when absent.
    #[oai(skip_serializing_if_is_none)]
    pub environments: Option<Names>,
}

impl Example for CreateTrust {
    fn example() -> Self {
        let claims = [("project_id", "4711"), ("ref_protected", "true")];
        Self {
            name: "shop-prod".into(),
            issuer: "gitlab".into(),
            claims: claims.map(|(claim, wanted)| (claim.to_owned(), wanted.to_owned())).into(),
            environment_map: None,
            scopes: Many(vec![Scope::Read, Scope::Deploy]),
            groups: Many::default(),
            services: Some(Many(vec!["shop".into()])),
            environments: Some(Many(vec!["prod".into()])),
        }
    }
}

/// What to change of a trust; absent members stay.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct UpdateTrust {
    /// Its name.
    #[oai(skip_serializing_if_is_none)]
    pub name: Option<Text<Name>>,
    /// All the claims that it wants.
    #[oai(skip_serializing_if_is_none)]
    pub claims: Option<BTreeMap<String, String>>,
    /// All the environments that it maps; null where the claim is not to count.
    #[oai(skip_serializing_if_is_none)]
    pub environment_map: MaybeUndefined<BTreeMap<String, String>>,
    /// What its pipelines may do.
    #[oai(skip_serializing_if_is_none)]
    pub scopes: Option<Many<Scope, 1, { usize::MAX }>>,
    /// The groups that they approve for.
    #[oai(skip_serializing_if_is_none)]
    pub groups: Option<Names>,
    /// The services that they are narrowed to; null for all.
    #[oai(skip_serializing_if_is_none)]
    pub services: MaybeUndefined<Names>,
    /// The environments that they are narrowed to; null for all.
    #[oai(skip_serializing_if_is_none)]
    pub environments: MaybeUndefined<Names>,
}

impl Example for UpdateTrust {
    fn example() -> Self {
        Self {
            name: None,
            claims: None,
            environment_map: MaybeUndefined::Undefined,
            scopes: Some(Many(vec![Scope::Read, Scope::Deploy, Scope::Attest])),
            groups: None,
            services: MaybeUndefined::Undefined,
            environments: MaybeUndefined::Null,
        }
    }
}

fn set(names: &Names) -> BTreeSet<String> {
    names.0.iter().map(|name| name.0.clone()).collect()
}

/// Notes the names that are none.
fn check(faults: &mut Faults, pointer: &str, names: Option<&Names>) {
    let Some(names) = names else { return };
    if names.0.len() > NAMES_MAX {
        faults.add(pointer, "too-many", format!("must have at most {NAMES_MAX} names"));
    }
    for (index, name) in names.0.iter().enumerate() {
        faults.take(&format!("{pointer}/{index}"), Name::parse(name));
    }
}

impl CreateTrust {
    /// The trust that is asked for; its other fields are judged with what the server knows.
    pub fn parse(&self) -> Result<Definition, Faults> {
        let mut faults = Faults::default();
        check(&mut faults, "/groups", Some(&self.groups));
        check(&mut faults, "/services", self.services.as_ref());
        check(&mut faults, "/environments", self.environments.as_ref());
        faults.finish(Some(Definition {
            name: self.name.0.clone(),
            issuer: self.issuer.0.clone(),
            claims: self.claims.clone(),
            environment_map: self.environment_map.clone(),
            scopes: self.scopes.0.iter().copied().collect(),
            groups: set(&self.groups),
            places: Narrowing {
                services: self.services.as_ref().map(set),
                environments: self.environments.as_ref().map(set),
            },
        }))
    }
}

impl UpdateTrust {
    fn check(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        check(&mut faults, "/groups", self.groups.as_ref());
        for (pointer, names) in [("/services", &self.services), ("/environments", &self.environments)] {
            if let MaybeUndefined::Value(names) = names {
                check(&mut faults, pointer, Some(names));
            }
        }
        faults.finish(Some(()))
    }

    fn edit(&self, before: Definition) -> Definition {
        let places = before.places;
        Definition {
            name: self.name.as_ref().map_or(before.name, |name| name.0.clone()),
            issuer: before.issuer,
            claims: self.claims.clone().unwrap_or(before.claims),
            environment_map: edited(self.environment_map.as_ref(), Clone::clone, before.environment_map),
            scopes: self.scopes.as_ref().map_or(before.scopes, |scopes| scopes.0.iter().copied().collect()),
            groups: self.groups.as_ref().map_or(before.groups, set),
            places: Narrowing {
                services: edited(self.services.as_ref(), set, places.services),
                environments: edited(self.environments.as_ref(), set, places.environments),
            },
        }
    }
}

impl Who for TrustView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

impl Listed for TrustView {
    const PAGE: Words =
        Words { name: "TrustPage", is: "A page of trusts.", items: "The trusts, oldest first." };
}

/// A claim that a trust wants, and what the ID token has.
#[derive(Clone, Debug, Object)]
pub struct ClaimView {
    /// Its name, or a JSON pointer to it.
    pub claim: String,
    /// What the trust wants.
    pub wanted: String,
    /// What the ID token has, as JSON, or `missing`.
    pub given: String,
    /// Whether it is so.
    pub matches: bool,
}

impl From<Looked> for ClaimView {
    fn from(Looked { claim, wanted, given, matches }: Looked) -> Self {
        Self { claim, wanted, given, matches }
    }
}

/// What one trust makes of an ID token.
#[derive(Clone, Debug, Object)]
pub struct TrustCheck {
    /// Its name.
    pub trust: String,
    /// Whether all that it wants is so.
    pub matches: bool,
    /// Each claim that it wants.
    pub claims: Vec<ClaimView>,
}

/// What the trusts make of an ID token.
#[derive(Clone, Debug, Object)]
pub struct Explanation {
    /// Whose ID token it is.
    pub issuer: String,
    /// Whom it is about, as the issuer knows them.
    pub subject: String,
    /// When it ends.
    pub expires_at: Time,
    /// The trust by which it would be exchanged; null where it would be refused.
    pub trust: Nullable<String>,
    /// Why it would be refused; null where it would be exchanged.
    pub reason: Nullable<String>,
    /// What each trust of the issuer makes of it.
    pub trusts: Vec<TrustCheck>,
    /// Every claim of it, as it came.
    pub claims: serde_json::Value,
}

impl From<Explained> for Explanation {
    fn from(explained: Explained) -> Self {
        let check = |(trust, looked): (String, Vec<Looked>)| TrustCheck {
            trust,
            matches: looked.iter().all(|claim| claim.matches),
            claims: looked.into_iter().map(Into::into).collect(),
        };
        Self {
            issuer: explained.issuer,
            subject: explained.claims.subject().to_owned(),
            expires_at: Time(explained.claims.expires_at()),
            reason: Nullable((!explained.reason.is_empty()).then_some(explained.reason)),
            trust: Nullable(explained.chosen),
            trusts: explained.trusts.into_iter().map(check).collect(),
            claims: serde_json::Value::Object(explained.claims.all().clone()),
        }
    }
}

fn render(new: &Trust) -> Answer {
    made(format!("/api/v1/trusts/{}", new.definition.name), new.revision, &TrustView::from(new.clone()))
}

#[OpenApi(tag = "Tags::Tokens")]
impl TrustsApi {
    /// Make a trust
    ///
    /// From then on a pipeline with an ID token of the issuer that has these claims exchanges it for a credential with these
    /// rights (`POST /auth/exchange`). Of several trusts that match, the one counts that wants most claims to the letter.
    #[oai(path = "/trusts", method = "post", operation_id = "create_trust")]
    async fn create_trust(
        &self,
        auth: Auth,
        body: Json<CreateTrust>,
    ) -> Result<Reply<TrustView, Made>, Problem> {
        let definition = body.0.parse().map_err(refuse)?;
        auth.once(&body.0, |ctx| async move { trusts::create(&ctx, &definition, &render).await }).await
    }

    /// List trusts
    #[oai(path = "/trusts", method = "get", operation_id = "list_trusts")]
    async fn list_trusts(
        &self,
        auth: Auth,
        request: &Request,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<TrustView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let ctx = auth.ctx();
        let page = trusts::list(&ctx, &asked).await?;
        List::named(&ctx, page, request, Into::into).await
    }

    /// Explain what the trusts make of an ID token
    ///
    /// Claim by claim. The ID token is verified as for an exchange, and not counted as one.
    #[oai(path = "/trusts/check", method = "post", operation_id = "check_trusts")]
    async fn check_trusts(&self, auth: Auth, body: Json<IdToken>) -> Result<Json<Explanation>, Problem> {
        Ok(Json(trusts::explain(&auth.ctx(), &body.0.id_token.0).await?.into()))
    }

    /// Read a trust
    #[oai(path = "/trusts/:trust", method = "get", operation_id = "get_trust")]
    async fn get_trust(
        &self,
        auth: Auth,
        /// Its name.
        trust: Path<String>,
    ) -> Result<Reply<TrustView, Changed>, Problem> {
        let ctx = auth.ctx();
        let found = trusts::get(&ctx, &trust.0).await?;
        Reply::read(&ctx, found.revision, found.into()).await
    }

    /// Edit a trust
    ///
    /// Absent members stay. What was exchanged by it before keeps its rights until it ends, an hour later at most.
    #[oai(path = "/trusts/:trust", method = "patch", operation_id = "update_trust")]
    async fn update_trust(
        &self,
        auth: Auth,
        /// Its name.
        trust: Path<String>,
        /// The ETag of the revision that is meant, or several; without it, the last edit wins.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Json<UpdateTrust>,
    ) -> Result<Reply<TrustView, Changed>, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        let given = body.0;
        given.check().map_err(refuse)?;
        let edit = move |before: Definition| given.edit(before);
        let edited = trusts::update(&auth.ctx(), &trust.0, &expected, &edit).await?;
        Ok(Reply::at(edited.revision, &edited.into()))
    }

    /// Delete a trust
    ///
    /// What was exchanged by it stops working with the next request, also for what is running. Its name is free again.
    #[oai(path = "/trusts/:trust", method = "delete", operation_id = "delete_trust")]
    async fn delete_trust(
        &self,
        auth: Auth,
        /// Its name.
        trust: Path<String>,
        /// The ETag of the revision that is meant.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Done, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        trusts::delete(&auth.ctx(), &trust.0, &expected).await?;
        Ok(Done::Done)
    }
}
