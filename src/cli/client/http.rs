//! The HTTP client. Transient faults are retried with a capped, jittered back-off until the call's patience is over; a
//! POST carries the same idempotency key each time, so that it takes effect once.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use secrecy::ExposeSecret as _;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::{
    access::{self, Access, Exchanged, Proof},
    call::{Call, PAUSE_MAX},
    credentials::Credentials,
    error::{Error, NoAnswer},
    problem::Problem,
};
use crate::cli::output;

/// A connection to one Waybill with one token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    /// Where it is, for people: also who says so, where they have not.
    at: String,
    /// What requests are let in by.
    pub access: Access,
}

impl Client {
    /// Prepares the connection; nothing is sent yet.
    pub fn new(credentials: &Credentials) -> Result<Self, Error> {
        // An error says that a provider is installed already, which is what is wanted.
        rustls::crypto::ring::default_provider().install_default().ok();
        let access = Access::by(&credentials.proof)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            // A redirect would turn a POST into a GET, and carry the token to wherever; the address has to be right instead.
            .redirect(Policy::none());
        if credentials.url.scheme() == "http" {
            // Without TLS no root certificates are needed, and small images have none.
            builder = builder.tls_certs_only([]);
        }
        if credentials.is_local() {
            // A proxy would be given the token, and another machine than this one asked.
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|fault| Error::Failed(format!("cannot set up the HTTP client: {}", cause(&fault))))?;
        let origin = credentials.url.origin().ascii_serialization();
        let at = match &credentials.named_in {
            Some(file) => format!("{origin} (the address is from {})", file.display()),
            None => origin,
        };
        Ok(Self { http, base: credentials.url.clone(), at, access })
    }

    /// The same, for a server alone.
    pub fn of(url: &Url, proof: Proof) -> Result<Self, Error> {
        Self::new(&Credentials { url: url.clone(), proof, named_in: None })
    }

    /// Makes the call, again and again while its patience lasts and the fault is transient.
    pub async fn send(&self, call: &Call) -> Result<Value, NoAnswer> {
        let deadline = Instant::now() + call.patience;
        let left = || deadline.saturating_duration_since(Instant::now());
        let backoff = ExponentialBuilder::default().with_jitter().with_max_delay(PAUSE_MAX);
        let backoff = match call.retries {
            // Few attempts are to last as long as a restart may take.
            Some(retries) => backoff
                .with_min_delay(Duration::from_secs(1))
                .with_max_times(usize::try_from(retries).unwrap_or(usize::MAX)),
            None => backoff.with_min_delay(Duration::from_millis(200)).without_max_times(),
        };
        let mut said = call.quiet;
        (|| self.attempt(call, left()))
            .retry(backoff)
            .when(NoAnswer::is_transient)
            .adjust(|error, delay| pause(error, delay?, left()))
            .notify(|error, _delay| {
                if !said {
                    let until = match call.retries {
                        Some(retries) => format!("--retry {retries}"),
                        None => format!("for {}s", left().as_secs()),
                    };
                    output::say(format_args!("{error}; trying again ({until})"));
                    said = true;
                }
            })
            .await
    }

    async fn attempt(&self, call: &Call, left: Duration) -> Result<Value, NoAnswer> {
        let timeout = left.max(Duration::from_secs(1)).min(call.attempt);
        let bearer = self.bearer(timeout).await?;
        self.ask(call, timeout, bearer).await
    }

    /// What the request is let in by. The job's ID token is exchanged once, when it is first needed: what the command started
    /// may only be seen through by the very same credential once its time is over.
    async fn bearer(&self, timeout: Duration) -> Result<Option<HeaderValue>, NoAnswer> {
        let (id_token, header) = match &self.access {
            Access::Open => return Ok(None),
            Access::Known(header) => return Ok(Some(header.clone())),
            Access::Exchanged { id_token, header } => (id_token, header),
        };
        let mut header = header.lock().await;
        if header.is_some() {
            return Ok(header.clone());
        }
        let body = json!({ "id_token": id_token.expose_secret().trim() }).to_string();
        let call = Call { key: None, ..Call::post_as_it_is(&["auth", "exchange"], body.into()) };
        let answer = self.ask(&call, timeout, None).await?;
        let exchanged =
            Exchanged::deserialize(answer).ok().and_then(|found| access::bearer(&found.token).ok());
        let found = exchanged.ok_or_else(|| NoAnswer::Problem {
            problem: Box::new(foreign(StatusCode::OK, &HeaderMap::new())),
            retry_after: None,
        })?;
        *header = Some(found.clone());
        Ok(Some(found))
    }

