//! The lanes of a service as a picture: of each environment what ran there when. All places are told in percent of the width, so
//! that it fits any screen, and nothing in it is stretched.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use uuid::Uuid;

use super::when::whole;
use crate::domain::{
    deployment::NamedDeployment,
    lane::{Lane, Stay, Window},
    span::duration,
    vocabulary::Status,
};

/// How high a lane is, in the picture's units: its name, the bar, and the gap to the next.
const LANE: usize = 48;
/// How far below the top of a lane its bar begins, and how high that is.
const BAR: (usize, usize) = (18, 22);
/// How high the axis at the bottom is.
const AXIS: usize = 24;
/// So many colours take turns.
const HUES: usize = 6;

/// How much of the time a picture shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zoom {
    Day,
    #[default]
    Week,
    Quarter,
}

impl Zoom {
    pub const ALL: &'static [Self] = &[Self::Day, Self::Week, Self::Quarter];

    /// What it is called in addresses and links.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Quarter => "quarter",
        }
    }

    /// The stretch of time that it shows up to a moment.
    pub fn window(self, until: DateTime<Utc>) -> Window {
        Window { from: until - self.span(), until }
    }

    /// How long that is.
    pub fn span(self) -> TimeDelta {
        match self {
            Self::Day => TimeDelta::hours(24),
            Self::Week => TimeDelta::days(7),
            Self::Quarter => TimeDelta::days(91),
        }
    }

    /// From one mark of the axis to the next, and how a mark is written.
    fn marks(self) -> (TimeDelta, &'static str) {
        match self {
            Self::Day => (TimeDelta::hours(4), "%H:%M"),
            Self::Week => (TimeDelta::days(1), "%a %-d"),
            Self::Quarter => (TimeDelta::days(14), "%-d %b"),
        }
    }
}

/// A picture of lanes.
#[derive(Template)]
#[template(path = "lanes.html")]
pub struct Picture {
    base: String,
    height: usize,
    lanes: Vec<Row>,
    marks: Vec<(String, String)>,
    /// Where the lines of the marks end.
    foot: usize,
    /// Where the words of the marks stand.
    axis: usize,
    /// Until where nothing is known, where that is.
    unknown: Option<String>,
}

struct Row {
    environment: String,
    /// Where its name stands, and its bar begins.
    name_y: usize,
    bar_y: usize,
    bars: Vec<Bar>,
    ends: Vec<End>,
}

/// A release that was current for a while.
struct Bar {
    id: Uuid,
    x: String,
    width: String,
    hue: usize,
    version: String,
    words: String,
}

/// A deployment that did not succeed.
struct End {
    id: Uuid,
    x: String,
    words: String,
}

impl Picture {
    /// The lanes of a service, known from `since` on, with the deployments in them that came to nothing.
    pub fn of(
        base: &str,
        (window, zoom): (Window, Zoom),
        (lanes, since): (Vec<Lane>, DateTime<Utc>),
        ended: &[NamedDeployment],
    ) -> Self {
        let scale = Scale(window);
        let hues = hues(&lanes);
        let rows = lanes.into_iter().enumerate().map(|(index, lane)| {
            let top = index * LANE;
            let ends = ended.iter().filter(|named| named.environment == lane.environment);
            Row {
                name_y: top + BAR.0 - 5,
                bar_y: top + BAR.0,
                bars: lane.stays.iter().map(|stay| bar(scale, stay, &hues)).collect(),
                ends: ends.filter_map(|named| end(scale, named)).collect(),
                environment: lane.environment,
            }
        });
        let lanes: Vec<_> = rows.collect();
        let foot = lanes.len() * LANE;
        Self {
            base: base.to_owned(),
            height: foot + AXIS,
            lanes,
            marks: marks(scale, zoom),
            foot,
            axis: foot + AXIS - 8,
            unknown: (since > window.from).then(|| scale.place(since)),
        }
    }

    /// Whether there is nothing to see.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}

/// Where a moment is in a picture.
#[derive(Clone, Copy)]
struct Scale(Window);

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a share of a picture's width needs no more digits")]
    fn share(self, span: TimeDelta) -> f64 {
        let whole = (self.0.until - self.0.from).num_seconds().max(1);
        100.0 * span.num_seconds() as f64 / whole as f64
    }

