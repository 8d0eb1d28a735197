//! What all pages have in common: who looks at them, the frame that they stand in, and the headers that they are sent with.

use std::fmt;

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{
    Request, Response, Result,
    http::{StatusCode, header},
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    address::address,
    assets,
    problem::FoundOut,
    travel::{Travel, Ways},
    words::Words,
};
use crate::{
    api::{
        auth::{self, Shown},
        etag,
    },
    domain::{
        identity::Identity, matrix::Production, scope::Narrowing, session::csrf_token, vocabulary::Scope,
    },
    http::{
        middleware::request_id::RequestId,
        ops::VERSION,
        problem::{Code, Problem},
    },
    usecase::{app::App, context::Ctx, sessions},
};

/// Lets the script of a page that is kept up to date ask this site.
const LIVE: &str = "connect-src 'self'; ";

/// Nothing but our own, and nothing inline; no script where the page has none (what others write is escaped, so that no element of
/// a page is theirs). `asks` is whom the script may ask. A form is sent to this site alone; `elsewhere` is where its answer may lead.
fn policy(html: &str, asks: &str, elsewhere: &str) -> String {
    let scripts = if html.contains("<script ") { "script-src 'self'; " } else { "" };
    format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; {scripts}{asks}form-action 'self'{elsewhere}; base-uri 'none'; \
         frame-ancestors 'none'"
    )
}

/// Somebody who has signed in and looks at a page.
pub struct Visitor {
    /// Who, and what they may do.
    pub ctx: Ctx,
    /// By what they were recognised.
    pub shown: Shown,
    /// Which moment they want to see.
    pub travel: Travel,
}

/// What a page shows of whoever looks at it.
#[derive(Clone)]
pub struct Framed {
    /// What they are called.
    pub name: String,
    /// What their forms are sent with.
    pub csrf: String,
}

/// A section: by which name pages belong to it, where it begins, and what it is called.
type Section = (&'static str, &'static str, &'static str);

/// The sections that every page leads to.
const SECTIONS: &[Section] = &[
    ("board", "/", "Board"),
    ("services", "/services", "Services"),
    ("deployments", "/deployments", "Deployments"),
    ("approvals", "/approvals", "Approvals"),
    ("environments", "/environments", "Environments"),
    ("audit", "/audit", "Audit"),
    ("settings", "/settings", "Settings"),
];

/// What stands around a page.
pub struct Frame {
    /// What the paths of this site begin with.
    pub base: String,
    /// Where the style is.
    pub style: &'static str,
    /// What tells times in the reader's zone, and keeps a page up to date.
    pub script: &'static str,
    /// Where the icon is.
    pub icon: &'static str,
    /// The version that is served.
    pub version: &'static str,
    /// The sections.
    pub sections: &'static [Section],
    /// The one that the page belongs to; empty where it is in none.
    pub here: &'static str,
    /// Who looks at it.
    pub visitor: Option<Framed>,
    /// Which moment they want to see, and whether the page tells of the past.
    travel: Travel,
    tells: bool,
}

impl Frame {
    /// The frame for whoever looks.
    pub fn of(app: &App, visitor: Option<&Visitor>) -> Self {
        Self {
            base: app.people.site.base().to_owned(),
            style: assets::STYLE.path(),
            script: assets::SCRIPT.path(),
            icon: assets::icon(Production::Calm).path(),
            version: VERSION,
            sections: SECTIONS,
            here: "",
            travel: visitor.map(|visitor| visitor.travel.clone()).unwrap_or_default(),
            tells: false,
            visitor: visitor.map(Framed::of),
        }
    }

    /// The same for somebody else.
    #[must_use]
    pub fn seen_by(self, visitor: Option<Framed>) -> Self {
        Self { visitor, ..self }
    }

    /// The same with the icon that shows how production is.
    #[must_use]
    pub fn showing(self, production: Production) -> Self {
        Self { icon: assets::icon(production).path(), ..self }
    }

    /// The same for a page of this section.
    #[must_use]
    pub fn at(self, here: &'static str) -> Self {
        Self { here, ..self }
    }

    /// The same for a page that shows how it was at the moment that is asked for.
    #[must_use]
    pub fn telling(self) -> Self {
        Self { tells: true, ..self }
    }

    /// The ways to other moments.
    pub fn ways(&self) -> Option<Ways> {
        self.travel.ways(self.tells)
    }
}

impl fmt::Debug for Framed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").finish_non_exhaustive()
    }
}

impl Framed {
    fn of(visitor: &Visitor) -> Self {
        Self { name: visitor.name(), csrf: visitor.csrf() }
    }
}

