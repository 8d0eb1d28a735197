//! Releases.

use chrono::{DateTime, Utc};
use sea_orm::ExprTrait as _;
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        page::{OrderKey, PageRequest},
        release::{Identity, Release, ReleaseDescription},
        release_order::{NEIGHBOURS_MAX, Neighbour},
        text::{COMMIT_MIN, CommitSha, Version},
    },
    store::{
        entity::{
            column::Json,
            release::{ActiveModel, Column, Entity, Model},
        },
        prelude::*,
        query,
        sql::{Sql, columns, objects},
    },
};

impl FromQueryResult for Release {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        Ok(Self {
            id: model.id,
            service_id: model.service_id,
            number: model.number,
            ordered_at: model.ordered_at,
            place: model.place,
            identity: Identity { version: model.version, commit_sha: model.commit_sha, image: model.image },
            description: ReleaseDescription {
                git_ref: model.r#ref,
                committed_at: model.committed_at,
                changes: model.changes.0,
                pipeline_url: model.pipeline_url,
                initiated_by: model.initiated_by,
                labels: model.labels.0,
            },
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            created_at: model.created_at,
            image_added_by: model.image_added_by,
            locations: model.locations.map(|Json(locations)| locations).unwrap_or_default(),
            platforms: model.platforms.map(|Json(platforms)| platforms).unwrap_or_default(),
        })
    }
}

/// What a release that is registered now comes after.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The highest number that the service has given to a release.
    pub last_number: i64,
    /// The newest releases, where the one that is asked for is not on record.
    pub neighbours: Vec<Neighbour>,
    /// A version that differs from the one that is asked for only by a leading `v`.
    pub twin: Option<String>,
}

impl Before {
    pub(super) fn read(row: &QueryResult) -> Result<Self, StoreError> {
        let neighbours: Option<String> = row.try_get("", "neighbours")?;
        let neighbours = serde_json::from_str(neighbours.as_deref().unwrap_or("[]"));
        Ok(Self {
            last_number: row.try_get("", "last_number")?,
            twin: row.try_get("", "twin")?,
            neighbours: neighbours.map_err(|_| StoreError::Corrupt("neighbours"))?,
        })
    }
}

/// Pushes the columns that [`Before::read`] reads, of a version that may be registered with this identity.
pub(super) fn before(
    sql: &mut Sql,
    postgres: bool,
    service_id: Uuid,
    version: &Version,
    given: Option<&Identity>,
) {
    // Both are always given: each statement is planned anew.
    let mut spellings = version.other_spellings().into_iter();
    sql.push("(SELECT MIN(w.version) FROM release w WHERE w.service_id = ").bind(service_id);
    sql.push(" AND w.version IN (").bind(spellings.next()).push(", ").bind(spellings.next());
    sql.push(")) AS twin, ");
    sql.push("(SELECT COALESCE(MAX(number), 0) FROM release WHERE service_id = ").bind(service_id);
    sql.push(") AS last_number, ");
    let Some(Identity { commit_sha, .. }) = given else {
        sql.push("NULL AS neighbours");
        return;
    };
    sql.push(&objects(postgres, &["ordered_at", "commit_sha", "names"]));
    sql.push("SELECT n.ordered_at, n.commit_sha, ");
    match commit_sha {
        Some(commit_sha) => names(sql, postgres, commit_sha),
        None => {
            sql.push("0");
        }
    }
    sql.push(" AS names FROM release n WHERE n.service_id = ").bind(service_id);
    // Of the service itself and not of `n`, whose index is then read in its order, up to the limit.
    sql.push(" AND NOT EXISTS (SELECT 1 FROM release k WHERE k.service_id = ").bind(service_id);
    sql.push(" AND k.version = ").bind(version.as_str()).push(") ORDER BY n.ordered_at DESC, n.number DESC");
    sql.push(&format!(" LIMIT {NEIGHBOURS_MAX}) AS o) AS neighbours"));
}

/// Pushes whether the changes of `n` name a commit: 1 or 0.
fn names(sql: &mut Sql, postgres: bool, commit_sha: &CommitSha) {
    // A commit is listed in full, or cut short; nearly no list has one that begins like it, and only there all are tried.
    let listed =
        |digits: usize| format!("\"sha\":\"{}", commit_sha.as_str().get(..digits).unwrap_or_default());
    let all = commit_sha.as_str().len();
    let position = if postgres { "strpos" } else { "instr" };
    sql.push(&format!("CASE WHEN {position}(n.changes, "));
    sql.bind(listed(COMMIT_MIN)).push(&format!(") = 0 THEN 0 WHEN {position}(n.changes, ")).bind(listed(all));
    for digits in COMMIT_MIN..all {
        sql.push(&format!(") > 0 OR {position}(n.changes, ")).bind(listed(digits) + "\"");
    }
    sql.push(") > 0 THEN 1 ELSE 0 END");
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
    let moved = Entity::update_many()
        .col_expr(Column::Place, Expr::col(Column::Place).add(1))
        .filter(Column::ServiceId.eq(service_id))
        .filter(Column::OrderedAt.gt(ordered_at));
    let moved = moved.exec(conn).await?.rows_affected;
    Ok(before.last_number + 1 - i64::try_from(moved).unwrap_or(i64::MAX))
}

