//! What cannot be shown, as a page: for browsers, which say that they take one. Programs get the problem itself.

use std::sync::{Arc, OnceLock};

use poem::{Error, Request, Response, Result, http::header};

use super::{
    page::{Frame, Framed, Message, Visitor, page, request_id},
    travel::Travel,
};
use crate::{
    http::problem::{Code, Context, Problem, guess},
    usecase::app::App,
};

/// Whoever asked, as far as the answer goes by it.
pub struct Asker {
    app: Option<App>,
    takes_pages: bool,
    /// Where they are.
    travel: Travel,
    request_id: String,
    visitor: FoundOut,
}

/// Who looks at a page, once that is found out.
#[derive(Clone, Debug, Default)]
pub struct FoundOut(pub Arc<OnceLock<Framed>>);

impl Asker {
    /// Who sends a request, for which moment. It keeps who that is found to be.
    pub fn of(request: &mut Request, travel: &Travel) -> Self {
        let visitor = FoundOut::default();
        request.set_data(visitor.clone());
        let accept = request.header(header::ACCEPT).unwrap_or_default();
        Self {
            app: request.data::<App>().cloned(),
            takes_pages: accept.contains("text/html"),
            travel: travel.clone(),
            request_id: request_id(request),
            visitor,
        }
    }

    /// The answer to something that cannot be shown.
    pub fn answer(&self, error: Error) -> Result<Response> {
        if error.is_from_response() {
            return Ok(error.into_response());
        }
        let (Some(app), Some(problem), true) = (&self.app, error.downcast_ref::<Problem>(), self.takes_pages)
        else {
            return Err(error);
        };
        let code = problem.code();
        let faults = problem.field_errors().iter().map(|fault| {
            let field = fault.pointer.rsplit('/').next().unwrap_or_default();
            format!("{field} {}.", fault.detail.trim_end_matches('.'))
        });
        // What is probably meant is a link.
        let meant =
            problem.meant().and_then(|(given, meant)| Some((self.travel.instead(given, meant)?, meant)));
        let mut detail = problem.detail().to_owned();
        if let Some((_, meant)) = &meant {
            detail = detail.replace(&guess(meant), "");
        }
        let mut text: Vec<String> = std::iter::once(detail).chain(faults).collect();
        if code == Code::Internal {
            text.push(format!("The request's id is {}.", self.request_id));
        }
        let text = text.into_iter().map(Into::into).collect();
        let frame = Frame::of(app, None).seen_by(self.visitor.0.get().cloned());
        let link = if self.travel.is_past() {
            (self.travel.now(), "Back to now")
        } else {
            (format!("{}/", frame.base), "What runs where")
        };
        let link = Some(link);
        let mut response = page(code.status(), &Message { frame, title: code.title(), text, meant, link })?;
        if let Some(wait) = problem.render(&Context::default()).headers().get(header::RETRY_AFTER) {
            response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
        }
        Ok(response)
    }
}

/// What is at no path: browsers are shown it as whatever else cannot be shown.
pub async fn nothing(request: Request) -> Result<Response> {
    if let Some(app) = request.data::<App>() {
        // So that whoever has signed in finds their way on.
        drop(Visitor::of(app, &request).await?);
    }
    Err(Problem::new(Code::NotFound, "There is nothing at this path.").into())
}
