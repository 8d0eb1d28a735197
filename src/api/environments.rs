//! `/environments`: where services run.

use poem::Request;
use poem_openapi::{
    Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
    types::{Example, MaybeUndefined},
};
use serde::Serialize;

use crate::{
    api::{
        Tags,
        auth::Auth,
        etag,
        lockdown::LockdownView,
        page::{List, Listed, Page, Words, page_request},
        reply::{Changed, Made, Reply, made},
        services::changed,
        types::{Nullable, Text, Time, Whole},
        view::refuse,
        who::{See, Who},
    },
    domain::{
        environment::{Environment, EnvironmentSettings, RANK_MAX, RANK_MIN, rank},
        fault::Faults,
        form::WebUrl,
        idempotency::Answer,
        text::{self, Name},
        vocabulary::Tier,
    },
    http::problem::Problem,
    usecase::{
        environments::{self, Edit},
        error::Error,
    },
};

/// The operations.
#[derive(Debug)]
pub struct EnvironmentsApi;

/// An environment.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Environment")]
pub struct EnvironmentView {
    /// Its name; never changes and is never reused.
    pub name: String,
    /// What it is for.
    pub tier: Tier,
    /// Its place in the order of promotion, low to high.
    pub rank: i64,
    /// Where it can be seen.
    pub url: Nullable<String>,
    /// Registered by a deployment and edited by nobody since; no source for promotions.
    pub unconfirmed: bool,
    /// Whether it is archived: its history stays, nothing new is deployed.
    pub archived: bool,
    /// Its emergency stop, while nothing but an override starts there.
    pub lockdown: Nullable<LockdownView>,
    /// When it was registered.
    pub created_at: Time,
    /// When it was last edited.
    pub updated_at: Time,
}

impl From<Environment> for EnvironmentView {
    fn from(environment: Environment) -> Self {
        let EnvironmentSettings { tier, rank, url } = environment.settings;
        Self {
            name: environment.name.to_string(),
            tier,
            rank,
            url: url.into(),
            unconfirmed: environment.unconfirmed,
            archived: environment.archived_at.is_some(),
            lockdown: environment.lockdown.map(Into::into).into(),
            created_at: Time(environment.created_at),
            updated_at: Time(environment.updated_at),
        }
    }
}

/// An environment to register.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct CreateEnvironment {
    /// Its name: a DNS-1123 label.
    pub name: Text<Name>,
    /// What it is for; inferred from the name when absent.
    #[oai(skip_serializing_if_is_none)]
    pub tier: Option<Tier>,
    /// Its place in the order of promotion; the tier's when absent (development 100, testing 200, staging 300,
    /// production 400).
    #[oai(skip_serializing_if_is_none)]
    pub rank: Option<Whole<RANK_MIN, RANK_MAX>>,
    /// Where it can be seen: an http or https URL.
    #[oai(skip_serializing_if_is_none)]
    pub url: Option<Text<WebUrl>>,
}

impl Example for CreateEnvironment {
    fn example() -> Self {
        let url = Some("https://staging.example.com".into());
        Self { name: "staging".into(), tier: Some(Tier::Staging), rank: None, url }
    }
}

/// What to change of an environment; absent members stay.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct UpdateEnvironment {
    /// What it is for.
    #[oai(skip_serializing_if_is_none)]
    pub tier: Option<Tier>,
    /// Its place in the order of promotion.
    #[oai(skip_serializing_if_is_none)]
    pub rank: Option<Whole<RANK_MIN, RANK_MAX>>,
    /// Where it can be seen; null empties it.
    #[oai(skip_serializing_if_is_none)]
    pub url: MaybeUndefined<Text<WebUrl>>,
    /// True archives it, false revives it.
    #[oai(skip_serializing_if_is_none)]
    pub archived: Option<bool>,
}

impl Example for UpdateEnvironment {
    fn example() -> Self {
        Self {
            tier: Some(Tier::Production),
            rank: Some(Whole(400)),
            url: MaybeUndefined::Undefined,
            archived: None,
        }
    }
}

