//! `/services/{service}`: who owns it, what ran where over time, its releases, and what a promotion would bring.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use poem::{Request, Response, Result};

use super::{
    address::address,
    form::Form,
    lanes::{Picture, Zoom},
    moment::{exact, word},
    named::{Peopled, named},
    page::{Frame, Visitor, app, live, to_login},
    promotion::{Promotion, likely},
    rows::short,
    when::{Shown, When},
};
use crate::{
    api::page::page_request,
    clock,
    domain::{
        deployment::Filter,
        page::{LIMIT_MAX, OrderKey, PageRequest},
        passage::Way,
        release::Release,
        service::Service,
        target::Occupant,
    },
    http::problem::Problem,
    usecase::{
        context::Ctx,
        deployments::read,
        error::Error,
        lanes,
        matrix::{self, Place},
        releases, services,
    },
};

/// So many of its releases are shown.
const RELEASES: u64 = 25;

#[derive(Template)]
#[template(path = "service.html")]
struct Page {
    frame: Frame,
    shown: Shown,
    service: Service,
    /// The board of its owner.
    owned: String,
    places: Vec<PlaceRow>,
    picture: Picture,
    zooms: Vec<(&'static str, String, bool)>,
    earlier: String,
    later: Option<String>,
    /// What is asked for besides, for the form of the promotion.
    zoom: &'static str,
    promotion: Option<Promotion>,
    /// An environment of the promotion that is asked for which is not there any more.
    gone: Option<String>,
    releases: Vec<ReleaseRow>,
    next: Option<String>,
}

/// What it runs in an environment.
struct PlaceRow {
    environment: String,
    tier: &'static str,
    locked_down: bool,
    current: Option<Here>,
    running: Option<(Here, bool)>,
}

/// Something that is there, or on its way.
struct Here {
    version: String,
    since: When,
    by: String,
}

/// One of its releases.
struct ReleaseRow {
    version: String,
    registered: When,
    commit: Option<String>,
    changes: usize,
    by: String,
    /// The environments where it runs.
    places: Vec<String>,
}

/// What the page is asked to show.
struct Asked {
    as_of: Option<DateTime<Utc>>,
    zoom: Zoom,
    from: String,
    to: String,
}

impl Asked {
    fn of(form: &Form, as_of: Option<DateTime<Utc>>) -> Result<Self, Problem> {
        let field = |name| form.get(name).trim().to_owned();
        let zoom = word(form, "zoom", Zoom::ALL, Zoom::as_str)?.unwrap_or_default();
        Ok(Self { as_of, zoom, from: field("from"), to: field("to") })
    }

    /// An environment of the promotion that is not in use.
    fn gone(&self, places: &[Place]) -> Option<String> {
        let is_gone =
            |name: &&String| !name.is_empty() && !places.iter().any(|place| place.environment.name == **name);
        [&self.from, &self.to].into_iter().find(is_gone).cloned()
    }

    fn address(&self, path: &str, zoom: Zoom, as_of: &str) -> String {
        let fields = [("zoom", zoom.as_str()), ("as_of", as_of), ("from", &self.from), ("to", &self.to)];
        address(path, fields)
    }

    /// Half of what is shown before what is shown. From now it is said how long ago that is, so that the page stays the same.
    fn earlier(&self) -> String {
        let half = self.zoom.span() / 2;
        match self.as_of {
            None => format!("{}h", half.num_hours()),
            Some(at) => exact(at.checked_sub_signed(half)),
        }
    }

    /// The end of what is shown: of now the minute that has begun.
    fn edge(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let minute = TimeDelta::minutes(1);
        self.as_of.unwrap_or_else(|| now.duration_trunc(minute).map_or(now, |begun| begun + minute))
    }
}

/// Shows a service to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let name: String = request.path_params()?;
    let form = Form::of_query(&request);
    let asked = Asked::of(&form, visitor.as_of())?;
    let cursor = form.given("cursor");
    let list = page_request(Some(RELEASES), cursor.as_deref())?;
    let list = PageRequest { after: list.after.or_else(|| newest(asked.as_of)), ..list };
    let frame = Frame::of(app, Some(&visitor)).at("services").telling();
    let page = Page::read(&visitor.ctx, frame, &name, &asked, &list).await?;
    live(&named(&visitor.ctx, page).await?)
}

/// Where the releases of a moment of the past begin: none that come later in their order were there.
fn newest(as_of: Option<DateTime<Utc>>) -> Option<OrderKey> {
    as_of.map(|at| OrderKey { at, number: i64::MAX })
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        let places = self.places.iter_mut();
        let here = places
            .flat_map(|place| place.current.iter_mut().chain(place.running.iter_mut().map(|(here, _)| here)));
        let releases = self.releases.iter_mut().map(|row| &mut row.by);
        here.map(|here| &mut here.by).chain(releases).collect()
    }
}

