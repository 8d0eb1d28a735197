//! What rows say of each other: the order of a target's successes decides who superseded whom, how long each stayed and
//! what is current; the order of scans which of them count, and their releases what they are of. Each query gives only
//! the rows that say otherwise. By hand: they compare rows with their neighbours, by windows.

use sea_orm::{ConnectionTrait, QueryResult};

use super::unread::shown;
use crate::store::{error::StoreError, sql::Sql};

/// A row, and what of it the others contradict.
#[derive(Clone, Debug)]
pub struct Contradicted {
    /// The row, as people know it.
    pub row: String,
    /// What is wrong.
    pub wrong: &'static str,
}

const SUCCESSES: &str = "WITH h AS (SELECT d.id, d.kind, d.superseded_at, d.superseded_by, d.stay_started_at, d.finished_at, \
     d.artefact, LEAD(d.id) OVER w AS next_id, LEAD(d.finished_at) OVER w AS next_at, \
     LAG(d.artefact) OVER w AS before_artefact, LAG(d.stay_started_at) OVER w AS before_stay \
     FROM deployment d WHERE d.status = 'succeeded' \
     WINDOW w AS (PARTITION BY d.service_id, d.environment_id ORDER BY d.finished_at)) SELECT h.id FROM h WHERE ";

const REVERTS: &str = "SELECT d.id FROM deployment d WHERE d.status = 'succeeded' AND ";

/// What makes a success reverted by `r`.
const REVERTED: &str = "r.status = 'succeeded' AND r.service_id = d.service_id \
     AND r.environment_id = d.environment_id AND r.reverts_since < d.finished_at \
     AND r.finished_at > d.finished_at AND r.release_id <> d.release_id";

const TARGETS: &str = "SELECT s.name AS service_name, e.name AS environment_name FROM target t \
     JOIN service s ON s.id = t.service_id JOIN environment e ON e.id = t.environment_id \
     LEFT JOIN (SELECT x.*, ROW_NUMBER() OVER (PARTITION BY x.service_id, x.environment_id \
     ORDER BY x.finished_at DESC) AS place FROM deployment x WHERE x.status = 'succeeded') c \
     ON c.service_id = t.service_id AND c.environment_id = t.environment_id AND c.place = 1 AND c.kind <> 'remove' \
     LEFT JOIN deployment r ON r.service_id = t.service_id AND r.environment_id = t.environment_id \
     AND r.status = 'running' \
     LEFT JOIN (SELECT x.service_id, x.environment_id, MAX(x.started_at) AS started_at, \
     MAX(COALESCE(x.finished_at, x.started_at)) AS at FROM deployment x GROUP BY x.service_id, x.environment_id) l \
     ON l.service_id = t.service_id AND l.environment_id = t.environment_id WHERE ";

/// The parts of scans for which what counts does not follow from what their scanner looked at later: all packages of the
/// platform, the same ones, or one class of them after the other. A plain report is of every platform, and gives way to
/// another alone; one of before parts were told apart gives way to whatever comes next.
const PARTS: &str = "SELECT q.id FROM (SELECT p.scan_id AS id, p.class, p.latest, c.format, COUNT(*) OVER later AS later, \
     COUNT(CASE c.format WHEN 'plain' THEN CASE p.class WHEN 'all' THEN 1 END END) OVER later AS plain, \
     COUNT(CASE p.class WHEN 'all' THEN 1 END) OVER there AS whole, \
     COUNT(CASE p.class WHEN 'os' THEN 1 END) OVER there AS os, \
     COUNT(CASE p.class WHEN 'language' THEN 1 END) OVER there AS language, \
     COUNT(*) OVER same AS same FROM scan_part p JOIN scan c ON c.id = p.scan_id WINDOW \
     later AS (PARTITION BY p.service_id, p.artefact, p.scanner \
     ORDER BY c.scanned_at, c.created_at, c.id ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING), \
     there AS (PARTITION BY p.service_id, p.artefact, p.scanner, p.platform \
     ORDER BY c.scanned_at, c.created_at, c.id ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING), \
     same AS (PARTITION BY p.service_id, p.artefact, p.scanner, p.platform, p.class \
     ORDER BY c.scanned_at, c.created_at, c.id ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)) q \
     WHERE q.latest = (CASE WHEN q.class = 'any' THEN q.later > 0 WHEN q.plain > 0 THEN TRUE \
     WHEN q.format = 'plain' THEN FALSE \
     ELSE q.whole > 0 OR q.same > 0 OR q.class = 'all' AND q.os > 0 AND q.language > 0 END)";

/// A part says itself what its scan is of.
const OF_SCAN: &str = "SELECT p.scan_id AS id FROM scan_part p JOIN scan c ON c.id = p.scan_id WHERE p.service_id <> c.service_id \
     OR p.artefact <> c.artefact OR p.scanner <> c.scanner OR p.platform <> COALESCE(c.platform, '')";

/// A release is scanned as what it is: its image cannot change afterwards.
const SCANNED: &str = "SELECT c.id FROM scan c JOIN release r ON r.id = c.release_id WHERE c.artefact IS DISTINCT FROM r.artefact";