    fn place(self, at: DateTime<Utc>) -> String {
        format!("{:.3}%", self.share(at - self.0.from).clamp(0.0, 100.0))
    }

    /// A width; never so small that nobody sees or hits it.
    fn width(self, span: TimeDelta) -> String {
        format!("{:.3}%", self.share(span).clamp(0.25, 100.0))
    }
}

/// A colour for each release, in the order in which they appear: neighbours differ.
fn hues(lanes: &[Lane]) -> BTreeMap<String, usize> {
    let mut stays: Vec<&Stay> = lanes.iter().flat_map(|lane| &lane.stays).collect();
    stays.sort_by_key(|stay| stay.from);
    let mut hues = BTreeMap::new();
    for stay in stays {
        let next = hues.len() % HUES;
        hues.entry(stay.release.version.to_string()).or_insert(next);
    }
    hues
}

fn bar(scale: Scale, stay: &Stay, hues: &BTreeMap<String, usize>) -> Bar {
    let version = stay.release.version.to_string();
    let until =
        if stay.goes_on { "and goes on".to_owned() } else { format!("until {} UTC", whole(stay.until)) };
    let span = stay.until - stay.from;
    Bar {
        id: stay.deployment_id,
        x: scale.place(stay.from),
        width: scale.width(span),
        hue: hues.get(&version).copied().unwrap_or_default(),
        words: format!("{version} from {} UTC {until}, for {}", whole(stay.from), duration(span)),
        version,
    }
}

fn end(scale: Scale, NamedDeployment { deployment, release, .. }: &NamedDeployment) -> Option<End> {
    let at = deployment.times.finished_at?;
    let came = matches!(deployment.status, Status::Failed | Status::Expired | Status::Canceled);
    came.then(|| End {
        id: deployment.id,
        x: scale.place(at),
        words: format!("{} {} at {} UTC", release.version, deployment.status, whole(at)),
    })
}

/// The marks of the axis: where, and what they say.
fn marks(scale: Scale, zoom: Zoom) -> Vec<(String, String)> {
    let (step, format) = zoom.marks();
    let Window { from, until } = scale.0;
    let mut at = from.duration_trunc(step).unwrap_or(from) + step;
    let mut marks = Vec::new();
    // Words of a mark at the very end would be cut off.
    while scale.share(at - from) < 96.0 && at < until {
        marks.push((scale.place(at), at.format(format).to_string()));
        at += step;
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{release::Identity, text::Version};

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_582_400 + 3_600 * hour, 0).unwrap()
    }

    fn stay(version: &str, from: i64, until: i64) -> Stay {
        let release =
            Identity { version: Version::trusted(version.to_owned()), commit_sha: None, image: None };
        Stay { deployment_id: Uuid::nil(), release, from: at(from), until: at(until), goes_on: until == 24 }
    }

    #[test]
    fn bars_lie_where_their_time_is_and_neighbours_differ() {
        let lane = Lane { environment: "prod".into(), stays: vec![stay("1", 0, 6), stay("2", 6, 24)] };
        let window = Zoom::Day.window(at(24));
        let picture = Picture::of("", (window, Zoom::Day), (vec![lane], window.from), &[]);
        let bars = &picture.lanes[0].bars;
        assert_eq!((bars[0].x.as_str(), bars[0].width.as_str()), ("0.000%", "25.000%"));
        assert_eq!((bars[1].x.as_str(), bars[1].width.as_str()), ("25.000%", "75.000%"));
        assert_ne!(bars[0].hue, bars[1].hue);
        assert_eq!(picture.marks.first(), Some(&("16.667%".to_owned(), "04:00".to_owned())));
        assert_eq!((picture.marks.len(), picture.unknown), (5, None));
    }

    #[test]
    fn what_lasted_a_moment_is_seen_all_the_same() {
        let scale = Scale(Zoom::Quarter.window(at(24)));
        assert_eq!(scale.width(TimeDelta::seconds(1)), "0.250%");
        assert_eq!(scale.place(at(48)), "100.000%");
    }
}
