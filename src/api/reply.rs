//! Answers to commands: rendered once, so that what is kept under an idempotency key is what was sent.

use std::marker::PhantomData;

use poem::{IntoResponse, Response, http::StatusCode};
use poem_openapi::{
    ApiResponse,
    payload::{Json, Payload},
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};

use crate::{
    api::who::{Who, named},
    domain::idempotency::Answer,
    http::{pieces::in_pieces, problem::Problem},
    pieces::{Packed, Pieces},
    usecase::context::Ctx,
};

const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Which statuses an operation answers with when it does what was asked.
pub trait Statuses: Send + 'static {
    /// The statuses, with what they mean.
    const LIST: &'static [(u16, &'static str)];
}

/// It made something.
#[derive(Debug)]
pub struct Made;
/// It changed something that was there.
#[derive(Debug)]
pub struct Changed;
/// It made something, or found that it was there already.
#[derive(Debug)]
pub struct MadeOrThere;

impl Statuses for Made {
    const LIST: &'static [(u16, &'static str)] = &[(201, "It is on record now.")];
}
impl Statuses for Changed {
    const LIST: &'static [(u16, &'static str)] = &[(200, "It is as asked.")];
}
impl Statuses for MadeOrThere {
    const LIST: &'static [(u16, &'static str)] =
        &[(201, "It is on record now."), (200, "The same was on record already.")];
}

/// There is nothing to tell.
#[derive(Debug, ApiResponse)]
pub enum Done {
    /// It is as asked.
    #[oai(status = 204)]
    Done,
}

/// An answer with a body of type `T`.
#[derive(Debug)]
pub struct Reply<T, S> {
    answer: Answer,
    replayed: bool,
    kind: PhantomData<fn() -> (T, S)>,
}

impl<T, S> Reply<T, S> {
    /// An answer just made.
    pub fn new(answer: Answer) -> Self {
        Self { answer, replayed: false, kind: PhantomData }
    }

    /// An answer that was kept.
    pub fn replayed(answer: Answer) -> Self {
        Self { replayed: true, ..Self::new(answer) }
    }
}

impl<T: ToJSON> Reply<T, Changed> {
    /// Something that can be edited, at this revision.
    pub fn at(revision: i64, view: &T) -> Self {
        Self::new(tagged(StatusCode::OK, revision, view))
    }

    /// The same as it is read: with the names of people.
    pub async fn read(ctx: &Ctx, revision: i64, view: T) -> Result<Self, Problem>
    where
        T: Who,
    {
        Ok(Self::at(revision, &named(ctx, view).await?))
    }
}

/// An answer about to be sent or kept.
pub fn answer(status: StatusCode, body: &impl ToJSON) -> Answer {
    Answer { status: status.as_u16(), location: None, etag: None, body: body.to_json_string() }
}

/// As [`answer`], for something that can be edited.
fn tagged(status: StatusCode, revision: i64, body: &impl ToJSON) -> Answer {
    Answer { etag: Some(crate::api::etag::of(revision)), ..answer(status, body) }
}

/// As [`answer`], for something new that can be edited, and where it is.
pub fn made(location: String, revision: i64, body: &impl ToJSON) -> Answer {
    Answer { location: Some(location), ..tagged(StatusCode::CREATED, revision, body) }
}

/// A body of type `T` that is written already, and kept with its compressed forms.
#[derive(Debug)]
pub struct Written<T> {
    body: Pieces,
    packed: Packed,
    kind: PhantomData<fn() -> T>,
}

impl<T> Written<T> {
    /// What was written.
    pub fn new(body: Pieces, packed: Packed) -> Self {
        Self { body, packed, kind: PhantomData }
    }
}

impl<T> From<Vec<u8>> for Written<T> {
    /// What was written for this answer alone.
    fn from(body: Vec<u8>) -> Self {
        Self::new(body.into(), Packed::default())
    }
}

impl<T: Type> Payload for Written<T> {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type(CONTENT_TYPE).extension(self.packed).body(in_pieces(self.body))
    }
}

impl<T: ToJSON, S: Statuses> IntoResponse for Reply<T, S> {
    fn into_response(self) -> Response {
        let Answer { status, location, etag, body } = self.answer;
        let mut response = Response::builder()
            .status(StatusCode::from_u16(status).unwrap_or(StatusCode::OK))
            .content_type(CONTENT_TYPE);
        if let Some(location) = location {
            response = response.header("location", location);
        }
        if let Some(etag) = etag {
            response = response.header("etag", etag);
        }
        if self.replayed {
            response = response.header("idempotency-replayed", "true");
        }
        response.body(body)
    }
}

impl<T: ToJSON, S: Statuses> ApiResponse for Reply<T, S> {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: false,
            deprecated: false,
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
        };
        let response = |(status, description): &(u16, &'static str)| MetaResponse {
            description,
            status: Some(*status),
            status_range: None,
            content: vec![MetaMediaType { content_type: CONTENT_TYPE, schema: T::schema_ref() }],
            headers: vec![
                header("Location", "Where it is, when it was made."),
                header("ETag", "Its revision, for what can be edited; send it back as `If-Match`."),
                header("Idempotency-Replayed", "`true` when the answer was kept from an earlier request."),
            ],
        };
        MetaResponses { responses: S::LIST.iter().map(response).collect() }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
