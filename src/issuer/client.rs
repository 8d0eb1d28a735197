//! How an issuer is asked: over TLS (in the clear on this machine alone), within a time, without following redirects, and
//! reading no more than a bound.

use std::{error::Error as _, fs, sync::OnceLock, time::Duration};

use bytes::BytesMut;
use reqwest::{
    Certificate, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::Discovery;
use crate::config::{is_local, issuer::IssuerConfig};

/// How long asking may take, with all that it takes.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);
/// The most bytes of keys that are read.
const KEYS_MAX: usize = 1024 * 1024;
/// The most bytes of anything else.
const ANSWER_MAX: usize = 64 * 1024;
/// Below the issuer's URL (OpenID Connect Discovery 1.0 §4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Asks one issuer.
#[derive(Debug)]
pub(super) struct Client {
    config: IssuerConfig,
    /// Made when it is first needed, since it reads the system's certificates.
    http: OnceLock<Result<reqwest::Client, String>>,
}

/// What is posted to an issuer's endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// The fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The value of the header `Authorization`, a secret; none where the endpoint takes none.
    pub authorization: Option<&'a str>,
}

/// What an endpoint answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What it says: a JSON object.
    pub body: Map<String, Value>,
}

/// That there was no answer in time.
pub(super) fn late() -> String {
    format!("it did not answer within {} s", TIME_LIMIT.as_secs())
}

impl Client {
    pub(super) fn new(config: IssuerConfig) -> Self {
        Self { config, http: OnceLock::new() }
    }

    /// Asks the issuer what it says of itself.
    pub(super) async fn discover(&self) -> Result<Discovery, String> {
        let issuer = &self.config.url;
        let at = format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/'));
        let url: Url = at.parse().map_err(|error| format!("{at} is no URL: {error}"))?;
        let discovery: Discovery = read(&url, self.get(&url).await?, ANSWER_MAX).await?;
        // Else another host's document would name the keys (OpenID Connect Discovery 1.0 §4.3).
        if discovery.issuer != *issuer {
            return Err(format!(
                "{at} is the document of issuer {:?}, and the configuration says {issuer:?}: these must be the same to the letter",
                discovery.issuer
            ));
        }
        Ok(discovery)
    }

    /// Asks for the keys.
    pub(super) async fn keys(&self, url: &Url) -> Result<Map<String, Value>, String> {
        read(url, self.get(url).await?, KEYS_MAX).await
    }

    /// Posts a form, and gives the answer, whatever its status.
    pub(super) async fn post(&self, url: &Url, form: Form<'_>) -> Result<Answer, String> {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form.fields).finish();
        let http = self.http(url)?;
        let mut request = http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(secret) = form.authorization {
            let mut value = HeaderValue::from_str(secret)
                .map_err(|_invalid| "the client's secret holds characters that no header takes".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let response = send(url, request.body(body)).await?;
        let status = response.status().as_u16();
        Ok(Answer { status, body: read(url, response, ANSWER_MAX).await? })
    }

    async fn get(&self, url: &Url) -> Result<Response, String> {
        let response = send(url, self.http(url)?.get(url.clone())).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("{url} answers {}", response.status()));
        }
        Ok(response)
    }

    fn http(&self, url: &Url) -> Result<&reqwest::Client, String> {
        if url.scheme() != "https" && !is_local(url) {
            return Err(format!("{url} does not begin with https://"));
        }
        self.http.get_or_init(|| self.build()).as_ref().map_err(Clone::clone)
    }

    fn build(&self) -> Result<reqwest::Client, String> {
        // An error says that a provider is installed already, which is what is wanted.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .timeout(TIME_LIMIT)
            // Whoever redirects could name any host; the address has to be right instead.
            .redirect(Policy::none());
        if let Some(path) = &self.config.ca_file {
            let read = |error: &dyn std::fmt::Display| format!("{} cannot be used: {error}", path.display());
            let pem = fs::read(path).map_err(|error| read(&error))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| read(&error))?;
            builder = builder.tls_certs_only(certificates);
        } else if self.config.url.starts_with("http://") {
            // Without TLS no root certificates are needed, and small images have none.
            builder = builder.tls_certs_only([]);
        }
        if self.config.url.parse().is_ok_and(|url| is_local(&url)) {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| format!("the HTTP client cannot be set up: {}", causes(&error)))
    }
}

async fn send(url: &Url, request: RequestBuilder) -> Result<Response, String> {
    let sent = request.header(ACCEPT, "application/json").send().await;
    let response = sent.map_err(|error| {
        if error.is_timeout() { late() } else { format!("{url} is not reached: {}", causes(&error)) }
    })?;
    if response.status().is_redirection() {
        return Err(format!("{url} redirects elsewhere, which is not followed: configure where it leads to"));
    }
    Ok(response)
}

/// Reads an answer in JSON of at most so many bytes.
async fn read<T: DeserializeOwned>(url: &Url, mut response: Response, most: usize) -> Result<T, String> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_json(kind) {
        let shown: String = kind.chars().take(100).collect();
        return Err(format!("{url} answers {shown:?}, and not JSON"));
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| {
            if error.is_timeout() { late() } else { format!("{url} broke off: {}", causes(&error)) }
        })?;
        let Some(chunk) = chunk else { break };
        if body.len() + chunk.len() > most {
            return Err(format!("{url} answers more than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| {
        // What it said is not repeated: of an endpoint for tokens it may hold one.
        format!(
            "{url} answers JSON that is not as it must be (line {}, column {})",
            error.line(),
            error.column()
        )
    })
}

/// Whether a media type is JSON, or a kind of it (RFC 6839 §3.1).
fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// An error with what caused it.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_type() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json"] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in ["", "text/html", "text/json", "application/octet-stream", "image/svg+json"] {
            assert!(!is_json(kind), "{kind}");
        }
    }
}
