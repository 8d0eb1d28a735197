//! What a promotion would bring: the commits between what two environments run, to be read and to be sent to others.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::{rows::short, when::When};
use crate::{
    domain::{
        passage::{Passage, Way},
        release::Change,
        text::Version,
    },
    usecase::{context::Ctx, error::Error, matrix::Place, releases},
};

/// So many commits are shown; the text for others has no more either.
const COMMITS: usize = 200;

/// What going from one environment to another would bring.
pub struct Promotion {
    pub from: String,
    pub to: String,
    /// What the first runs, and the second.
    pub source: String,
    pub target: Option<String>,
    pub way: Way,
    pub releases: usize,
    pub commits: Vec<Commit>,
    /// How many more there are.
    pub more: usize,
    /// Whether there are more releases than are looked at.
    pub is_cut: bool,
    /// All of it as a text.
    pub text: String,
}

/// A commit.
pub struct Commit {
    pub sha: String,
    pub title: String,
    /// The release that brings it.
    pub version: String,
    pub when: When,
}

impl Commit {
    /// A commit, seen from a moment, with the release that brings it.
    pub fn of(change: &Change, version: String, now: DateTime<Utc>) -> Self {
        Self {
            sha: short(&change.sha),
            title: change.title.clone().unwrap_or_default(),
            version,
            when: When::of(change.committed_at, now),
        }
    }
}

/// The two environments that people most likely mean: of those that differ, the first that is behind the one before it.
pub fn likely(places: &[Place]) -> Option<(&str, &str)> {
    let version = |place: &Place| place.current.as_ref().map(|current| current.release.version.clone());
    let running: Vec<_> = places.iter().filter(|place| place.current.is_some()).collect();
    let mut pairs = running.iter().zip(running.iter().skip(1));
    let differing = pairs.clone().find(|(from, to)| version(from) != version(to));
    let (from, to) = differing.or_else(|| pairs.next_back())?;
    Some((&from.environment.name, &to.environment.name))
}

impl Promotion {
    /// What promoting from one place to another would bring; none where nothing runs in the first.
    pub async fn read(
        ctx: &Ctx,
        service: &str,
        (from, to): (&Place, &Place),
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, Error> {
        let version =
            |place: &Place| place.current.as_ref().map(|current| current.release.version.to_string());
        let Some(source) = version(from) else { return Ok(None) };
        let target = version(to);
        let passage = releases::passage(ctx, service, target.as_deref(), &source).await?;
        let (from, to) = (from.environment.name.clone(), to.environment.name.clone());
        Ok(Some(Self::of(service, (from, to), (source, target), &passage, now)))
    }

    fn of(
        service: &str,
        (from, to): (String, String),
        (source, target): (String, Option<String>),
        passage: &Passage,
        now: DateTime<Utc>,
    ) -> Self {
        let changes = passage.changes();
        let commit = |(version, change): &(&Version, &Change)| Commit::of(change, version.to_string(), now);
        let mut promotion = Self {
            from,
            to,
            source,
            target,
            way: passage.way,
            releases: passage.releases.len(),
            commits: changes.iter().take(COMMITS).map(commit).collect(),
            more: changes.len().saturating_sub(COMMITS),
            is_cut: passage.more,
            text: String::new(),
        };
        promotion.text = promotion.to_text(service);
        promotion
    }

    /// How much it brings or takes back.
    pub fn what(&self) -> String {
        let counted = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let commits = self.commits.len() + self.more;
        format!("{} with {}", counted(self.releases, "release"), counted(commits, "commit"))
    }

    /// All of it in lines, for a chat.
    fn to_text(&self, service: &str) -> String {
        let Self { from, to, source, target, .. } = self;
        let place = target.as_deref().unwrap_or("nothing");
        let mut text = format!("{service}, {from} to {to}: {place} → {source}");
        let what = match self.way {
            Way::Same => return text + ", which is the same",
            Way::Forward => "brings",
            Way::Back => "takes back",
        };
        let _ = write!(text, ", {what} {}", self.what());
        for Commit { sha, title, version, .. } in &self.commits {
            // A title may have several lines and belongs on one.
            let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = write!(text, "\n- {sha} {title} ({version})");
        }
        if self.more > 0 {
            let _ = write!(text, "\n- and {} more", self.more);
        }
        text
    }
}
