//! `/freeze-windows`: when nothing starts.

mod view;

use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use uuid::Uuid;

pub use self::view::CreateFreezeWindow;
use self::view::{FreezeCalendar, FreezeWindowView, UpdateFreezeWindow, names};
use crate::{
    api::{
        Tags,
        auth::Auth,
        etag,
        page::{List, Page, page_request},
        reply::{Changed, Done, Made, Reply, made},
        types::Time,
        view::{bad_query, edited},
    },
    domain::{fault::Malformed, freeze::draft::Draft, idempotency::Answer},
    http::problem::Problem,
    usecase::freezes::{self, NoCalendar, Only, Seen},
};

/// The operations.
#[derive(Debug)]
pub struct FreezesApi;

fn render(new: &Seen) -> Answer {
    let location = format!("/api/v1/freeze-windows/{}", new.freeze.id);
    made(location, new.freeze.revision, &FreezeWindowView::from(new.clone()))
}

fn edit(given: UpdateFreezeWindow, before: Draft) -> Draft {
    Draft {
        name: given.name.map_or(before.name, |name| name.0),
        reason: given.reason.map_or(before.reason, |reason| reason.0),
        environments: edited(given.environments, names, before.environments),
        tiers: edited(given.tiers, |tiers| tiers.0, before.tiers),
        services: edited(given.services, names, before.services),
        starts_at: edited(given.starts_at, |time| time.0, before.starts_at),
        ends_at: edited(given.ends_at, |time| time.0, before.ends_at),
        start_cron: edited(given.start_cron, |cron| cron.0, before.start_cron),
        end_cron: edited(given.end_cron, |cron| cron.0, before.end_cron),
        timezone: edited(given.timezone, |zone| zone.0, before.timezone),
    }
}

#[OpenApi(tag = "Tags::Gate")]
impl FreezesApi {
    /// Declare a freeze window
    ///
    /// While it holds, the gate lets nothing start in the environments that it names, or in every environment of the
    /// tiers that it names, but for the kinds that their policies let through; where it names services, nothing of these. It holds once, from `starts_at` to
    /// `ends_at`, or again and again: whenever its last start, by `start_cron`, is later than its last end, by
    /// `end_cron`, on the clocks of `timezone`. A time that these show twice counts the first time, and one that they
    /// skip counts when they skip it. What is running already goes on.
    #[oai(path = "/freeze-windows", method = "post", operation_id = "create_freeze_window")]
    async fn create_freeze_window(
        &self,
        auth: Auth,
        body: Json<CreateFreezeWindow>,
    ) -> Result<Reply<FreezeWindowView, Made>, Problem> {
        let draft = body.0.draft();
        auth.once(&body.0, |ctx| async move { freezes::create(&ctx, &draft, &render).await }).await
    }

    /// List freeze windows, newest first
    #[oai(path = "/freeze-windows", method = "get", operation_id = "list_freeze_windows")]
    async fn list_freeze_windows(
        &self,
        auth: Auth,
        request: &Request,
        /// Those that count in this environment, by its name or by its tier.
        environment: Query<Option<String>>,
        /// Those that count for this service: for all, or by its name.
        service: Query<Option<String>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<FreezeWindowView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let only = Only { service: service.0.as_deref(), environment: environment.0.as_deref() };
        let ctx = auth.ctx();
        let page = freezes::list(&ctx, only, &asked).await?;
        List::named(&ctx, page, request, Into::into).await
    }

    /// When environments are frozen
    ///
    /// For each environment the stretches of time in which at least one window holds, in order: windows that overlap or
    /// touch are one stretch, and what reaches beyond `from` or `to` is cut there. Windows that count for some services only
    /// are among them, and say so; with `service`, only those that count for it.
    #[oai(path = "/freeze-windows/calendar", method = "get", operation_id = "get_freeze_calendar")]
    async fn get_freeze_calendar(
        &self,
        auth: Auth,
        /// From this time on; now when absent.
        from: Query<Option<Time>>,
        /// Up to this time, at most 366 days later; 30 days later when absent.
        to: Query<Option<Time>>,
        /// Only this environment.
        environment: Query<Option<String>>,
        /// Only for this service.
        service: Query<Option<String>>,
    ) -> Result<Json<FreezeCalendar>, Problem> {
        let (from, to) = (from.0.map(|from| from.0), to.0.map(|to| to.0));
        let only = Only { service: service.0.as_deref(), environment: environment.0.as_deref() };
        match freezes::calendar(&auth.ctx(), only, from, to).await {
            Ok(calendar) => Ok(Json(calendar.into())),
            Err(NoCalendar::To(Malformed { code, detail })) => Err(bad_query("to", code, &detail)),
            Err(NoCalendar::Error(error)) => Err(error.into()),
        }
    }

    /// Read a freeze window
    #[oai(path = "/freeze-windows/:id", method = "get", operation_id = "get_freeze_window")]
    async fn get_freeze_window(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
    ) -> Result<Reply<FreezeWindowView, Changed>, Problem> {
        let ctx = auth.ctx();
        let seen = freezes::get(&ctx, id.0).await?;
        Reply::read(&ctx, seen.freeze.revision, seen.into()).await
    }

    /// Edit a freeze window
    ///
    /// Absent members stay. To go over from environments to tiers, or from once to recurring, set what is no longer to
    /// count to null in the same edit. From the answer on, every start is judged by the edited window.
    #[oai(path = "/freeze-windows/:id", method = "patch", operation_id = "update_freeze_window")]
    async fn update_freeze_window(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
        /// The ETag of the revision that is meant, or several; without it, the last edit wins.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        body: Json<UpdateFreezeWindow>,
    ) -> Result<Reply<FreezeWindowView, Changed>, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        let given = body.0;
        let change = move |before: Draft| edit(given.clone(), before);
        let seen = freezes::update(&auth.ctx(), id.0, &expected, &change).await?;
        Ok(Reply::at(seen.freeze.revision, &seen.into()))
    }

    /// Take a freeze window back
    ///
    /// It no longer holds anything up. The audit log keeps what it was.
    #[oai(path = "/freeze-windows/:id", method = "delete", operation_id = "delete_freeze_window")]
    async fn delete_freeze_window(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
        /// The ETag of the revision that is meant.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Done, Problem> {
        let expected = etag::if_match(if_match.0.as_deref());
        freezes::delete(&auth.ctx(), id.0, &expected).await?;
        Ok(Done::Done)
    }
}