impl Visitor {
    /// Whoever looks at a page, if they have signed in.
    pub async fn of(app: &App, request: &Request) -> Result<Option<Self>, Problem> {
        let Some((ctx, shown)) = auth::visitor(app, request).await? else { return Ok(None) };
        let mut visitor = Self { ctx, shown, travel: Travel::default() };
        if let Some(FoundOut(found)) = request.data() {
            found.get_or_init(|| Framed::of(&visitor));
        }
        visitor.travel = Travel::of(app.people.site.base(), request)?;
        Ok(Some(visitor))
    }

    /// The moment of the past that they want to see; none for now.
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        self.travel.as_of
    }

    /// Where they may change what this scope is for; nowhere, while they look at the past.
    pub fn reach(&self, scope: Scope) -> Option<Narrowing> {
        if self.travel.is_past() { None } else { sessions::reach(&self.ctx, scope) }
    }

    /// What they are called.
    pub fn name(&self) -> String {
        let shown = match &self.ctx.principal.identity {
            Identity::Session(session) => session.shown_name.clone(),
            Identity::Token | Identity::Pipeline(_) => None,
        };
        shown.unwrap_or_else(|| self.ctx.actor().subject.clone())
    }

    /// What their forms are sent with.
    pub fn csrf(&self) -> String {
        csrf_token(self.shown.secret())
    }
}

/// The server that a request is for.
pub fn app(request: &Request) -> Result<&App, Problem> {
    request.data::<App>().ok_or_else(Problem::internal)
}

/// The id in the path of something of this kind.
pub fn id(request: &Request, what: &str) -> Result<Uuid, Problem> {
    let given = request.raw_path_param("id").unwrap_or_default();
    given.parse().map_err(|_no_id| {
        Problem::new(
            Code::NotFound,
            format!("There is no such {what}: its id is not one that Waybill gives."),
        )
    })
}

/// The id of a request.
pub fn request_id(request: &Request) -> String {
    RequestId::of(request).unwrap_or_default()
}

/// A page with its headers.
pub fn page(status: StatusCode, template: &impl Template) -> Result<Response> {
    Ok(with_policy(status, html(template)?, "", ""))
}

/// A page that is kept up to date while it is looked at.
pub fn live(template: &impl Template) -> Result<Response> {
    let html = html(template)?;
    let tag = etag::weak(&tag(&html));
    let mut page = with_policy(StatusCode::OK, html, LIVE, "");
    if let Ok(tag) = tag.parse() {
        page.headers_mut().insert(header::ETAG, tag);
    }
    Ok(page)
}

/// What tells what a page shows from what it shows at another time: all of it but the moment that it names.
fn tag(html: &str) -> String {
    let (before, rest) = html.split_once("id=\"state\"").unwrap_or((html, ""));
    let (_moment, after) = rest.split_once("</p>").unwrap_or_default();
    hex::encode(Sha256::digest([before, after].concat()).split_at(16).0)
}

/// A page whose form may be answered with a way to another origin.
pub fn leading(status: StatusCode, template: &impl Template, elsewhere: &str) -> Result<Response> {
    Ok(with_policy(status, html(template)?, "", elsewhere))
}

fn html(template: &impl Template) -> Result<String, Problem> {
    template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::internal()
    })
}

fn with_policy(status: StatusCode, html: String, asks: &str, elsewhere: &str) -> Response {
    Response::builder()
        .status(status)
        .content_type("text/html; charset=utf-8")
        .header(header::CONTENT_SECURITY_POLICY, policy(&html, asks, elsewhere))
        // So that forms say in `Origin` where they come from, and nobody else learns of it.
        .header(header::REFERRER_POLICY, "same-origin")
        .header(header::CACHE_CONTROL, "no-store")
        .body(html)
}

/// A page that says something.
#[derive(Template)]
#[template(path = "message.html")]
pub struct Message<'a> {
    /// What stands around it.
    pub frame: Frame,
    /// What it is about.
    pub title: &'a str,
    /// What it says, in paragraphs.
    pub text: Vec<Words>,
    /// What was probably meant: its address, and its name.
    pub meant: Option<(String, &'a str)>,
    /// What to do about it: an address, and in words.
    pub link: Option<(String, &'a str)>,
}

/// Leads a browser on with a GET.
pub fn see(location: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, location)
        .header(header::REFERRER_POLICY, "same-origin")
        .finish()
}

/// Leads somebody who has not signed in to where they can, and back here afterwards.
pub fn to_login(app: &App, request: &Request) -> Response {
    let here = request.uri().path_and_query().map_or("/", |here| here.as_str());
    see(&address(&format!("{}/login", app.people.site.base()), [("to", here)]))
}

/// Adds a cookie to an answer.
pub fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = cookie.parse() {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}
