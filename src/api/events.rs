//! `/events`: the audit log.

use std::collections::BTreeMap;

use poem::Request;
use poem_openapi::{Object, OpenApi, param::Query, payload::Json};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        types::{Kept, Nullable, Time},
        view::{ActorView, bad_query},
        who::{See, Who, aside, named},
    },
    domain::{
        event::{Event, Filter, Seal, Stretch},
        vocabulary::Order,
    },
    http::problem::Problem,
    usecase::events,
};

/// The operations.
#[derive(Debug)]
pub struct EventsApi;

/// An event: one entry of the audit log.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Event")]
pub struct EventView {
    /// Its number, from 1 without gaps.
    pub seq: i64,
    /// Identity.
    pub id: Uuid,
    /// When it happened.
    pub at: Time,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: ActorView,
    /// The service it is about.
    pub service: Nullable<String>,
    /// The environment it is about.
    pub environment: Nullable<String>,
    /// The release it is about.
    pub version: Nullable<String>,
    /// The deployment it is about.
    pub deployment_id: Nullable<Uuid>,
    /// The request that did it.
    pub request_id: Nullable<String>,
    /// What changed.
    pub data: Kept,
    /// The hash of the event before it.
    pub prev_hash: String,
    /// Its own hash.
    pub hash: String,
}

fn view(event: Event) -> Option<EventView> {
    let Seal { seq, prev_hash, hash } = event.seal?;
    Some(EventView {
        seq,
        id: event.id,
        at: Time(event.at),
        kind: event.kind,
        actor: event.actor.into(),
        service: event.service.into(),
        environment: event.environment.into(),
        version: event.version.into(),
        deployment_id: event.deployment_id.into(),
        request_id: event.request_id.into(),
        data: event.data.into(),
        prev_hash,
        hash,
    })
}

/// An event's place in the hash chain.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "EventSeal")]
pub struct SealView {
    /// Its number.
    pub seq: i64,
    /// The hash of the event before it; of the first one, 64 zeros.
    pub prev_hash: String,
    /// Its own hash.
    pub hash: String,
}

impl From<Seal> for SealView {
    fn from(Seal { seq, prev_hash, hash }: Seal) -> Self {
        Self { seq, prev_hash, hash }
    }
}

impl Listed for SealView {
    const PAGE: Words =
        Words { name: "EventSealPage", is: "A page of seals.", items: "The seals, in the order of the log." };
}

/// A part of the audit log.
#[derive(Clone, Debug, Object, Serialize)]
pub struct EventPage {
    /// The events, in the order of the log, or against it with `newest-first`.
    pub items: Vec<EventView>,
    /// The `cursor` of the next page; null at the end of the log, or at its beginning with `newest-first`.
    pub next_cursor: Nullable<String>,
    /// The number of the last event that is sealed; younger ones follow within a second.
    pub sealed_through: i64,
    /// What people call the subjects of these events, as the issuer last said. They stand beside the events, because the hash of an
    /// event is over all that it shows.
    pub names: BTreeMap<String, String>,
}

impl Who for EventPage {
    fn who(&mut self, see: &mut See<'_>) {
        aside(self.items.iter().map(|event| &event.actor.subject), &mut self.names, see);
    }
}

/// The head of the chain.
#[derive(Clone, Debug, Object)]
pub struct ChainHead {
    /// The number of the last event; 0 before the first.
    pub seq: i64,
    /// Its hash; keep it elsewhere, and `waybill audit verify --head SEQ:HASH` tells whether the log still holds it.
    pub hash: String,
    /// When it was sealed.
    pub at: Nullable<Time>,
}

#[OpenApi(tag = "Tags::Audit")]
impl EventsApi {
    /// Read the audit log, from its beginning or its end
    ///
    /// Events that a token is not narrowed to are left out, and those about tokens are for admins; what is left keeps its
    /// numbers.
    #[oai(path = "/events", method = "get", operation_id = "list_events")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter")]
    async fn list_events(
        &self,
        auth: Auth,
        request: &Request,
        /// Events after this number; from the first one on when absent. Not with `newest-first`.
        after_seq: Query<Option<i64>>,
        /// Which end of the log the list begins at; `oldest-first` when absent.
        order: Query<Option<Order>>,
        /// Of this kind, such as `deployment.succeeded`.
        kind: Query<Option<String>>,
        /// About this service.
        service: Query<Option<String>>,
        /// About this environment.
        environment: Query<Option<String>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<EventPage>, Problem> {
        let asked = page_request::<i64>(limit.0, None)?;
        let cursor = cursor.0.map(|cursor| cursor.parse::<i64>()).transpose();
        let cursor = cursor.map_err(|_| {
            bad_query("cursor", "invalid-cursor", "must be the `next_cursor` of the last page")
        })?;
        let order = order.0.unwrap_or(Order::OldestFirst);
        if order == Order::NewestFirst && after_seq.is_some() {
            return Err(bad_query("after_seq", "conflict", "goes with `oldest-first` alone"));
        }
        let stretch = Stretch { order, from: cursor.or(after_seq.0), limit: asked.limit };
        let filter =
            Filter { kind: kind.0, service: service.0, environment: environment.0, ..Filter::default() };
        let ctx = auth.ctx();
        let log = events::list(&ctx, filter, stretch).await?;
        let next = log.next.map(|seq| seq.to_string());
        let page = EventPage {
            items: log.events.into_iter().filter_map(view).collect(),
            next_cursor: next.clone().into(),
            sealed_through: log.sealed_through,
            names: BTreeMap::new(),
        };
        let page = named(&ctx, page).await?;
        List::new(&page, next.as_deref(), request)
    }

    /// Read the seals of all events in order
    ///
    /// What goes with the events of `GET /events` to follow the hash chain past those that a token may not see.
    #[oai(path = "/events/seals", method = "get", operation_id = "list_event_seals")]
    async fn list_event_seals(
        &self,
        auth: Auth,
        request: &Request,
        /// Seals after this number; from the first one on when absent.
        after_seq: Query<Option<i64>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<SealView>>, Problem> {
        let asked = page_request::<i64>(limit.0, cursor.0.as_deref())?;
        let after = asked.after.or(after_seq.0).unwrap_or(0);
        let page = events::seals(&auth.ctx(), after, asked.limit).await?;
        List::of(page, request, Into::into)
    }

    /// The head of the hash chain
    #[oai(path = "/events/head", method = "get", operation_id = "get_chain_head")]
    async fn get_chain_head(&self, auth: Auth) -> Result<Json<ChainHead>, Problem> {
        let (link, at) = events::head(&auth.ctx()).await?;
        Ok(Json(ChainHead { seq: link.seq, hash: link.hash, at: at.map(Time).into() }))
    }
}
