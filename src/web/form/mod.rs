//! Forms: what a page sends, read once, and only from a page of this site; and the blanks that people fill in.

pub mod blank;
mod carried;
pub mod field;
pub mod sent;

use std::collections::BTreeMap;

use poem::{Request, Result, http::header};
use url::form_urlencoded;

use super::page::Visitor;
use crate::{
    api::auth::is_from_own_page,
    http::problem::{Code, Problem},
    usecase::app::App,
};

/// The media type of forms (WHATWG HTML §4.10.21.7).
const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form.
#[derive(Clone, Debug, Default)]
pub struct Form(BTreeMap<String, Vec<String>>);

impl Form {
    /// Reads a form of somebody who has not signed in yet. It must come from a page of this site: another could sign them in
    /// as somebody else.
    pub async fn of_stranger(app: &App, request: &mut Request) -> Result<Self, Problem> {
        if !is_from_own_page(request, &app.people.site) {
            let detail = "This form must be sent from a page of this server, at the address that `server.public_url` says.";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Self::read(request).await
    }

    /// Reads a form of somebody who has signed in.
    pub async fn of(app: &App, request: &mut Request, visitor: &Visitor) -> Result<Self, Problem> {
        let form = Self::read(request).await?;
        visitor.shown.prove(request, &app.people.site, Some(form.get("csrf")))?;
        Ok(form)
    }

    /// The fields of a query.
    pub fn of_query(request: &Request) -> Self {
        Self::parse(request.uri().query().unwrap_or_default().as_bytes())
    }

    async fn read(request: &mut Request) -> Result<Self, Problem> {
        let kind = request.header(header::CONTENT_TYPE).unwrap_or_default();
        if kind.split(';').next().unwrap_or_default().trim() != FORM {
            let detail = format!("The body must be a form, `{FORM}`.");
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let body = request.take_body().into_bytes().await;
        let body = body.map_err(|_unread| {
            Problem::new(Code::PayloadTooLarge, "The form is larger than this server takes, or broke off.")
        })?;
        Ok(Self::parse(&body))
    }

    pub(super) fn parse(text: &[u8]) -> Self {
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            // Forms break lines as the network does (WHATWG HTML §4.10.22.4), and programs do not.
            fields.entry(name.into_owned()).or_default().push(value.replace("\r\n", "\n"));
        }
        Self(fields)
    }

    /// All fields, with each of their values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str())))
    }

    /// A field, of those that come twice the first; empty where it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.all(name).first().map(String::as_str).unwrap_or_default()
    }

    /// A field that may be missing.
    pub fn given(&self, name: &str) -> Option<String> {
        self.all(name).first().cloned()
    }

    /// All values of a field that may come several times.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}
