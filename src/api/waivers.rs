//! `/waivers`: vulnerabilities that do not stand in the way for a while.

use poem::{Request, http::StatusCode};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::Example,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        reply::{Done, Made, Reply, answer},
        types::{Many, Nullable, Text, Time},
        view::ActorView,
        who::{See, Who, named},
    },
    domain::{
        form::{OverrideReason, VulnerabilityId},
        idempotency::Answer,
        places::PLACES_MAX,
        scan::spelled,
        text::Name,
        waiver::{Draft, Filter},
    },
    http::problem::Problem,
    usecase::waivers::{self, Seen},
};

/// The operations.
#[derive(Debug)]
pub struct WaiversApi;

/// A waiver.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Waiver")]
pub struct WaiverView {
    /// Identity.
    pub id: Uuid,
    /// The vulnerability, by any id that reports give it.
    pub vulnerability: String,
    /// Why it need not stand in the way.
    pub reason: String,
    /// When it ends.
    pub expires_at: Time,
    /// The services in which it counts; null where it counts in all.
    pub services: Nullable<Vec<String>>,
    /// The environments in which it counts; null where it counts in all.
    pub environments: Nullable<Vec<String>>,
    /// Whether it holds at this moment.
    pub active: bool,
    /// Who answers for it.
    pub actor: ActorView,
    /// When it was made.
    pub created_at: Time,
    /// When it was withdrawn.
    pub withdrawn_at: Nullable<Time>,
}

impl From<Seen> for WaiverView {
    fn from(Seen { waiver, active }: Seen) -> Self {
        let definition = waiver.definition;
        let places = definition.places;
        Self {
            id: waiver.id,
            vulnerability: definition.vulnerability,
            reason: definition.reason,
            expires_at: Time(definition.expires_at),
            services: places.services.map(Vec::from_iter).into(),
            environments: places.environments.map(Vec::from_iter).into(),
            active,
            actor: waiver.actor.into(),
            created_at: Time(waiver.created_at),
            withdrawn_at: waiver.withdrawn_at.map(Time).into(),
        }
    }
}

impl Who for WaiverView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

impl Listed for WaiverView {
    const PAGE: Words =
        Words { name: "WaiverPage", is: "A page of waivers.", items: "The waivers, newest first." };
}

/// A waiver to make.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct CreateWaiver {
    /// The vulnerability, by any id that reports give it.
    pub vulnerability: Text<VulnerabilityId>,
    /// Why it need not stand in the way: at least ten characters that can be read.
    pub reason: Text<OverrideReason>,
    /// When it ends, within a year; from then on the vulnerability counts again.
    pub expires_at: Time,
    /// The services in which it counts, at most 100; all when absent. They must be registered.
    #[oai(skip_serializing_if_is_none)]
    pub services: Option<Many<Text<Name>, 1, PLACES_MAX>>,
    /// The environments in which it counts, at most 100; all when absent. They must be registered.
    #[oai(skip_serializing_if_is_none)]
    pub environments: Option<Many<Text<Name>, 1, PLACES_MAX>>,
}

impl Example for CreateWaiver {
    fn example() -> Self {
        Self {
            vulnerability: "CVE-2021-44228".into(),
            reason: "No text of users reaches the logger; the update is planned for May".into(),
            expires_at: Time(chrono::DateTime::from_timestamp(1_777_593_600, 0).unwrap_or_default()),
            services: Some(Many(vec!["shop".into()])),
            environments: None,
        }
    }
}

impl CreateWaiver {
    /// The waiver that is asked for.
    pub fn draft(&self) -> Draft {
        let names = |given: &Option<Many<Text<Name>, 1, PLACES_MAX>>| {
            given.as_ref().map(|names| names.0.iter().map(|name| name.0.clone()).collect())
        };
        Draft {
            vulnerability: self.vulnerability.0.clone(),
            reason: self.reason.0.clone(),
            expires_at: self.expires_at.0,
            services: names(&self.services),
            environments: names(&self.environments),
        }
    }
}

fn render(seen: &Seen) -> Answer {
    let location = Some(format!("/api/v1/waivers/{}", seen.waiver.id));
    Answer { location, ..answer(StatusCode::CREATED, &WaiverView::from(seen.clone())) }
}

#[OpenApi(tag = "Tags::Gate")]
impl WaiversApi {
    /// Waive a vulnerability for a while
    ///
    /// Until it ends, what scans find of the vulnerability, by any id that they give it, is left out of the budget in the
    /// services and environments that it names, and in all where it names none. Every check that it changes tells of it.
    /// Of a plain report, which names no vulnerabilities, nothing can be waived. Needs the scope `override`, and a token
    /// that reaches wherever it counts.
    #[oai(path = "/waivers", method = "post", operation_id = "create_waiver")]
    async fn create_waiver(
        &self,
        auth: Auth,
        body: Json<CreateWaiver>,
    ) -> Result<Reply<WaiverView, Made>, Problem> {
        let draft = body.0.draft();
        auth.once(&body.0, |ctx| async move { waivers::create(&ctx, &draft, &render).await }).await
    }

    /// List waivers, newest first
    #[oai(path = "/waivers", method = "get", operation_id = "list_waivers")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn list_waivers(
        &self,
        auth: Auth,
        request: &Request,
        /// Those that count for this service.
        service: Query<Option<String>>,
        /// Those that count in this environment.
        environment: Query<Option<String>>,
        /// Those that name this vulnerability by this id.
        vulnerability: Query<Option<String>>,
        /// True lists those as well that have ended or were withdrawn.
        all: Query<Option<bool>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<WaiverView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let filter = Filter {
            service: service.0,
            environment: environment.0,
            vulnerability: vulnerability.0.map(|id| spelled(id.trim())),
            at: None,
        };
        let ctx = auth.ctx();
        let page = waivers::list(&ctx, &filter, all.0.unwrap_or_default(), &asked).await?;
        List::named(&ctx, page, request, Into::into).await
    }

    /// Read a waiver
    #[oai(path = "/waivers/:id", method = "get", operation_id = "get_waiver")]
    async fn get_waiver(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
    ) -> Result<Json<WaiverView>, Problem> {
        let ctx = auth.ctx();
        Ok(Json(named(&ctx, waivers::get(&ctx, id.0).await?.into()).await?))
    }

    /// Withdraw a waiver
    ///
    /// The vulnerability counts again, at once. What started meanwhile goes on, and its decision keeps what it went by.
    #[oai(path = "/waivers/:id", method = "delete", operation_id = "withdraw_waiver")]
    async fn withdraw_waiver(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        waivers::withdraw(&auth.ctx(), id.0).await?;
        Ok(Done::Done)
    }
}
