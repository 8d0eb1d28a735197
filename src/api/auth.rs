//! Who calls: every operation takes an [`Auth`] first, so that nothing of a request is looked at before its token is.

use std::sync::Arc;

use poem::{Request, http::StatusCode};
use poem_openapi::{
    SecurityScheme,
    auth::Bearer,
    registry::{MetaOperationParam, MetaParamIn, MetaSchema, MetaSchemaRef},
    types::ToJSON,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    api::reply::Reply,
    config::LedgerConfig,
    domain::idempotency::{Answer, Kept, Key},
    http::{
        middleware::{access_log::ActorName, rate_limit::RateLimiter, request_id::RequestId},
        problem::{Code, FieldError, Problem},
        spec::Matched,
    },
    usecase::{
        app::App,
        context::{Ctx, Seen},
        error::Error,
        tokens::{self, Known},
    },
};

/// The longest idempotency key, in characters.
const KEY_MAX: usize = 255;

/// The operation whose answer is kept as long as the ledger stays where it is.
const MARKED: &str = "get_matrix";

/// A token: `Authorization: Bearer wb_…`. `waybill token create` and `POST /tokens` make them.
#[derive(SecurityScheme)]
#[oai(rename = "token", ty = "bearer", checker = "check")]
pub struct Auth(Caller);

/// A caller whose token is good.
pub struct Caller {
    ctx: Ctx,
    /// The request's method and concrete path.
    operation: String,
    key: Option<String>,
    kept: Option<Kept>,
}

async fn check(request: &Request, bearer: Bearer) -> poem::Result<Caller> {
    let app = request.data::<App>().ok_or_else(Problem::internal)?;
    let key = idempotency_key(request)?;
    let marked = Matched::id(request) == Some(MARKED);
    let readings = app.matrix.readings();
    let found = tokens::authenticate(&app.db, &bearer.token, key.as_deref(), marked).await;
    let Known { principal, kept, mark, now } = found.map_err(Problem::from)?;
    ActorName::set(request, &principal.actor.token);
    limit(request, app, principal.token_id)?;
    let request_id = RequestId::of(request).unwrap_or_default();
    let operation = format!("{} {}", request.method(), request.original_uri().path());
    let seen = mark.map(|mark| Seen { mark, at: now, readings });
    let ctx = Ctx { app: app.clone(), principal, request_id, key: None, seen };
    Ok(Caller { ctx, operation, key, kept })
}

/// Counts a request of whoever this tells from others, and fails when they send too many.
pub(super) fn limit(request: &Request, app: &App, whose: Uuid) -> Result<(), Problem> {
    let Some(limiter) = request.data::<Arc<RateLimiter>>() else { return Ok(()) };
    let Err(wait) = limiter.check(whose) else { return Ok(()) };
    app.metrics.rate_limited();
    let detail = "This token sends more requests than the server takes; wait, and send fewer.";
    Err(Problem::new(Code::RateLimited, detail).retry_after(wait))
}

/// What the document says of the idempotency key.
pub(super) fn key_parameter() -> MetaOperationParam {
    let schema = MetaSchema {
        min_length: Some(1),
        max_length: Some(KEY_MAX),
        pattern: Some("^[!-~]([ -~]*[!-~])?$".to_owned()),
        ..MetaSchema::new("string")
    };
    MetaOperationParam {
        name: "Idempotency-Key".to_owned(),
        schema: MetaSchemaRef::Inline(Box::new(schema)),
        in_type: MetaParamIn::Header,
        description: Some("Makes a retry safe: the same key gives the same answer.".to_owned()),
        required: false,
        deprecated: false,
        explode: true,
        style: None,
    }
}

fn idempotency_key(request: &Request) -> Result<Option<String>, Problem> {
    let Some(header) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = header.to_str().ok().filter(|key| (1..=KEY_MAX).contains(&key.len()));
    key.map(|key| Some(key.to_owned())).ok_or_else(|| {
        let detail = format!("must be 1 to {KEY_MAX} printable ASCII characters");
        Problem::new(Code::InvalidRequest, "The Idempotency-Key cannot be used.")
            .errors(vec![FieldError::new("/header/Idempotency-Key", "invalid-key", detail)])
    })
}

impl Auth {
    /// The request, for an operation that changes nothing or takes no idempotency key.
    pub fn ctx(self) -> Ctx {
        self.0.ctx
    }

    /// The request, for an operation that looks at the caller before it reads the body.
    pub fn context(&self) -> &Ctx {
        &self.0.ctx
    }

    /// How many labels an object may have here.
    pub fn labels_max(&self) -> usize {
        usize::try_from(self.0.ctx.app.config.limits.labels).unwrap_or(usize::MAX)
    }

    /// How this server keeps its ledger.
    pub fn ledger(&self) -> &LedgerConfig {
        &self.0.ctx.app.config.ledger
    }

    /// Does the work once for each idempotency key: when it was done for this key already, the answer of then is given
    /// again. Without a key, it is just done.
    pub async fn once<T, S, W, F>(self, body: &impl ToJSON, work: W) -> Result<Reply<T, S>, Problem>
    where
        W: FnOnce(Ctx) -> F,
        F: Future<Output = Result<Answer, Error>>,
    {
        let Caller { mut ctx, operation, key, kept } = self.0;
        let Some(key) = key else { return Ok(Reply::new(work(ctx).await?)) };
        let fingerprint = hex::encode(Sha256::digest(format!("{operation}\n{}", body.to_json_string())));
        let key = Key { token_id: ctx.principal.token_id, key, fingerprint };
        if let Some(kept) = kept {
            return replay(&key, kept);
        }
        ctx.key = Some(key.clone());
        let app = ctx.app.clone();
        let problem = match work(ctx).await {
            Ok(answer) => return Ok(Reply::new(answer)),
            Err(error) => Problem::from(error),
        };
        // The refusal may be a twin's doing, which was quicker.
        if problem.code().status() == StatusCode::CONFLICT
            && let Some(kept) = tokens::kept(&app.db, &key).await?
        {
            return replay(&key, kept);
        }
        Err(problem)
    }
}

fn replay<T, S>(key: &Key, kept: Kept) -> Result<Reply<T, S>, Problem> {
    if kept.fingerprint == key.fingerprint {
        return Ok(Reply::replayed(kept.answer));
    }
    let detail = "This Idempotency-Key was used for another request; take a new key for each request.";
    Err(Problem::new(Code::IdempotencyKeyReused, detail))
}
