//! Releases.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DatabaseBackend, EntityTrait as _, FromQueryResult as _, IntoActiveModel as _,
    QueryResult,
};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        page::{OrderKey, PageRequest},
        release::{Identity, Release, ReleaseDescription},
        release_order::{NEIGHBOURS_MAX, Neighbour},
        text::{COMMIT_MIN, CommitSha, Image, Version},
    },
    store::{
        entity::release::{Entity, Model},
        error::StoreError,
        service::{labels_of, labels_text},
        sql::{Sql, columns, objects},
    },
};

pub(super) fn from_row(row: &QueryResult) -> Result<Release, StoreError> {
    let model = Model::from_query_result(row, "")?;
    Ok(Release {
        id: model.id,
        service_id: model.service_id,
        number: model.number,
        ordered_at: model.ordered_at,
        place: model.place,
        identity: Identity {
            version: Version::trusted(model.version),
            commit_sha: CommitSha::trusted(model.commit_sha),
            image: model.image.map(Image::trusted),
        },
        description: ReleaseDescription {
            git_ref: model.r#ref,
            committed_at: model.committed_at,
            changes: serde_json::from_str(&model.changes)
                .map_err(|_| StoreError::Corrupt("list of changes"))?,
            pipeline_url: model.pipeline_url,
            initiated_by: model.initiated_by,
            labels: labels_of(&model.labels)?,
        },
        actor: Actor { token: model.actor_token, subject: model.actor_subject },
        created_at: model.created_at,
        image_added_by: model.image_added_by,
        locations: serde_json::from_str(model.locations.as_deref().unwrap_or("[]"))
            .map_err(|_| StoreError::Corrupt("list of locations"))?,
    })
}

/// What a release that is registered now comes after.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The highest number that the service has given to a release.
    pub last_number: i64,
    /// The newest releases, where the one that is asked for is not on record.
    pub neighbours: Vec<Neighbour>,
}

impl Before {
    pub(super) fn read(row: &QueryResult) -> Result<Self, StoreError> {
        let neighbours: Option<String> = row.try_get("", "neighbours")?;
        let neighbours = serde_json::from_str(neighbours.as_deref().unwrap_or("[]"));
        Ok(Self {
            last_number: row.try_get("", "last_number")?,
            neighbours: neighbours.map_err(|_| StoreError::Corrupt("neighbours"))?,
        })
    }
}

/// Pushes the columns that [`Before::read`] reads, of a version that may be registered with this identity.
pub(super) fn before(
    sql: &mut Sql,
    postgres: bool,
    service_id: Uuid,
    version: &str,
    given: Option<&Identity>,
) {
    sql.push("(SELECT COALESCE(MAX(number), 0) FROM release WHERE service_id = ").bind(service_id);
    sql.push(") AS last_number, ");
    let Some(Identity { commit_sha, .. }) = given else {
        sql.push("NULL AS neighbours");
        return;
    };
    // A commit is listed in full, or cut short; nearly no list has one that begins like it, and only there all are tried.
    let listed =
        |digits: usize| format!("\"sha\":\"{}", commit_sha.as_str().get(..digits).unwrap_or_default());
    let all = commit_sha.as_str().len();
    let position = if postgres { "strpos" } else { "instr" };
    sql.push(&objects(postgres, &["ordered_at", "commit_sha", "names"]));
    sql.push(&format!("SELECT n.ordered_at, n.commit_sha, CASE WHEN {position}(n.changes, "));
    sql.bind(listed(COMMIT_MIN)).push(&format!(") = 0 THEN 0 WHEN {position}(n.changes, ")).bind(listed(all));
    for digits in COMMIT_MIN..all {
        sql.push(&format!(") > 0 OR {position}(n.changes, ")).bind(listed(digits) + "\"");
    }
    sql.push(") > 0 THEN 1 ELSE 0 END AS names FROM release n WHERE n.service_id = ").bind(service_id);
    sql.push(" AND NOT EXISTS (SELECT 1 FROM release k WHERE k.service_id = n.service_id AND k.version = ");
    sql.bind(version).push(") ORDER BY n.ordered_at DESC, n.number DESC");
    sql.push(&format!(" LIMIT {NEIGHBOURS_MAX}) AS o) AS neighbours"));
}

/// Makes room in the order of the service's releases for one of this moment that is registered now, and gives its place.
pub async fn make_room(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    ordered_at: DateTime<Utc>,
    before: &Before,
) -> Result<i64, StoreError> {
    // Nearly always it is the newest, and its place is as the number of those before it.
    if before.neighbours.iter().all(|other| other.ordered_at <= ordered_at) {
        return Ok(before.last_number + 1);
    }
    let mut sql = Sql::new("UPDATE release SET place = place + 1 WHERE service_id = ");
    let moved = sql.bind(service_id).push(" AND ordered_at > ").bind(ordered_at).run(conn).await?;
    Ok(before.last_number + 1 - i64::try_from(moved).unwrap_or(i64::MAX))
}

