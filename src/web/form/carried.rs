//! A form whose session was over when it came: nothing is done by it, and nothing that was typed is lost.

use askama::Template;
use poem::{Error, Request, http::StatusCode};

use super::Form;
use crate::{
    usecase::app::App,
    web::page::{Frame, Visitor, page},
};

#[derive(Template)]
#[template(path = "carried.html")]
struct Page<'a> {
    frame: Frame,
    action: String,
    /// What proves that a page of theirs made it; none for whoever has not signed in.
    csrf: Option<String>,
    fields: Vec<(&'a str, &'a str)>,
}

/// The answer to a form that a page of ours made for a session that is over: the form once more. Whoever has signed in anew looks
/// at it before they send it, because another may have left it behind.
pub fn carried(app: &App, request: &Request, visitor: Option<&Visitor>, form: &Form) -> Error {
    let frame = Frame::of(app, visitor);
    let status = if visitor.is_some() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
    let carried = Page {
        action: format!("{}{}", frame.base, request.uri().path()),
        csrf: visitor.map(Visitor::csrf),
        fields: form.fields().filter(|(name, _)| *name != "csrf").collect(),
        frame,
    };
    page(status, &carried).map_or_else(|error| error, Error::from_response)
}