    async fn ask(
        &self,
        call: &Call,
        timeout: Duration,
        bearer: Option<HeaderValue>,
    ) -> Result<Value, NoAnswer> {
        let mut request = self.http.request(call.method.clone(), self.url(call)).timeout(timeout);
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = call.key {
            request = request.header("Idempotency-Key", key.to_string());
        }
        if let Some(revision) = call.if_match {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await?;
        if status.is_success() {
            return answer(status, &body);
        }
        let problem = Problem::read(status.as_u16(), &body).unwrap_or_else(|| foreign(status, &headers));
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(NoAnswer::Problem { problem: Box::new(problem), retry_after: seconds.map(Duration::from_secs) })
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, NoAnswer> {
        response.bytes().await.map(Vec::from).map_err(|error| self.unreachable(&error))
    }

    fn url(&self, call: &Call) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        url
    }

    fn unreachable(&self, error: &reqwest::Error) -> NoAnswer {
        NoAnswer::Unreachable { at: self.at.clone(), cause: cause(error), transient: !error.is_builder() }
    }
}

/// How long to pause before the next attempt; `None` once that would be too late.
fn pause(error: &NoAnswer, delay: Duration, left: Duration) -> Option<Duration> {
    let asked = match error {
        NoAnswer::Problem { retry_after, .. } => retry_after.unwrap_or_default(),
        NoAnswer::Unreachable { .. } | NoAnswer::LeftAlone { .. } => Duration::ZERO,
    };
    Some(delay.max(asked)).filter(|pause| *pause < left)
}

/// The innermost cause, which is the one that says something.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn answer(status: StatusCode, body: &[u8]) -> Result<Value, NoAnswer> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|_not_json| {
        let problem = foreign(status, &HeaderMap::new());
        NoAnswer::Problem { problem: Box::new(problem), retry_after: None }
    })
}

/// The problem that stands for an answer which Waybill did not write.
fn foreign(status: StatusCode, headers: &HeaderMap) -> Problem {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let detail = match location {
        Some(location) => {
            format!("the server redirects to {location}; set WAYBILL_URL to the address without detours")
        }
        None => "this is not an answer of Waybill; is WAYBILL_URL right?".into(),
    };
    let title = status.canonical_reason().unwrap_or("Unknown status");
    Problem {
        title: format!("{} {title}", status.as_u16()),
        status: status.as_u16(),
        detail: Some(detail),
        ..Problem::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::access::Proof;

    fn client(url: &str) -> Option<Client> {
        let url = Url::parse(url).ok()?;
        Client::new(&Credentials { url, proof: Proof::Token("hunter2".into()), named_in: None }).ok()
    }

    fn problem(status: u16, retry_after: Option<Duration>) -> NoAnswer {
        NoAnswer::Problem { problem: Box::new(Problem { status, ..Problem::default() }), retry_after }
    }

    #[test]
    fn addresses_keep_the_base_path_and_escape_names() {
        let call = Call::get(&["services", "a/b"]).query("limit", Some(5)).query("kind", None::<&str>);
        let url = |base| client(base).map(|client| client.url(&call).to_string());
        assert_eq!(url("http://w.test").as_deref(), Some("http://w.test/api/v1/services/a%2Fb?limit=5"));
        assert_eq!(url("http://w.test/x/").as_deref(), Some("http://w.test/x/api/v1/services/a%2Fb?limit=5"));
    }

    #[test]
    fn only_passing_faults_are_tried_again() {
        for (status, transient) in
            [(429, true), (502, true), (503, true), (504, true), (500, false), (409, false)]
        {
            assert_eq!(problem(status, None).is_transient(), transient, "{status}");
        }
        assert!(problem(500, None).is_outage());
        assert!(!problem(403, None).is_outage());
    }

    #[test]
    fn pauses_as_long_as_the_server_asks_and_never_too_long() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(9));
        assert_eq!(pause(&problem(429, Some(long)), short, Duration::from_secs(20)), Some(long));
        assert_eq!(pause(&problem(503, None), short, Duration::from_secs(20)), Some(short));
        assert_eq!(pause(&problem(429, Some(long)), short, Duration::from_secs(5)), None);
    }

    #[tokio::test]
    async fn nobody_there_is_an_outage_that_names_the_address_but_not_the_token() {
        let call = Call::get(&["matrix"]).patience(Duration::ZERO);
        let Some(client) = client("http://127.0.0.1:1") else { unreachable!("the client is valid") };
        let Err(error) = client.send(&call).await else { unreachable!("nobody listens on port 1") };
        assert!(error.is_outage());
        let text = error.to_string();
        assert!(text.starts_with("cannot reach Waybill at http://127.0.0.1:1: "), "{text}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