impl UpdateEnvironment {
    /// What is left of an environment that was so before, once every field is right.
    pub fn edit(&self, before: &Environment) -> Result<Edit, Error> {
        let before = before.settings.clone();
        let mut faults = Faults::default();
        let url = changed(self.url.clone(), before.url);
        faults.take_optional("/url", url.as_deref().map(text::web_url));
        let rank = faults.take_optional("/rank", self.rank.map(|given| rank(given.0)));
        let after = EnvironmentSettings {
            tier: self.tier.unwrap_or(before.tier),
            rank: rank.unwrap_or(before.rank),
            url,
        };
        let settings = faults.finish(Some(after)).map_err(|faults| Error::Invalid(faults.into_vec()))?;
        Ok(Edit { settings: Some(settings), archived: self.archived })
    }
}

impl Who for EnvironmentView {
    fn who(&mut self, see: &mut See<'_>) {
        self.lockdown.who(see);
    }
}

impl Listed for EnvironmentView {
    const PAGE: Words =
        Words { name: "EnvironmentPage", is: "A page of environments.", items: "The environments, by name." };
}

fn render(new: &Environment) -> Answer {
    made(format!("/api/v1/environments/{}", new.name), new.revision, &EnvironmentView::from(new.clone()))
}

#[OpenApi(tag = "Tags::Registry")]
impl EnvironmentsApi {
    /// Register an environment
    ///
    /// A deployment registers an unknown environment by itself, as unconfirmed, unless the server is told not to.
    #[oai(path = "/environments", method = "post", operation_id = "create_environment")]
    async fn create_environment(
        &self,
        auth: Auth,
        body: Json<CreateEnvironment>,
    ) -> Result<Reply<EnvironmentView, Made>, Problem> {
        let given = &body.0;
        let mut faults = Faults::default();
        let name = faults.take("/name", Name::of_environment(&given.name));
        let url = faults.take_optional("/url", given.url.as_deref().map(text::web_url));
        let rank = faults.take_optional("/rank", given.rank.map(|given| rank(given.0)));
        let name = faults.finish(name).map_err(refuse)?;
        let settings = EnvironmentSettings::of(&name, given.tier, rank, url);
        auth.once(&body.0, |ctx| async move { environments::create(&ctx, &name, &settings, &render).await })
            .await
    }

    /// List environments
    #[oai(path = "/environments", method = "get", operation_id = "list_environments")]
    async fn list_environments(
        &self,
        auth: Auth,
        request: &Request,
        /// True lists the archived ones instead.
        archived: Query<Option<bool>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<EnvironmentView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let archived = archived.0.unwrap_or(false);
        let ctx = auth.ctx();
        let page = environments::list(&ctx, archived, &asked).await?;
        List::named(&ctx, page, request, Into::into).await
    }

    /// Read an environment
    #[oai(path = "/environments/:environment", method = "get", operation_id = "get_environment")]
    async fn get_environment(
        &self,
        auth: Auth,
        /// Its name.
        environment: Path<String>,
    ) -> Result<Reply<EnvironmentView, Changed>, Problem> {
        let ctx = auth.ctx();
        let environment = environments::get(&ctx, &environment.0).await?;
        Reply::read(&ctx, environment.revision, environment.into()).await
    }

    /// Edit, confirm, archive or revive an environment
    ///
    /// Any edit, an empty one too, confirms an environment that a deployment registered.
    #[oai(path = "/environments/:environment", method = "patch", operation_id = "update_environment")]
    async fn update_environment(
        &self,
        auth: Auth,
        /// Its name.
        environment: Path<String>,
        /// The ETag of the revision that is meant, or several; without it, the last edit wins.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Json<UpdateEnvironment>,
    ) -> Result<Reply<EnvironmentView, Changed>, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        let given = body.0;
        let change = move |before: &Environment| given.edit(before);
        let environment = environments::update(&auth.ctx(), &environment.0, &expected, &change).await?;
        Ok(Reply::at(environment.revision, &environment.into()))
    }

    /// Archive an environment
    ///
    /// Its history stays and its name is not free again. Refused while a deployment into it runs.
    #[oai(path = "/environments/:environment", method = "delete", operation_id = "archive_environment")]
    async fn archive_environment(
        &self,
        auth: Auth,
        /// Its name.
        environment: Path<String>,
        /// The ETag of the revision that is meant.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Reply<EnvironmentView, Changed>, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        let change = |_: &Environment| Ok(Edit { settings: None, archived: Some(true) });
        let environment = environments::update(&auth.ctx(), &environment.0, &expected, &change).await?;
        Ok(Reply::at(environment.revision, &environment.into()))
    }
}
