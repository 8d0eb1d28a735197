//! `/services`: what is deployed on its own, by name.

use askama::Template;
use poem::{Request, Response, Result, http::StatusCode};

use super::{
    address::address,
    form::Form,
    page::{Frame, Visitor, app, page, to_login},
};
use crate::{
    api::page::page_request,
    domain::service::{Service, ServiceDescription},
    http::problem::Problem,
    usecase::services,
};

/// So many are on a page.
const SERVICES: u64 = 100;

#[derive(Template)]
#[template(path = "services.html")]
struct Page {
    frame: Frame,
    archived: bool,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    name: String,
    display_name: String,
    owner: String,
    /// The board of that owner.
    owned: String,
    description: String,
    labels: Vec<String>,
}

/// Lists services for whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let form = Form::of_query(&request);
    let archived = form.get("archived") == "true";
    let asked = page_request(Some(SERVICES), form.given("cursor").as_deref())?;
    let found = services::list(&visitor.ctx, archived, &asked).await.map_err(Problem::from)?;
    let frame = Frame::of(app, Some(&visitor)).at("services");
    let path = format!("{}/services", frame.base);
    let next = |next: String| {
        let archived = if archived { "true" } else { "" };
        address(&path, [("archived", archived), ("cursor", next.as_str())])
    };
    let rows = found.items.into_iter().map(|service| row(&frame.base, service)).collect();
    page(StatusCode::OK, &Page { archived, rows, next: found.next.map(next), frame })
}

fn row(base: &str, service: Service) -> Row {
    let ServiceDescription { display_name, description, owner, labels, .. } = service.description;
    let owner = owner.unwrap_or_default();
    Row {
        name: service.name.to_string(),
        display_name: display_name.unwrap_or_default(),
        owned: address(&format!("{base}/"), [("owner", owner.as_str())]),
        owner,
        description: description.unwrap_or_default(),
        labels: labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
    }
}
