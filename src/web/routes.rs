//! Puts pages in their places: for the routes, and for what they are called in logs and metrics.

use poem::{Endpoint, IntoEndpoint, Request, Response, Route, http::Method};

use super::{by_method, getting};
use crate::http::spec::Spec;

/// Pages that are put in their places one by one.
pub struct Pages<'a> {
    routes: Route,
    spec: &'a mut Spec,
}

impl<'a> Pages<'a> {
    /// Beside what is there already.
    pub fn new(routes: Route, spec: &'a mut Spec) -> Self {
        Self { routes, spec }
    }

    /// All of them.
    pub fn routes(self) -> Route {
        self.routes
    }

    /// A page that is read. Parts of its path in braces are parameters.
    #[must_use]
    pub fn get<F, R>(self, path: &str, called: &str, page: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + Copy + 'static,
        R: Future<Output = poem::Result<Response>> + Send + 'static,
    {
        self.at(path, &[(Method::GET, called)], getting(page))
    }

    /// Where a form is sent.
    #[must_use]
    pub fn post<F, R>(self, path: &str, called: &str, page: F) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + Copy + 'static,
        R: Future<Output = poem::Result<Response>> + Send + 'static,
    {
        self.at(path, &[(Method::POST, called)], getting(page))
    }

    /// A page that is read, and to which its form is sent.
    #[must_use]
    pub fn both<F, G, R, S>(self, path: &str, (reading, read): (&str, F), (sending, sent): (&str, G)) -> Self
    where
        F: Fn(Request) -> R + Send + Sync + Copy + 'static,
        G: Fn(Request) -> S + Send + Sync + Copy + 'static,
        R: Future<Output = poem::Result<Response>> + Send + 'static,
        S: Future<Output = poem::Result<Response>> + Send + 'static,
    {
        let page = by_method(read, sent);
        self.at(path, &[(Method::GET, reading), (Method::POST, sending)], page)
    }

    fn at<E>(self, path: &str, operations: &[(Method, &str)], page: E) -> Self
    where
        E: IntoEndpoint,
        E::Endpoint: Endpoint<Output = Response> + 'static,
    {
        self.spec.add_pages(path, operations);
        let template = path.replace('{', ":").replace('}', "");
        Self { routes: self.routes.at(template, page), spec: self.spec }
    }
}