/// Inserts a release. Fails with [`StoreError::Unique`] when its version or its number is taken.
pub async fn insert(conn: &impl ConnectionTrait, release: &Release) -> Result<(), StoreError> {
    let description = &release.description;
    let model = Model {
        id: release.id,
        service_id: release.service_id,
        version: release.identity.version.to_string(),
        number: release.number,
        commit_sha: release.identity.commit_sha.to_string(),
        image: release.identity.image.as_ref().map(ToString::to_string),
        artefact: release.identity.artefact(),
        r#ref: description.git_ref.clone(),
        committed_at: description.committed_at,
        changes: serde_json::to_string(&description.changes).unwrap_or_default(),
        pipeline_url: description.pipeline_url.clone(),
        initiated_by: description.initiated_by.clone(),
        labels: labels_text(&description.labels),
        actor_token: release.actor.token.clone(),
        actor_subject: release.actor.subject.clone(),
        created_at: release.created_at,
        image_added_by: release.image_added_by.clone(),
        ordered_at: release.ordered_at,
        place: release.place,
        locations: locations_text(release),
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Writes what a release may gain: its image, digits of its commit, and other locations.
pub async fn update(conn: &impl ConnectionTrait, release: &Release) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE release SET commit_sha = ");
    sql.bind(release.identity.commit_sha.to_string());
    sql.push(", image = ").bind(release.identity.image.as_ref().map(ToString::to_string));
    sql.push(", artefact = ").bind(release.identity.artefact());
    sql.push(", image_added_by = ").bind(release.image_added_by.clone());
    sql.push(", locations = ").bind(locations_text(release));
    sql.push(" WHERE id = ").bind(release.id).run(conn).await?;
    Ok(())
}

fn locations_text(release: &Release) -> Option<String> {
    let known = !release.locations.is_empty();
    known.then(|| serde_json::to_string(&release.locations).unwrap_or_default())
}

/// Reads the release of this version, and what it comes after if it is registered now, with this identity.
pub async fn find_or_before(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    version: &str,
    given: Option<&Identity>,
) -> Result<(Option<Release>, Before), StoreError> {
    let postgres = conn.get_database_backend() == DatabaseBackend::Postgres;
    let mut sql = Sql::new(format!("SELECT {}, b.* FROM (SELECT ", columns::<Entity>("r", "")));
    before(&mut sql, postgres, service_id, version, given);
    sql.push(") AS b LEFT JOIN release r ON r.service_id = ").bind(service_id);
    let row = sql.push(" AND r.version = ").bind(version).one(conn).await?;
    let row = row.ok_or(StoreError::Corrupt("releases"))?;
    let known = row.try_get::<Option<Uuid>>("", "id")?.is_some();
    Ok((known.then(|| from_row(&row)).transpose()?, Before::read(&row)?))
}

/// Reads the release with this id.
pub async fn get(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Release>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {} FROM release r WHERE r.id = ", columns::<Entity>("r", "")));
    sql.bind(id).one(conn).await?.as_ref().map(from_row).transpose()
}

/// Finds a release by its version.
pub async fn find(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    version: &str,
) -> Result<Option<Release>, StoreError> {
    let mut sql =
        Sql::new(format!("SELECT {} FROM release r WHERE r.service_id = ", columns::<Entity>("r", "")));
    sql.bind(service_id).push(" AND r.version = ").bind(version);
    sql.one(conn).await?.as_ref().map(from_row).transpose()
}

/// Lists a service's releases, newest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    page: &PageRequest<OrderKey>,
) -> Result<Vec<Release>, StoreError> {
    let mut sql =
        Sql::new(format!("SELECT {} FROM release r WHERE r.service_id = ", columns::<Entity>("r", "")));
    sql.bind(service_id);
    if let Some(OrderKey { at, number }) = page.after {
        sql.push(" AND (r.ordered_at, r.number) < (").bind(at).push(", ").bind(number).push(")");
    }
    sql.push(" ORDER BY r.ordered_at DESC, r.number DESC LIMIT ")
        .bind(i64::try_from(page.limit + 1).unwrap_or(i64::MAX));
    sql.all(conn).await?.iter().map(from_row).collect()
}

/// Whether anything was done with the release as it is: a deployment was ever started or put on record, or a scan is on
/// record.
pub async fn is_used(conn: &impl ConnectionTrait, release: &Release) -> Result<bool, StoreError> {
    let mut sql = Sql::new("SELECT 1 WHERE EXISTS (SELECT 1 FROM deployment WHERE service_id = ");
    sql.bind(release.service_id).push(" AND release_id = ").bind(release.id);
    sql.push(") OR EXISTS (SELECT 1 FROM scan WHERE service_id = $1 AND artefact = ")
        .bind(release.identity.artefact());
    sql.push(")");
    Ok(sql.one(conn).await?.is_some())
}
