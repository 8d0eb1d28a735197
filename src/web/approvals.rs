//! `/approvals`: what waits for whoever looks, and what waits for whom; and saying yes or no.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result, Route};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    address::address,
    form::{
        Form,
        blank::Blank,
        field::{Field, put},
        sent::{Sender, Sent, status, unseen},
    },
    page::{Frame, Visitor, app, id, live, page, see, to_login},
    routes::Pages,
    when::{Shown, When},
};
use crate::{
    api::{approvals::CreateApproval, body, page::page_request, view::refuse},
    clock,
    domain::{
        approval::Pending,
        gate::rules::Standing,
        people::Names,
        person::Person,
        sign_in::back::Back,
        vocabulary::{Scope, Voice},
    },
    http::{problem::Problem, spec::Spec},
    usecase::{
        approvals::{self, About, Waiting},
        people, releases,
    },
};

/// The pages of this file.
pub fn add_to(routes: Route, spec: &mut Spec) -> Route {
    Pages::new(routes, spec)
        .get("/approvals", "page_list_pending_approvals", show)
        .post("/services/{service}/releases/{version}/approvals", "page_create_approval", give)
        .post(
            "/services/{service}/releases/{version}/approvals/{id}/withdraw",
            "page_withdraw_approval",
            withdraw,
        )
        .routes()
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct Page {
    frame: Frame,
    shown: Shown,
    mine: Vec<Item>,
    others: Vec<Item>,
    service: String,
    environment: String,
    next: Option<String>,
}

/// A release that waits.
struct Item {
    service: String,
    environment: String,
    version: String,
    since: When,
    asked_by: String,
    image: Option<String>,
    decision: String,
    /// How far each rule is: what it wants, who gave it, and whether that is enough.
    rules: Vec<(String, String, bool)>,
    rejections: Vec<(String, String)>,
    not_counted: Vec<(String, &'static str)>,
    /// Where it is said, for those who may.
    form: Option<Blank>,
}

/// Shows what waits.
async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let query = Form::of_query(&request);
    let asked = page_request(None, query.given("cursor").as_deref())?;
    let [service, environment] = ["service", "environment"].map(|name| query.get(name).trim().to_owned());
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let only = Waiting { service: some(&service), environment: some(&environment), ..Waiting::default() };
    let waiting = approvals::waiting(&visitor.ctx, &only, &asked).await.map_err(Problem::from)?;
    let (frame, now) = (Frame::of(app, Some(&visitor)).at("approvals"), clock::now());
    let next = waiting.next.map(|cursor| {
        let fields = [("service", service.as_str()), ("environment", &environment), ("cursor", &cursor)];
        address(&format!("{}/approvals", frame.base), fields)
    });
    let mentioned = waiting.items.iter().flat_map(subjects).cloned().collect();
    let names = people::names(&visitor.ctx, mentioned).await.map_err(Problem::from)?;
    let principal = &visitor.ctx.principal;
    let (mine, others): (Vec<_>, Vec<_>) = waiting.items.into_iter().partition(|pending| {
        may_say(&visitor, &pending.asked.service, &pending.asked.environment)
            && pending.waits_for(&principal.actor.subject, &principal.groups)
    });
    let items = |list: Vec<Pending>| -> Vec<Item> {
        list.into_iter().map(|pending| item(&visitor, &frame.base, pending, &names, now)).collect()
    };
    let (mine, others) = (items(mine), items(others));
    live(&Page { shown: Shown::of(None, now), mine, others, service, environment, next, frame })
}

/// Whether somebody may approve and reject there.
fn may_say(visitor: &Visitor, service: &str, environment: &str) -> bool {
    let reach = visitor.reach(Scope::Approve);
    reach.is_some_and(|reach| reach.allows_service(service) && reach.allows_environment(environment))
}

/// Whom an item names.
fn subjects(pending: &Pending) -> impl Iterator<Item = &String> {
    let said = pending.rejections.iter().map(|(who, _)| who).chain(&pending.approved_by);
    let not_counted = pending.not_counted.iter().map(|(who, _)| who);
    said.chain(not_counted).chain([&pending.asked.actor.subject])
}

fn item(visitor: &Visitor, base: &str, pending: Pending, names: &Names, now: DateTime<Utc>) -> Item {
    let Pending { asked, standings, rejections, not_counted, .. } = pending;
    let shown = |who: &String| names.shown(who);
    let rejections = rejections.iter().map(|(who, why)| (shown(who), why.clone().unwrap_or_default()));
    let not_counted = not_counted.iter().map(|(who, why)| (shown(who), *why));
    let image = asked.image.as_ref().map(ToString::to_string);
    let about = About { service: &asked.service, version: &asked.version, environment: &asked.environment };
    Item {
        form: offered(visitor, base, about, image.as_deref(), "/approvals"),
        since: When::of(asked.since, now),
        asked_by: shown(&asked.actor.subject),
        image,
        decision: asked.decision_id.to_string(),
        rules: standings.into_iter().map(|standing| rule(standing, names)).collect(),
        rejections: rejections.collect(),
        not_counted: not_counted.collect(),
        service: asked.service,
        environment: asked.environment,
        version: asked.version,
    }
}

/// What a rule wants, who gave it, and whether that is enough.
fn rule(Standing { rule, approved_by, missing }: Standing, names: &Names) -> (String, String, bool) {
    let whom = match rule.groups.as_slice() {
        [] => "anybody".to_owned(),
        [one] => format!("the group {one}"),
        several => format!("the groups {}", several.join(", ")),
    };
    let people: Vec<_> = approved_by.iter().map(|who| names.shown(who)).collect();
    let given = if people.is_empty() { String::new() } else { format!("given by {}", people.join(", ")) };
    let wanted = match (rule.required, missing) {
        (1, 0) => format!("one approval of {whom}"),
        (1, _) => format!("one approval of {whom} is missing"),
        (required, 0) => format!("{required} approvals of {whom}"),
        (required, missing) => format!("{required} approvals of {whom}, {missing} of them missing"),
    };
    (wanted, given, missing == 0)
}

/// The form in which a release is approved or rejected, for those who may; afterwards it leads back to a page.
pub fn offered(
    visitor: &Visitor,
    base: &str,
    about: About<'_>,
    image: Option<&str>,
    back: &str,
) -> Option<Blank> {
    let may = may_say(visitor, about.service, about.environment);
    let blank = || blank(base, &visitor.csrf(), about, image, back);
    may.then(|| blank().folded(&format!("Approve or reject {}", about.version), ""))
}

fn blank(base: &str, csrf: &str, about: About<'_>, image: Option<&str>, back: &str) -> Blank {
    let About { service, version, environment } = about;
    let hint = "Everybody who looks at this release can read it.";
    Blank::new(
        &format!("say-{service}-{environment}-{version}"),
        format!("{base}/services/{service}/releases/{version}/approvals"),
        csrf,
    )
    .hidden("environment", &environment)
    .hidden("image", &image.unwrap_or_default())
    .hidden("to", &back)
    .field(Field::area("comment", "Why").hint(hint))
    .saying("Approve", ("decision", Voice::Approved.as_str()), "")
    .saying("Reject", ("decision", Voice::Rejected.as_str()), "danger")
}

#[derive(Template)]
#[template(path = "approve.html")]
struct Again {
    frame: Frame,
    service: String,
    version: String,
    environment: String,
    image: Option<String>,
    form: Blank,
}

/// Approves or rejects.
async fn give(mut request: Request) -> Result<Response> {
    let (service, version) = request.path_params::<(String, String)>()?;
    let sender = Sender::of(&mut request).await?;
    let environment = sender.form.get("environment").to_owned();
    let about = About { service: &service, version: &version, environment: &environment };
    match say(&sender, about).await {
        Ok(back) => Ok(see(&format!("{}{back}", sender.app.people.site.base()))),
        Err(problem) => again(&sender, about, problem).await,
    }
}

async fn say(sender: &Sender, about: About<'_>) -> Result<Back, Problem> {
    let form = &sender.form;
    let blank = blank("", "", about, None, "");
    let mut said = sender.body(&blank);
    put(&mut said, "environment", json!(about.environment));
    if let Some(decision) = form.given("decision") {
        put(&mut said, "decision", json!(decision));
    }
    // What was looked at had no image, where the page knew of none.
    let image = form.given("image").filter(|image| !image.is_empty());
    put(&mut said, "image", image.map_or(Value::Null, Value::from));
    let said = body::read::<CreateApproval>(&sender.spec, &said)?.parse().map_err(refuse)?;
    approvals::give(&sender.visitor.ctx, about, &said, &unseen).await?;
    Ok(Back::parse(form.get("to")).unwrap_or_default())
}

/// The form in which what somebody has said of a release is withdrawn, for whoever said it.
pub fn withdrawal(visitor: &Visitor, base: &str, about: About<'_>, said: (Uuid, &str)) -> Option<Blank> {
    let (id, subject) = said;
    let is_own = Person::of(subject) == Person::of(&visitor.ctx.actor().subject);
    let action =
        format!("{base}/services/{}/releases/{}/approvals/{id}/withdraw", about.service, about.version);
    let blank = || Blank::new(&format!("withdraw-{id}"), action, &visitor.csrf()).plain_button("Withdraw it");
    (is_own && may_say(visitor, about.service, about.environment)).then(blank)
}

/// Withdraws what somebody has said.
async fn withdraw(mut request: Request) -> Result<Response> {
    let (service, version, _id) = request.path_params::<(String, String, String)>()?;
    let id = id(&request, "approval")?;
    let here = format!("/services/{service}/releases/{version}");
    let sender = Sender::of(&mut request).await?;
    approvals::withdraw(&sender.visitor.ctx, &service, &version, id).await.map_err(Problem::from)?;
    Ok(see(&format!("{}{here}", sender.app.people.site.base())))
}

/// Shows why it was refused, with the release as it is now.
async fn again(sender: &Sender, about: About<'_>, problem: Problem) -> Result<Response> {
    let sent = Sent::of(sender.form.clone(), problem)?;
    let visitor = &sender.visitor;
    let release = releases::get(&visitor.ctx, about.service, about.version).await.map_err(Problem::from)?;
    let image = release.identity.image.map(|image| image.to_string());
    let frame = Frame::of(&sender.app, Some(visitor)).at("approvals");
    let form = blank(&frame.base, &visitor.csrf(), about, image.as_deref(), sender.form.get("to"));
    page(
        status(Some(&sent)),
        &Again {
            service: about.service.to_owned(),
            version: about.version.to_owned(),
            environment: about.environment.to_owned(),
            image,
            form: form.after(Some(&sent)),
            frame,
        },
    )
}
