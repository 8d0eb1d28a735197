//! `/freeze-windows`: when nothing starts; declaring, editing and taking back.

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result};
use uuid::Uuid;

use crate::{
    api::{body, freezes::CreateFreezeWindow, page::page_request},
    domain::{
        freeze::draft::Draft,
        vocabulary::{Scope, Tier},
    },
    http::problem::Problem,
    usecase::freezes::{self, Only, Seen},
    web::{
        address::address,
        form::{
            Form,
            blank::Blank,
            field::Field,
            sent::{Sender, Sent, status, unseen},
        },
        named::{Peopled, named},
        page::{Frame, Visitor, app, id, page, see, to_login},
        when::When,
    },
};

/// A freeze window in words.
pub struct Row {
    pub id: Uuid,
    pub name: String,
    pub reason: String,
    /// Where it counts.
    pub places: String,
    /// When it holds.
    pub times: String,
    /// Whether it holds now, and when that ends or begins.
    pub holds: bool,
    pub until: Option<When>,
    pub next: Option<When>,
    pub by: String,
}

/// A freeze window in words.
pub fn row(Seen { freeze, standing }: Seen) -> Row {
    let draft = Draft::from(&freeze.definition);
    let minute = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M").to_string();
    let times = match (draft.starts_at, draft.ends_at) {
        (Some(from), Some(to)) => format!("once, from {} to {} UTC", minute(from), minute(to)),
        _ => format!(
            "again and again, from {} to {}, {}",
            draft.start_cron.unwrap_or_default(),
            draft.end_cron.unwrap_or_default(),
            draft.timezone.unwrap_or_default()
        ),
    };
    let tiers =
        draft.tiers.map(|tiers| tiers.iter().map(|tier| tier.as_str()).collect::<Vec<_>>().join(", "));
    let mut places = match (draft.environments, tiers) {
        (Some(names), _) => names.join(", "),
        (None, Some(tiers)) => format!("everything of the tier {tiers}"),
        (None, None) => String::new(),
    };
    if let Some(services) = draft.services {
        places = format!("{places}, for {} only", services.join(", "));
    }
    Row {
        id: freeze.id,
        name: draft.name,
        reason: draft.reason,
        places,
        times,
        holds: standing.active,
        until: standing.opens_at.map(When::at),
        next: standing.next_starts_at.map(When::at),
        by: freeze.actor.subject,
    }
}

#[derive(Template)]
#[template(path = "freezes.html")]
struct All {
    frame: Frame,
    rows: Vec<Row>,
    form: Option<Blank>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "freeze.html")]
struct One {
    frame: Frame,
    row: Row,
    edit: Option<Blank>,
    delete: Option<Blank>,
}

impl Peopled for All {
    fn people(&mut self) -> Vec<&mut String> {
        self.rows.iter_mut().map(|row| &mut row.by).collect()
    }
}

impl Peopled for One {
    fn people(&mut self) -> Vec<&mut String> {
        vec![&mut self.row.by]
    }
}

/// Shows every freeze window, and the form in which one is declared.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let query = Form::of_query(&request);
    let draft = Draft { environments: query.given("environment").map(|name| vec![name]), ..Draft::default() };
    all(Frame::of(app, Some(&visitor)).at("environments"), &visitor, &query, &draft, None).await
}

async fn all(
    frame: Frame,
    visitor: &Visitor,
    query: &Form,
    draft: &Draft,
    sent: Option<&Sent>,
) -> Result<Response> {
    let asked = page_request(None, query.given("cursor").as_deref())?;
    let found = freezes::list(&visitor.ctx, Only::default(), &asked).await.map_err(Problem::from)?;
    let form =
        fields(Blank::new("declare", format!("{}/freeze-windows", frame.base), &visitor.csrf()), draft);
    let form = form.button("Declare it").after(sent);
    let next = found
        .next
        .map(|cursor| address(&format!("{}/freeze-windows", frame.base), [("cursor", cursor.as_str())]));
    let rows = found.items.into_iter().map(row).collect();
    let shown = All { frame, rows, form: may(visitor).then_some(form), next };
    page(status(sent), &named(&visitor.ctx, shown).await?)
}

/// Whether somebody may declare any at all; where, the use case says.
fn may(visitor: &Visitor) -> bool {
    visitor.reach(Scope::Freeze).is_some_and(|reach| reach.services.is_none())
}

