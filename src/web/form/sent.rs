//! Somebody who has signed in sends a form: who, what, and what it came to.

use std::sync::Arc;

use poem::{Request, http::StatusCode};
use serde_json::Value;

use super::{Form, blank::Blank, carried::carried};
use crate::{
    api::auth::is_from_own_page,
    domain::{idempotency::Answer, revision::Expected},
    http::{
        problem::{Code, Problem},
        spec::{Matched, Spec},
    },
    usecase::app::App,
    web::page::{Visitor, app},
};

/// Somebody who sends a form.
pub struct Sender {
    /// The server.
    pub app: App,
    /// Who.
    pub visitor: Visitor,
    /// What.
    pub form: Form,
    /// What the API's bodies look like.
    pub spec: Arc<Spec>,
}

impl Sender {
    /// Reads who sends what. It must come from a page of this site; where that was made for a session that is over, the answer
    /// keeps what was filled in.
    pub async fn of(request: &mut Request) -> poem::Result<Self> {
        let app = app(request)?.clone();
        let Some(visitor) = Visitor::of(&app, request).await? else {
            let form = Form::of_stranger(&app, request).await?;
            return Err(carried(&app, request, None, &form));
        };
        let form = Form::read(request).await?;
        let site = &app.people.site;
        if let Err(problem) = visitor.shown.prove(request, site, Some(form.get("csrf"))) {
            let is_ours = is_from_own_page(request, site);
            return Err(if is_ours { carried(&app, request, Some(&visitor), &form) } else { problem.into() });
        }
        let spec = request.data::<Matched>().map(|matched| matched.spec.clone());
        Ok(Self { app, visitor, form, spec: spec.ok_or_else(Problem::internal)? })
    }

    /// What the form says, as the body of the API's operation that does the same.
    pub fn body(&self, blank: &Blank) -> Value {
        blank.body(&self.form)
    }

    /// The revision that whoever sends this looked at, in the field `revision`; with anything else there, none is right.
    pub fn expected(&self) -> Expected {
        Expected::OneOf(self.form.get("revision").parse().into_iter().collect())
    }
}

/// A form that was refused.
pub struct Sent {
    /// What was sent.
    pub form: Form,
    /// Why it was refused.
    pub problem: Problem,
}

impl Sent {
    /// A form that was refused for what whoever sent it can mend; anything else is a problem of its own.
    pub fn of(form: Form, problem: Problem) -> Result<Self, Problem> {
        let mendable = [Code::InvalidInput, Code::Conflict, Code::Stale, Code::Forbidden];
        if mendable.contains(&problem.code()) { Ok(Self { form, problem }) } else { Err(problem) }
    }

    /// Whether it was meant for something that has changed meanwhile.
    pub fn is_stale(&self) -> bool {
        self.problem.code() == Code::Stale
    }
}

/// The status of a page that shows what was sent, if anything was.
pub fn status(sent: Option<&Sent>) -> StatusCode {
    sent.map_or(StatusCode::OK, |sent| sent.problem.code().status())
}

/// What a use case is given that would render its answer: a page shows the ledger anew instead.
pub fn unseen<T>(_made: &T) -> Answer {
    Answer { status: StatusCode::NO_CONTENT.as_u16(), location: None, etag: None, body: String::new() }
}
