//! Releases.

use sea_orm::{ConnectionTrait, EntityTrait as _, FromQueryResult as _, IntoActiveModel as _, QueryResult};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        page::PageRequest,
        release::{Identity, Release, ReleaseDescription},
        text::{CommitSha, Image, Version},
    },
    store::{
        entity::release::{Entity, Model},
        error::StoreError,
        service::{labels_of, labels_text},
        sql::{Sql, columns},
    },
};

pub(super) fn from_row(row: &QueryResult) -> Result<Release, StoreError> {
    let model = Model::from_query_result(row, "")?;
    Ok(Release {
        id: model.id,
        service_id: model.service_id,
        number: model.number,
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
    })
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
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Adds the image that a release lacked.
pub async fn add_image(conn: &impl ConnectionTrait, release: &Release) -> Result<(), StoreError> {
    let mut sql = Sql::new("UPDATE release SET image = ");
    sql.bind(release.identity.image.as_ref().map(ToString::to_string));
    sql.push(", artefact = ").bind(release.identity.artefact());
    sql.push(", image_added_by = ").bind(release.image_added_by.clone());
    sql.push(" WHERE id = ").bind(release.id).run(conn).await?;
    Ok(())
}

/// Reads the release of this version and those with these ids, in one go. Also tells the highest number that the
/// service has given to a release.
pub async fn read_for_start(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    version: &str,
    ids: &[Uuid],
) -> Result<(Vec<Release>, i64), StoreError> {
    let last = "(SELECT COALESCE(MAX(number), 0) FROM release WHERE service_id = $1) AS last_number";
    let mut sql = Sql::new(format!(
        "SELECT {}, l.last_number FROM (SELECT {last}) AS l LEFT JOIN release r ON r.service_id = ",
        columns::<Entity>("r", "")
    ));
    sql.bind(service_id).push(" AND (r.version = ").bind(version).push(" OR r.id IN (NULL");
    for id in ids {
        sql.push(", ").bind(*id);
    }
    let rows = sql.push("))").all(conn).await?;
    let last = rows.first().map(|row| row.try_get("", "last_number")).transpose()?.unwrap_or(0);
    let found = rows.iter().filter(|row| row.try_get::<Option<Uuid>>("", "id").is_ok_and(|id| id.is_some()));
    Ok((found.map(from_row).collect::<Result<_, _>>()?, last))
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
    page: &PageRequest<i64>,
) -> Result<Vec<Release>, StoreError> {
    let mut sql =
        Sql::new(format!("SELECT {} FROM release r WHERE r.service_id = ", columns::<Entity>("r", "")));
    sql.bind(service_id);
    if let Some(after) = page.after {
        sql.push(" AND r.number < ").bind(after);
    }
    sql.push(" ORDER BY r.number DESC LIMIT ").bind(i64::try_from(page.limit + 1).unwrap_or(i64::MAX));
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
