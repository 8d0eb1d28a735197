//! How long an artefact has been in the environments that a policy promotes from.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Wanted;
use crate::{
    domain::gate::{
        facts::{Source, SourceStanding},
        rules,
    },
    store::{
        deployment,
        sql::{Sql, objects},
    },
};

/// A stay of the artefact in an environment, or an environment without any, as the database writes it into JSON.
#[derive(Deserialize)]
pub(super) struct StayRow {
    pub(super) name: String,
    standing: SourceStanding,
    /// When it began to count: with the first deployment in it that went through the gate, and where a rollback took the
    /// release away but left its artefact, with the first one of that release since.
    since: Option<DateTime<Utc>>,
    /// When another artefact took its place, if one has.
    until: Option<DateTime<Utc>>,
    pub(super) reverted_at: Option<DateTime<Utc>>,
}

/// A rollback that took away the release that is asked for and left its artefact there. What the artefact did as other
/// releases, or before, counts for this one no more.
const TAKEN_AWAY: &str = "SELECT 1 FROM deployment x JOIN deployment b ON b.id = x.reverted_by \
     WHERE x.service_id = d.service_id AND x.environment_id = d.environment_id AND x.artefact = d.artefact \
     AND x.status = 'succeeded' AND x.release_id = asked.id AND b.artefact = x.artefact \
     AND (d.release_id <> asked.id OR d.finished_at < b.finished_at)";

/// Pushes the column `sources`: every stay in these environments of the artefact that is asked for.
pub(super) fn push(sql: &mut Sql, postgres: bool, wanted: &Wanted<'_>, places: &[&str]) {
    sql.push(&objects(postgres, &["name", "standing", "since", "until", "reverted_at"]));
    sql.push(
        "SELECT e.name, CASE WHEN e.archived_at IS NOT NULL THEN 'archived' WHEN e.unconfirmed THEN 'unconfirmed' \
         ELSE 'confirmed' END AS standing, v.since, v.until, ",
    );
    sql.push(&deployment::reverted_at("asked.id", "asked.sought")).bind(wanted.service_id).push(&format!(
        ") AS reverted_at FROM environment e LEFT JOIN (SELECT d.environment_id, \
         MIN(CASE WHEN d.credited AND NOT EXISTS ({TAKEN_AWAY}) THEN d.finished_at END) AS since, \
         CASE WHEN COUNT(*) = COUNT(d.superseded_at) THEN MAX(d.superseded_at) END AS until \
         FROM deployment d WHERE d.status = 'succeeded' AND d.artefact = asked.sought AND d.service_id = "
    ));
    sql.bind(wanted.service_id)
        .push(" GROUP BY d.environment_id, d.stay_started_at) AS v ON v.environment_id = e.id WHERE e.name");
    sql.among(places.iter().copied()).push(") AS o) AS sources");
}

/// What the rules know of these environments, in the order of their names.
pub(super) fn read(stays: &[StayRow], names: &[String], now: DateTime<Utc>) -> Vec<Source> {
    let source = |name: &String| {
        let mine: Vec<&StayRow> = stays.iter().filter(|stay| stay.name == *name).collect();
        let counting: Vec<_> =
            mine.iter().filter_map(|stay| stay.since.map(|since| (since, stay.until))).collect();
        let standing = mine.first().map_or(SourceStanding::Unknown, |stay| stay.standing);
        let reverted_at = mine.first().and_then(|stay| stay.reverted_at);
        rules::source(name.clone(), standing, &counting, reverted_at, now)
    };
    names.iter().map(source).collect()
}
