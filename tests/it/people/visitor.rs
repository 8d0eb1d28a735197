//! A browser as far as a test needs one: it keeps cookies, and sends forms as pages of the server do.

use std::collections::{BTreeMap, BTreeSet};

use poem::{Route, http::Method};
use waybill::{http::spec::Spec, web};

use crate::support::api::{Answer, Api};

/// Where browsers find the server of a test.
pub const SITE: &str = "https://waybill.test";
/// The cookie of a session there.
pub const SESSION: &str = "__Host-waybill";
/// The cookie of sign-ins under way there.
pub const FLOW: &str = "__Host-waybill-flow";

/// A browser that looks at one server.
#[derive(Clone)]
pub struct Visitor {
    api: Api,
    pub cookies: BTreeMap<String, String>,
}

/// The API of a server that browsers find at [`SITE`].
pub async fn site(db: &crate::support::db::TestDb) -> Api {
    Api::with(db, |config| config.server.public_url = Some(SITE.parse().unwrap())).await
}

/// Every page that the server knows, with what it takes, so that none is forgotten; but for those that lead in and out, which are
/// the same for everybody. Parameters stand in braces.
pub fn pages() -> Vec<(String, BTreeSet<Method>)> {
    let mut spec = Spec::default();
    drop(web::add_to(Route::new(), &mut spec));
    let pages = spec.templates().map(|(path, methods)| (path, methods.into_iter().cloned().collect()));
    let is_door = |path: &str| ["/login", "/logout", "/assets"].iter().any(|door| path.starts_with(door));
    let pages: Vec<_> = pages.filter(|(path, _)| !is_door(path)).collect();
    assert!(pages.len() > 25, "{pages:?}");
    pages
}

impl Visitor {
    /// Who looks at the server for the first time.
    pub fn of(api: &Api) -> Self {
        Self { api: api.anonymous(), cookies: BTreeMap::new() }
    }

    /// The same browser at another server of the same site.
    pub fn at(&self, api: &Api) -> Self {
        Self { api: api.anonymous(), cookies: self.cookies.clone() }
    }

    /// Sends a request with the cookies, and keeps those that come back.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("cookie", &cookies));
        }
        let answer = self.api.send(method, path, &all, body).await;
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            if set.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Looks at a page, whose path begins with one slash.
    pub async fn page(&mut self, path: &str) -> Answer {
        self.send(Method::GET, &format!("/{path}"), &[], None).await
    }

    /// Sends a form as a page of the server does.
    pub async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.form_from(SITE, path, fields).await
    }

    /// Sends a form as a page of another origin does.
    pub async fn form_from(&mut self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin)];
        self.send(Method::POST, &format!("/{path}"), &headers, Some(body.into_bytes())).await
    }

    /// Signs in with a token.
    pub async fn paste(&mut self, token: &str) -> Answer {
        self.form("/login", &[("token", token)]).await
    }

    /// The secret of the session.
    #[track_caller]
    pub fn secret(&self) -> &str {
        &self.cookies[SESSION]
    }

    /// What goes with each change, as the pages have it.
    pub async fn csrf(&mut self) -> String {
        let page = self.page("/account").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let (_, rest) = page.text.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// Asks the API as a page's script does.
    pub async fn fetch(&mut self, method: Method, path: &str, body: Option<&serde_json::Value>) -> Answer {
        let csrf = self.csrf().await;
        let headers =
            [("origin", SITE), ("x-csrf-token", csrf.as_str()), ("content-type", "application/json")];
        self.send(method, path, &headers, body.map(|body| body.to_string().into_bytes())).await
    }
}

/// Where an answer leads.
#[track_caller]
pub fn location(answer: &Answer) -> &str {
    assert!((300..400).contains(&answer.status), "{} {}", answer.status, answer.text);
    answer.header("location").unwrap()
}

/// Somebody who has signed in with the token of a reader.
pub async fn looking(api: &Api, reader: &Api) -> Visitor {
    let mut visitor = Visitor::of(api);
    visitor.paste(reader.secret()).await;
    visitor
}

/// Looks at a page that there is.
pub async fn text(visitor: &mut Visitor, path: &str) -> String {
    let page = visitor.page(path).await;
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    page.text
}
