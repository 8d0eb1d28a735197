//! Who calls: every operation takes an [`Auth`] first, so that nothing of a request is looked at before its sender is known.

mod needs;
mod shown;

use std::sync::Arc;

use poem::{Request, RequestBody, http::StatusCode};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaOperationParam, MetaParamIn, MetaSchema, MetaSchemaRef, MetaSecurityScheme, Registry},
    types::ToJSON,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    api::reply::Reply,
    config::LedgerConfig,
    domain::{
        address::Pages,
        idempotency::{Answer, Kept, Key},
    },
    http::{
        middleware::{access_log::ActorName, rate_limit::RateLimiter, request_id::RequestId},
        problem::{Code, FieldError, Problem},
        spec::Matched,
    },
    usecase::{
        app::App,
        context::{Ctx, Seen},
        error::Error,
        sessions,
        tokens::{self, Known},
    },
};

use self::needs::needs;
pub use self::shown::{Shown, is_from_own_page, named_cookie, session_cookie};

/// The longest idempotency key, in characters.
const KEY_MAX: usize = 255;

/// The operations whose answer is kept as long as the ledger stays where it is.
const MARKED: [&str; 2] = ["get_matrix", "page_board"];

/// Who sends a request: by a token, or by the session of somebody who signed in.
pub struct Auth(Caller);

/// The names of the two ways in, as the document has them.
const TOKEN: &str = "token";
const SESSION: &str = "session";

/// A caller whom the server knows.
pub struct Caller {
    ctx: Ctx,
    /// The request's method and concrete path.
    operation: String,
    key: Option<String>,
    kept: Option<Kept>,
}

/// By hand, because each operation takes either, and the token counts where a request has both.
impl<'a> ApiExtractor<'a> for Auth {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = |ty, description| MetaSecurityScheme {
            ty,
            description: Some(description),
            name: None,
            key_in: None,
            scheme: None,
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        let token =
            "A token: `Authorization: Bearer wb_…`. `waybill token create` and `POST /tokens` make them.";
        registry.create_security_scheme(
            TOKEN,
            MetaSecurityScheme { scheme: Some("bearer"), ..scheme("http", token) },
        );
        let session = "The cookie of somebody who signed in at `/login` (`waybill` on plain HTTP to localhost). What changes \
                       anything needs the server's own `Origin` beside it, and the session's token in `X-CSRF-Token`.";
        let cookie = MetaSecurityScheme {
            name: Some("__Host-waybill"),
            key_in: Some("cookie"),
            ..scheme("apiKey", session)
        };
        registry.create_security_scheme(SESSION, cookie);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![TOKEN, SESSION]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let app = request.data::<App>().ok_or_else(Problem::internal)?;
        let shown = Shown::of(request, &app.people.site)?;
        let caller = recognise(app, request, &shown).await?;
        shown.prove(request, &app.people.site, None)?;
        Ok(Self(caller))
    }
}

/// Recognises who sent a request by what it shows.
async fn recognise(app: &App, request: &Request, shown: &Shown) -> Result<Caller, Problem> {
    let key = idempotency_key(request)?;
    let operation = Matched::id(request).unwrap_or_default();
    let readings = app.matrix.readings();
    let found =
        tokens::authenticate(&app.db, shown.secret(), key.as_deref(), MARKED.contains(&operation)).await?;
    let Known { principal, kept, mark, now } = found;
    let principal = sessions::in_use(app, principal, needs(operation), now).await;
    ActorName::set(request, &principal.actor.token);
    limit(request, app, principal.token_id)?;
    let request_id = RequestId::of(request).unwrap_or_default();
    let operation = format!("{} {}", request.method(), request.original_uri().path());
    let seen = mark.map(|mark| Seen { mark, at: now, readings });
    let ctx = Ctx { app: app.clone(), principal, request_id, key: None, seen };
    Ok(Caller { ctx, operation, key, kept })
}

/// Who looks at a page: whoever has signed in, and the secret that their pages' tokens are derived from. A token in the head
/// is not looked at, because no browser sends one by itself.
pub async fn visitor(app: &App, request: &Request) -> Result<Option<(Ctx, Shown)>, Problem> {
    let Some(secret) = session_cookie(request, &app.people.site) else { return Ok(None) };
    let shown = Shown::Cookie(secret);
    match recognise(app, request, &shown).await {
        Ok(caller) => Ok(Some((caller.ctx, shown))),
        Err(problem) if problem.code() == Code::Unauthenticated => Ok(None),
        Err(problem) => Err(problem),
    }
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

    /// Where people find the page of what is answered.
    pub fn pages(&self) -> Pages {
        self.0.ctx.app.people.pages.clone()
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
