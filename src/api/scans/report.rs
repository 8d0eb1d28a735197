//! The body of an upload: it is not read before its sender is known, and few are read at once.

use std::sync::LazyLock;

use poem::{Body, Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::ContentTypeError,
    payload::{Json, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    api::{types::form_schema, view::refuse},
    domain::{
        form::Formed as _,
        scan::{self, COUNT_MAX, Report, Unreadable},
        text::{Image, Name},
    },
    http::problem::{Code, Problem, from_framework::unreadable},
    usecase::app::shares::{Seat, Shares},
};

/// How many reports are in memory at once, of which one token sends a quarter; others wait, as long as a request may take.
/// They are large, and a process has one memory.
static READING: LazyLock<Shares> = LazyLock::new(|| Shares::new(4));

/// A report as it was sent, in any of the three forms.
pub struct ReportBody(Body);

impl ReportBody {
    /// Reads the report, and what tells it from others. The permit stands for its memory.
    pub(super) async fn read(self, token: Uuid) -> Result<(Report, Vec<String>, Seat), Problem> {
        let permit = READING.take(token).await.ok_or_else(Problem::internal)?;
        let bytes = self.0.into_bytes().await.map_err(|error| unreadable(&error))?;
        // A report of many megabytes takes longer to read than other requests should wait for this thread. Nobody can stop it
        // there: its permit goes with it, so that no others begin in the place of a request that was given up.
        let work = move || (scan::read(&bytes), hex::encode(Sha256::digest(&bytes)), permit);
        let (report, hash, permit) = tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "a report could not be read");
            Problem::internal()
        })?;
        let report = report.map_err(|unreadable| match unreadable {
            Unreadable::NotJson(why) => {
                Problem::new(Code::InvalidRequest, format!("The report cannot be read: {why}."))
            }
            Unreadable::Faulty(faults) => refuse(faults),
        })?;
        Ok((report, vec![hash], permit))
    }
}

fn example() -> Value {
    json!({
        "scanner": "snyk",
        "scanned_at": "2026-01-31T12:00:00Z",
        "counts": { "critical": 0, "high": 2, "medium": 5, "low": 11, "unknown": 0 },
    })
}

fn property(schema: MetaSchema, description: &'static str) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema { description: Some(description), ..schema }))
}

fn schema() -> MetaSchema {
    let (minimum, maximum) = (Some(0.0), Some(f64::from(COUNT_MAX)));
    let count = || property(MetaSchema { minimum, maximum, ..MetaSchema::new("integer") }, "How many.");
    let counts = MetaSchema {
        properties: ["critical", "high", "medium", "low", "unknown"].map(|name| (name, count())).into(),
        ..MetaSchema::new("object")
    };
    let time = MetaSchema::new_with_format("string", "date-time");
    let image = "Plain form: the image it is of, `repository@sha256:…`; its digest must be the release's.";
    MetaSchema {
        description: Some(
            "A report in one of three forms, told apart by what is in it: what `trivy image --format json` writes (schema \
             version 2), what `grype --output json` writes, both as they are; or the plain form, whose members these \
             are, and whose `scanner`, `scanned_at` and `counts` are required. In UTF-8 or UTF-16, with a byte order mark or \
             without. Any other document is refused, and told what it is taken for.",
        ),
        properties: vec![
            ("scanner", property(form_schema(Name::FORM), "Plain form: who made it, a DNS-1123 label.")),
            ("scanned_at", property(time, "Plain form: when it was made.")),
            ("image", property(form_schema(Image::FORM), image)),
            ("counts", property(counts, "Plain form: how many of each severity; all five are required.")),
        ],
        additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
        example: Some(example()),
        ..MetaSchema::new("object")
    }
}

impl<'a> ApiExtractor<'a> for ReportBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = MetaSchemaRef::Inline(Box::new(schema()));
        let content_type = <Json<Value> as Payload>::CONTENT_TYPE;
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type, schema }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let Some(content_type) = request.content_type() else {
            return Err(ContentTypeError::ExpectContentType.into());
        };
        if !<Json<Value> as Payload>::check_content_type(content_type) {
            return Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() }.into());
        }
        Ok(Self(body.take()?))
    }
}