impl Page {
    async fn read(
        ctx: &Ctx,
        frame: Frame,
        name: &str,
        asked: &Asked,
        list: &PageRequest<OrderKey>,
    ) -> Result<Self, Problem> {
        let now = clock::now();
        let at = asked.as_of.unwrap_or(now);
        let service = services::get(ctx, name).await?;
        let places = matrix::of_service(ctx, name, asked.as_of).await?;
        let picture = picture(ctx, &frame.base, name, (asked.zoom, asked.edge(now))).await?;
        let promotion = promotion(ctx, name, (asked, &places), at).await?;
        let found = releases::list(ctx, name, None, list).await?;
        let runs = where_they_run(&places);
        // What was put on record later ran all the same.
        let was_there = |release: &Release| {
            release.created_at <= at || runs.contains_key(release.identity.version.as_str())
        };
        let releases =
            found.items.into_iter().filter(was_there).map(|release| release_row(release, &runs, at));
        let path = format!("{}/services/{name}", frame.base);
        let zoom = |zoom: &Zoom| {
            (zoom.as_str(), asked.address(&path, *zoom, &exact(asked.as_of)), *zoom == asked.zoom)
        };
        let half = asked.zoom.span() / 2;
        let later = asked
            .as_of
            .map(|at| asked.address(&path, asked.zoom, &exact(Some(at + half).filter(|at| *at < now))));
        let fields = |next: &str| address(&path, [("zoom", asked.zoom.as_str()), ("cursor", next)]);
        Ok(Self {
            shown: Shown::of(asked.as_of, now),
            owned: address(
                &format!("{}/", frame.base),
                [("owner", service.description.owner.as_deref().unwrap_or_default())],
            ),
            service,
            picture,
            zooms: Zoom::ALL.iter().map(zoom).collect(),
            earlier: asked.address(&path, asked.zoom, &asked.earlier()),
            later,
            zoom: asked.zoom.as_str(),
            promotion,
            gone: asked.gone(&places),
            releases: releases.collect(),
            next: found.next.as_deref().map(fields),
            places: places.into_iter().map(|place| place_row(place, at)).collect(),
            frame,
        })
    }
}

async fn picture(
    ctx: &Ctx,
    base: &str,
    name: &str,
    (zoom, at): (Zoom, DateTime<Utc>),
) -> Result<Picture, Error> {
    let window = zoom.window(at);
    let known = lanes::of_service(ctx, name, window).await?;
    let ended = Filter {
        service: Some(name.to_owned()),
        since: Some(window.from),
        until: Some(window.until),
        ..Filter::default()
    };
    let last = PageRequest { after: None, limit: LIMIT_MAX };
    let found = read::list(ctx, &ended, &last).await?;
    // Before the oldest that is read, nobody looked for failures.
    let oldest = found.items.last().filter(|_| found.next.is_some());
    let since = oldest.map_or(known.since, |oldest| known.since.max(oldest.deployment.times.started_at));
    let mut ended = found.items;
    ended.retain(|named| named.deployment.times.finished_at.is_some_and(|end| end <= at));
    Ok(Picture::of(base, (window, zoom), (known.lanes, since), &ended))
}

/// What the promotion that is asked for would bring, or the one that is likely meant.
async fn promotion(
    ctx: &Ctx,
    name: &str,
    (asked, places): (&Asked, &[Place]),
    at: DateTime<Utc>,
) -> Result<Option<Promotion>, Problem> {
    let asked = (asked.from.as_str(), asked.to.as_str());
    let wanted = if asked == ("", "") { likely(places) } else { Some(asked) };
    let Some((from, to)) = wanted else { return Ok(None) };
    // One that is gone since the address was written leaves the page as it is.
    let find = |name: &str| places.iter().find(|place| place.environment.name == name);
    let Some(between) = find(from).zip(find(to)) else { return Ok(None) };
    Ok(Promotion::read(ctx, name, between, at).await?)
}

/// The environments where each version runs.
fn where_they_run(places: &[Place]) -> BTreeMap<String, Vec<String>> {
    let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Place { environment, current, .. } in places {
        if let Some(current) = current {
            runs.entry(current.release.version.to_string()).or_default().push(environment.name.clone());
        }
    }
    runs
}

fn release_row(release: Release, runs: &BTreeMap<String, Vec<String>>, at: DateTime<Utc>) -> ReleaseRow {
    let version = release.identity.version.to_string();
    ReleaseRow {
        registered: When::of(release.created_at, at),
        commit: release.identity.commit_sha.map(|commit| short(commit.as_str())),
        changes: release.description.changes.len(),
        by: release.description.initiated_by.unwrap_or(release.actor.subject),
        places: runs.get(&version).cloned().unwrap_or_default(),
        version,
    }
}

fn place_row(place: Place, at: DateTime<Utc>) -> PlaceRow {
    let here = |occupant: Occupant| Here {
        version: occupant.release.version.to_string(),
        since: When::of(occupant.since, at),
        by: occupant.actor.subject,
    };
    PlaceRow {
        tier: place.environment.tier.as_str(),
        locked_down: place.environment.locked_down,
        current: place.current.map(here),
        running: place.running.map(|running| {
            let removal = running.removal;
            (here(running), removal)
        }),
        environment: place.environment.name,
    }
}