/// Inserts a release. Fails with [`StoreError::Unique`] when its version or its number is taken.
pub async fn insert(conn: &impl ConnectionTrait, release: &Release) -> Result<(), StoreError> {
    let ReleaseDescription { git_ref, committed_at, changes, pipeline_url, initiated_by, labels } =
        release.description.clone();
    let Identity { version, commit_sha, image } = release.identity.clone();
    let model = Model {
        id: release.id,
        service_id: release.service_id,
        version,
        number: release.number,
        commit_sha,
        image,
        artefact: release.identity.artefact(),
        r#ref: git_ref,
        committed_at,
        changes: Json(changes),
        pipeline_url,
        initiated_by,
        labels: Json(labels),
        actor_token: release.actor.token.clone(),
        actor_subject: release.actor.subject.clone(),
        created_at: release.created_at,
        image_added_by: release.image_added_by.clone(),
        ordered_at: release.ordered_at,
        place: release.place,
        locations: kept(&release.locations),
        platforms: kept(&release.platforms),
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Writes what a release may gain: its image, digits of its commit, other locations and platforms.
pub async fn update(conn: &impl ConnectionTrait, release: &Release) -> Result<(), StoreError> {
    let gained = ActiveModel {
        id: Unchanged(release.id),
        commit_sha: Set(release.identity.commit_sha.clone()),
        image: Set(release.identity.image.clone()),
        artefact: Set(release.identity.artefact()),
        image_added_by: Set(release.image_added_by.clone()),
        locations: Set(kept(&release.locations)),
        platforms: Set(kept(&release.platforms)),
        ..ActiveModel::default()
    };
    Entity::update(gained).exec_without_returning(conn).await?;
    Ok(())
}

fn kept<T: Clone>(list: &[T]) -> Option<Json<Vec<T>>> {
    (!list.is_empty()).then(|| Json(list.to_vec()))
}

/// Reads the release of this version, and what it comes after if it is registered now, with this identity: by hand,
/// because there is a row also where the release is not.
pub async fn find_or_before(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    version: &Version,
    given: Option<&Identity>,
) -> Result<(Option<Release>, Before), StoreError> {
    let postgres = conn.get_database_backend() == DatabaseBackend::Postgres;
    let mut sql = Sql::new(format!("SELECT {}, b.* FROM (SELECT ", columns::<Entity>("r", "")));
    before(&mut sql, postgres, service_id, version, given);
    sql.push(") AS b LEFT JOIN release r ON r.service_id = ").bind(service_id);
    let row = sql.push(" AND r.version = ").bind(version.as_str()).one(conn).await?;
    let row = row.ok_or(StoreError::Corrupt("releases"))?;
    let known = row.try_get::<Option<Uuid>>("", "id")?.is_some();
    Ok((known.then(|| Release::from_query_result(&row, "")).transpose()?, Before::read(&row)?))
}

/// Reads the release with this id.
pub async fn get(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Release>, StoreError> {
    Ok(Entity::find_by_id(id).into_model().one(conn).await?)
}

/// Finds a release by its version.
pub async fn find(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    version: &str,
) -> Result<Option<Release>, StoreError> {
    let query = Entity::find().filter(Column::ServiceId.eq(service_id)).filter(Column::Version.eq(version));
    Ok(query.into_model().one(conn).await?)
}

/// Lists a service's releases, newest first.
pub async fn list(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    digest: Option<&str>,
    page: &PageRequest<OrderKey>,
) -> Result<Vec<Release>, StoreError> {
    let order = (Column::OrderedAt, Column::Number);
    let query = Entity::find()
        .filter(Column::ServiceId.eq(service_id))
        // A digest has no wildcards, and begins like no other.
        .apply_if(digest, |releases, digest| {
            let of_platform = Column::Platforms.contains(format!("\"{digest}\""));
            releases.filter(Condition::any().add(Column::Artefact.eq(digest)).add(of_platform))
        })
        .apply_if(page.after, |releases, key| releases.filter(query::before(order, key.at, key.number)))
        .order_by_desc(order.0)
        .order_by_desc(order.1)
        .limit(page.limit + 1);
    query.limited(conn).await
}

/// The versions of a service's newest releases.
pub async fn newest_versions(
    conn: &impl ConnectionTrait,
    service_id: Uuid,
    limit: u64,
) -> Result<Vec<String>, StoreError> {
    let versions =
        Entity::find().select_only().column(Column::Version).filter(Column::ServiceId.eq(service_id));
    let newest = versions.order_by_desc(Column::OrderedAt).order_by_desc(Column::Number).limit(limit);
    Ok(newest.into_tuple().all(conn).await?)
}

/// Whether anything was done with the release as it is: a deployment was ever started or put on record, or a scan is on
/// record. By hand: one question about two tables.
pub async fn is_used(conn: &impl ConnectionTrait, release: &Release) -> Result<bool, StoreError> {
    let mut sql = Sql::new("SELECT 1 WHERE EXISTS (SELECT 1 FROM deployment WHERE service_id = ");
    sql.bind(release.service_id).push(" AND release_id = ").bind(release.id);
    sql.push(") OR EXISTS (SELECT 1 FROM scan WHERE service_id = $1 AND artefact = ")
        .bind(release.identity.artefact());
    sql.push(")");
    Ok(sql.one(conn).await?.is_some())
}
