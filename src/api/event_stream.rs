//! `/events/stream`: the audit log as server-sent events.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, stream};
use poem::{
    Request,
    web::{Data, sse},
};
use poem_openapi::{Object, OpenApi, param::Query, payload::EventStream, types::ToJSON as _};

use crate::{
    api::{Tags, auth::Auth, types::Nullable},
    domain::event::Filter,
    http::problem::{Code, FieldError, Problem},
    shutdown::Shutdown,
    usecase::events::stream::{Follower, News},
};

/// How often a connection on which nothing happens is shown to be alive: more often than proxies cut silent ones off.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The operation.
#[derive(Debug)]
pub struct EventStreamApi;

/// Something that happened; `GET /events?after_seq=` has all of it.
#[derive(Clone, Debug, Object)]
pub struct EventNotice {
    /// Its number, which is the `id` of the message too.
    pub seq: i64,
    /// What happened, such as `deployment.succeeded`; or of the stream itself: `stream.began`, the first message, and
    /// `stream.missed`, the first one where too much happened since `Last-Event-ID`: read anew what you show.
    pub kind: String,
    /// The service it is about.
    pub service: Nullable<String>,
    /// The environment it is about.
    pub environment: Nullable<String>,
}

/// What is told, in order.
type Notices = Pin<Box<dyn Stream<Item = EventNotice> + Send>>;

impl From<News> for EventNotice {
    fn from(news: News) -> Self {
        let of_stream = |seq, kind: &str| Self {
            seq,
            kind: kind.to_owned(),
            service: Nullable(None),
            environment: Nullable(None),
        };
        match news {
            News::Began(seq) => of_stream(seq, "stream.began"),
            News::Missed(seq) => of_stream(seq, "stream.missed"),
            News::Event(event) => Self {
                seq: event.seal.map_or(0, |seal| seal.seq),
                kind: event.kind,
                service: event.service.into(),
                environment: event.environment.into(),
            },
        }
    }
}

fn message(notice: &EventNotice) -> sse::Event {
    sse::Event::message(notice.to_json_string()).id(notice.seq.to_string())
}

/// The number of the last event that the client has heard of, which a browser sends when it connects again.
fn last_event(request: &Request) -> Result<Option<i64>, Problem> {
    let Some(header) = request.headers().get("last-event-id") else { return Ok(None) };
    let seq = header.to_str().ok().and_then(|text| text.parse().ok()).filter(|seq| *seq >= 0);
    seq.map(Some).ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "The Last-Event-ID cannot be used.").errors(vec![FieldError::new(
            "/header/Last-Event-ID",
            "invalid",
            "must be the `id` of a message of this stream: the number of an event",
        )])
    })
}

#[OpenApi(tag = "Tags::Audit")]
impl EventStreamApi {
    /// Follow the audit log
    ///
    /// Server-sent events: one message for each event as it is sealed, within a second, on whichever replica it happened.
    /// Its `id` is the event's number; with it as `Last-Event-ID`, as browsers send it by themselves, the next connection goes on where
    /// this one ended. Events that the token is not narrowed to are left out. The stream ends when the token does and when the server
    /// is about to stop: connect again. A silent one is kept alive by a comment every 15 seconds.
    #[oai(path = "/events/stream", method = "get", operation_id = "stream_events")]
    async fn stream_events(
        &self,
        auth: Auth,
        shutdown: Data<&Shutdown>,
        request: &Request,
        /// About this service only.
        service: Query<Option<String>>,
        /// About this environment only.
        environment: Query<Option<String>>,
    ) -> Result<EventStream<Notices>, Problem> {
        let after = last_event(request)?;
        let filter = Filter { service: service.0, environment: environment.0, ..Filter::default() };
        let follower = Follower::begin(auth.ctx(), filter, after).await?;
        let follow = async |(mut follower, shutdown): (Follower, Shutdown)| {
            let news = follower.next(shutdown.draining()).await?;
            Some((EventNotice::from(news), (follower, shutdown)))
        };
        let notices: Notices = Box::pin(stream::unfold((follower, shutdown.0.clone()), follow));
        Ok(EventStream::new(notices).to_event(|notice| message(&notice)).keep_alive(KEEP_ALIVE))
    }
}