/// What is asked of a freeze window.
fn fields(blank: Blank, draft: &Draft) -> Blank {
    let tiers = Tier::ALL.iter().map(|tier| (tier.as_str(), ""));
    blank
        .field(Field::line("name", "Name").value(&draft.name).required())
        .field(
            Field::area("reason", "Reason")
                .hint("Whoever is held up reads it.")
                .value(&draft.reason)
                .required(),
        )
        .group("Where", "In environments by name, or in all of some tiers.")
        .field(Field::names("environments", "Environments").values(draft.environments.iter().flatten()))
        .field(Field::boxes("tiers", "Tiers", tiers).values(draft.tiers.iter().flatten()))
        .field(
            Field::names("services", "Only for the services")
                .hint("All where none is named.")
                .values(draft.services.iter().flatten()),
        )
        .group(
            "When",
            "Once, from one moment to another, in UTC; or again and again, by two cron expressions.",
        )
        .field(Field::moment("starts_at", "Begins").at(draft.starts_at))
        .field(Field::moment("ends_at", "Ends").at(draft.ends_at))
        .field(
            Field::line("start_cron", "Begins again and again")
                .hint("Minute, hour, day of the month, month, day of the week: 0 18 * * FRI")
                .value_if(draft.start_cron.as_ref()),
        )
        .field(
            Field::line("end_cron", "Ends again and again")
                .hint("0 8 * * MON")
                .value_if(draft.end_cron.as_ref()),
        )
        .field(
            Field::line("timezone", "On the clocks of")
                .hint("A time zone of the IANA database, such as Europe/Berlin.")
                .value_if(draft.timezone.as_ref()),
        )
}

fn read(sender: &Sender) -> Result<Draft, Problem> {
    let body = sender.body(&fields(Blank::new("", String::new(), ""), &Draft::default()));
    Ok(body::read::<CreateFreezeWindow>(&sender.spec, &body)?.draft())
}

/// Declares one.
pub(super) async fn create(mut request: Request) -> Result<Response> {
    let sender = Sender::of(&mut request).await?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("environments");
    let done = match read(&sender) {
        Ok(draft) => {
            freezes::create(&sender.visitor.ctx, &draft, &unseen).await.map(drop).map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let Err(problem) = done else { return Ok(see(&format!("{}/freeze-windows", frame.base))) };
    let sent = Sent::of(sender.form.clone(), problem)?;
    all(frame, &sender.visitor, &Form::default(), &Draft::default(), Some(&sent)).await
}

/// Shows one, to be edited or taken back.
pub(super) async fn show_one(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let id = id(&request, "freeze window")?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    one(Frame::of(app, Some(&visitor)).at("environments"), &visitor, id, None).await
}

/// Which of the two forms of one window was refused.
enum Refused {
    Edit(Sent),
    Delete(Sent),
}

async fn one(frame: Frame, visitor: &Visitor, id: Uuid, refused: Option<Refused>) -> Result<Response> {
    let seen = freezes::get(&visitor.ctx, id).await.map_err(Problem::from)?;
    let draft = Draft::from(&seen.freeze.definition);
    let (revision, here) = (seen.freeze.revision, format!("{}/freeze-windows/{id}", frame.base));
    let csrf = visitor.csrf();
    let (edited, deleted) = match &refused {
        Some(Refused::Edit(sent)) => (Some(sent), None),
        Some(Refused::Delete(sent)) => (None, Some(sent)),
        None => (None, None),
    };
    let edit = fields(Blank::new("edit", here.clone(), &csrf).hidden("revision", &revision), &draft);
    let means = "It no longer holds anything up. The audit log keeps what it was.";
    let delete = Blank::new("delete", format!("{here}/delete"), &csrf)
        .hidden("revision", &revision)
        .folded("Take it back …", means)
        .bad_button("Take it back");
    let may = may(visitor);
    let shown = One {
        frame,
        row: row(seen),
        edit: may.then(|| edit.button("Save").after(edited)),
        delete: may.then(|| delete.after(deleted)),
    };
    page(status(edited.or(deleted)), &named(&visitor.ctx, shown).await?)
}

/// Edits one.
pub(super) async fn edit(mut request: Request) -> Result<Response> {
    let id = id(&request, "freeze window")?;
    let sender = Sender::of(&mut request).await?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("environments");
    let done = match read(&sender) {
        Ok(draft) => {
            let edit = move |_before: Draft| draft.clone();
            let ctx = &sender.visitor.ctx;
            freezes::update(ctx, id, &sender.expected(), &edit).await.map(drop).map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let Err(problem) = done else { return Ok(see(&format!("{}/freeze-windows/{id}", frame.base))) };
    let sent = Sent::of(sender.form.clone(), problem)?;
    one(frame, &sender.visitor, id, Some(Refused::Edit(sent))).await
}

/// Takes one back.
pub(super) async fn delete(mut request: Request) -> Result<Response> {
    let id = id(&request, "freeze window")?;
    let sender = Sender::of(&mut request).await?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("environments");
    let done = freezes::delete(&sender.visitor.ctx, id, &sender.expected()).await;
    let Err(error) = done else { return Ok(see(&format!("{}/freeze-windows", frame.base))) };
    let sent = Sent::of(sender.form.clone(), error.into())?;
    one(frame, &sender.visitor, id, Some(Refused::Delete(sent))).await
}