/// What ends with the token that a person signed in with, or with the trust that let a pipeline in.
const OUTLIVED: &str = "SELECT c.id FROM token c LEFT JOIN token p ON p.id = c.parent_id AND p.revoked_at IS NULL \
     LEFT JOIN trust t ON t.id = c.parent_id WHERE c.parent_id IS NOT NULL AND c.revoked_at IS NULL \
     AND p.id IS NULL AND t.id IS NULL";

/// Finds the rows that others contradict, at most `limit` of each kind.
pub async fn contradicted(conn: &impl ConnectionTrait, limit: i64) -> Result<Vec<Contradicted>, StoreError> {
    let mut found = Vec::new();
    for (condition, wrong) in [
        (
            // After a removal there is nothing to give way.
            "h.superseded_by IS DISTINCT FROM CASE WHEN h.kind <> 'remove' THEN h.next_id END \
             OR h.superseded_at IS DISTINCT FROM CASE WHEN h.kind <> 'remove' THEN h.next_at END",
            "its superseded_by and superseded_at do not name the next success of its target",
        ),
        (
            "h.stay_started_at IS DISTINCT FROM \
             CASE WHEN h.before_artefact = h.artefact AND h.kind <> 'remove' THEN h.before_stay ELSE h.finished_at END",
            "its stay_started_at does not follow from the successes before it",
        ),
    ] {
        let sql = format!("{SUCCESSES}{condition}");
        found.extend(by_id(conn, &sql, ("deployment", wrong), limit).await?);
    }
    for (condition, wrong) in [
        (
            // What was put on record between a rollback and its artefact was left as it was, when releases of one
            // artefact were not told apart.
            format!(
                "d.reverted_by IS NULL AND EXISTS (SELECT 1 FROM deployment r WHERE {REVERTED} \
                 AND (r.artefact <> d.artefact OR NOT d.recorded))"
            ),
            "its reverted_by names no rollback, although one reverted it",
        ),
        (
            format!(
                "d.reverted_by IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deployment r \
                 WHERE r.id = d.reverted_by AND {REVERTED})"
            ),
            "its reverted_by names what did not revert it",
        ),
    ] {
        let sql = format!("{REVERTS}{condition}");
        found.extend(by_id(conn, &sql, ("deployment", wrong), limit).await?);
    }
    let decisions = "SELECT d.id FROM deployment d LEFT JOIN decision c ON c.id = d.decision_id \
         WHERE d.decision_id IS NOT NULL AND (c.id IS NULL OR NOT c.allowed OR c.deployment_id IS DISTINCT FROM d.id)";
    let wrong = "the decision that let it start is missing, or is another's";
    found.extend(by_id(conn, decisions, ("deployment", wrong), limit).await?);
    let wrong = "its latest does not follow from when the scans of its artefact were made";
    found.extend(by_id(conn, PARTS, ("scan", wrong), limit).await?);
    found.extend(
        by_id(conn, OF_SCAN, ("scan", "a part of it says that it is of something else"), limit).await?,
    );
    found.extend(by_id(conn, SCANNED, ("scan", "its artefact is not that of its release"), limit).await?);
    let wrong = "it is not revoked, although what it stands on is gone";
    found.extend(by_id(conn, OUTLIVED, ("credential", wrong), limit).await?);
    found.extend(targets(conn, limit).await?);
    Ok(found)
}

async fn by_id(
    conn: &impl ConnectionTrait,
    query: &str,
    (row_name, wrong): (&str, &'static str),
    limit: i64,
) -> Result<Vec<Contradicted>, StoreError> {
    let rows = Sql::new(format!("{query} LIMIT ")).bind(limit).all(conn).await?;
    let read = |row: &QueryResult| Contradicted { row: format!("{row_name} {}", shown(row, "id")), wrong };
    Ok(rows.iter().map(read).collect())
}

async fn targets(conn: &impl ConnectionTrait, limit: i64) -> Result<Vec<Contradicted>, StoreError> {
    let mut found = Vec::new();
    for (copies, wrong) in [
        (
            [
                ("current_deployment_id", "c.id"),
                ("current_release_id", "c.release_id"),
                ("current_artefact", "c.artefact"),
                ("current_since", "c.stay_started_at"),
                ("current_finished_at", "c.finished_at"),
                ("current_token", "c.actor_token"),
                ("current_subject", "c.actor_subject"),
            ]
            .as_slice(),
            "what it calls current is not its last success as that is on record",
        ),
        (
            [
                ("running_deployment_id", "r.id"),
                ("running_release_id", "r.release_id"),
                ("running_since", "r.started_at"),
                ("running_token", "r.actor_token"),
                ("running_subject", "r.actor_subject"),
            ]
            .as_slice(),
            "what it calls running is not its running deployment as that is on record",
        ),
        (
            [("last_started_at", "l.started_at"), ("last_at", "l.at")].as_slice(),
            "its last_started_at and last_at are not when its deployments last started and changed",
        ),
    ] {
        let differs = copies.iter().map(|(copy, of)| format!("t.{copy} IS DISTINCT FROM {of}"));
        let condition = differs.collect::<Vec<_>>().join(" OR ");
        let rows = Sql::new(format!("{TARGETS}{condition} LIMIT ")).bind(limit).all(conn).await?;
        for row in rows {
            let (service, environment) = (shown(&row, "service_name"), shown(&row, "environment_name"));
            found.push(Contradicted { row: format!("target {service} in {environment}"), wrong });
        }
    }
    Ok(found)
}
