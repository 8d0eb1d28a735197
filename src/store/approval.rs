//! Approvals and rejections, and the releases that wait for them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        approval::{Approval, Asked, NamedApproval},
        environment::Environment,
        gate::{Inputs, facts::Initiator},
        page::{PageRequest, TimeKey},
        release::Release,
        scope::Narrowing,
    },
    store::{
        deployment,
        entity::{
            approval::{ActiveModel, Column, Entity, Model, Relation},
            column::Json,
            environment, release, service,
        },
        prelude::*,
        sql::{Sql, columns},
    },
};

impl FromQueryResult for Approval {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, prefix)?;
        Ok(Self {
            id: model.id,
            release_id: model.release_id,
            environment_id: model.environment_id,
            voice: model.decision,
            comment: model.comment,
            groups: model.groups.0,
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            created_at: model.created_at,
            withdrawn_at: model.withdrawn_at,
            image: model.image,
        })
    }
}

impl FromQueryResult for NamedApproval {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        Ok(Self {
            approval: Approval::from_query_result(row, "")?,
            service: row.try_get("", "service_name")?,
            version: row.try_get("", "release_version")?,
            environment: row.try_get("", "environment_name")?,
        })
    }
}

/// Approvals with the names that people know them by.
pub(super) fn named() -> Select<Entity> {
    Entity::find()
        .with(Relation::Release)
        .with(release::Relation::Service)
        .with(Relation::Environment)
        .column_as(service::Column::Name, "service_name")
        .column_as(release::Column::Version, "release_version")
        .column_as(environment::Column::Name, "environment_name")
}

/// When the release `r`, or its artefact, was last reverted in the environment `e`.
fn reverted_at() -> String {
    deployment::reverted_at("r.id", "r.artefact") + "r.service_id)"
}

/// Inserts an approval. Fails with [`StoreError::Unique`] when its subject, written the same, has a voice that stands.
pub async fn insert(conn: &impl ConnectionTrait, approval: &Approval) -> Result<(), StoreError> {
    let model = Model {
        id: approval.id,
        release_id: approval.release_id,
        environment_id: approval.environment_id,
        decision: approval.voice,
        comment: approval.comment.clone(),
        groups: Json(approval.groups.clone()),
        actor_token: approval.actor.token.clone(),
        actor_subject: approval.actor.subject.clone(),
        created_at: approval.created_at,
        withdrawn_at: approval.withdrawn_at,
        image: approval.image.clone(),
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Withdraws an approval that stands; tells whether it did.
pub async fn withdraw(conn: &impl ConnectionTrait, id: Uuid, at: DateTime<Utc>) -> Result<bool, StoreError> {
    let withdrawn = ActiveModel { withdrawn_at: Set(Some(at)), ..ActiveModel::default() };
    let stands = Entity::update_many().filter(Column::WithdrawnAt.is_null()).filter(Column::Id.eq(id));
    Ok(stands.set(withdrawn).exec(conn).await?.rows_affected > 0)
}

/// All that people say that stands, the oldest first, and when the release or its artefact was last reverted in the environment.
/// Whose it is, the database cannot tell: it compares names as they stand. By hand: there is a row also where nobody has
/// spoken.
pub async fn standing(
    conn: &impl ConnectionTrait,
    release: &Release,
    environment_id: Uuid,
) -> Result<(Vec<Approval>, Option<DateTime<Utc>>), StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {}, {} AS reverted_at FROM release r JOIN environment e ON e.id = ",
        columns::<Entity>("a", "a_"),
        reverted_at()
    ));
    sql.bind(environment_id).push(
        " LEFT JOIN approval a ON a.release_id = r.id AND a.environment_id = e.id AND a.withdrawn_at IS NULL \
         WHERE r.id = ",
    );
    sql.bind(release.id).push(" ORDER BY a.created_at, a.id");
    let (mut standing, mut reverted_at) = (Vec::new(), None);
    for row in sql.all(conn).await? {
        reverted_at = row.try_get("", "reverted_at")?;
        if row.try_get::<Option<Uuid>>("", "a_id")?.is_some() {
            standing.push(Approval::from_query_result(&row, "a_")?);
        }
    }
    Ok((standing, reverted_at))
}

/// Finds an approval of a release that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    (service, version): (&str, &str),
    id: Uuid,
) -> Result<Option<NamedApproval>, StoreError> {
    let query = named().filter(Column::Id.eq(id)).filter(service::Column::Name.eq(service));
    let query = query.filter(release::Column::Version.eq(version));
    Ok(query.within_services(within).within_environments(within).into_model().one(conn).await?)
}

/// Lists what people said about a release, newest first, withdrawn or not.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    release_id: Uuid,
    environment: Option<&str>,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<NamedApproval>, StoreError> {
    let query = named().filter(Column::ReleaseId.eq(release_id));
    let query = query.only(environment::Column::Name, environment).within_environments(within);
    Ok(query.newest_first(Column::CreatedAt, Column::Id, page).into_model().all(conn).await?)
}

/// All that stands of what people said about these releases.
pub async fn of_releases(
    conn: &impl ConnectionTrait,
    releases: &BTreeSet<Uuid>,
) -> Result<Vec<Approval>, StoreError> {
    let releases = Column::ReleaseId.is_in(releases.iter().copied());
    let query = Entity::find().filter(Column::WithdrawnAt.is_null()).filter(releases);
    let query = query.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id);
    Ok(query.into_model().all(conn).await?)
}

/// Where a list of waiting releases goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedKey {
    /// Since when it waits.
    pub at: DateTime<Utc>,
    pub release: Uuid,
    pub environment: Uuid,
}

impl AskedKey {
    /// The key of a waiting release.
    pub fn of(asked: &Asked) -> Self {
        Self { at: asked.since, release: asked.release_id, environment: asked.environment_id }
    }
}

/// What a list of waiting releases is confined to.
#[derive(Clone, Copy, Debug)]
pub struct AskedFor<'a> {
    pub service: Option<&'a str>,
    pub environment: Option<&'a str>,
    /// Denied after this moment.
    pub since: DateTime<Utc>,
}

/// The denials for want of approvals that no start of the same release in the same target has followed; all of them of one
/// release in one target count as one, from the first to the last.
const DENIED: &str = "SELECT d.service_id, d.environment_id, d.release_id, MIN(d.evaluated_at) AS since, \
     MAX(d.last_evaluated_at) AS last FROM decision d \
     WHERE NOT d.allowed \
     AND (d.checks LIKE '%\"code\":\"approval-%' OR d.checks LIKE '%\"code\":\"initiator-%') AND NOT EXISTS (SELECT 1 FROM deployment x \
     JOIN decision y ON y.id = x.decision_id \
     WHERE x.service_id = d.service_id AND x.environment_id = d.environment_id AND x.release_id = d.release_id \
     AND NOT x.recorded AND x.kind <> 'remove' AND y.evaluated_at >= d.last_evaluated_at) AND d.last_evaluated_at > ";

/// The releases that were denied a start for want of approvals, and have not started since, as the narrowing allows: those
/// that have waited for the shortest time first, one more than the limit. By hand: denials are counted together first.
pub async fn asked(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    only: AskedFor<'_>,
    page: &PageRequest<AskedKey>,
) -> Result<Vec<Asked>, StoreError> {
    let mut sql = Sql::new(format!("WITH denied AS ({DENIED}"));
    sql.bind(only.since).push(&format!(
        " GROUP BY d.service_id, d.environment_id, d.release_id) \
         SELECT w.since, w.release_id, w.environment_id, d.id, d.inputs, d.actor_token, d.actor_subject, \
         s.name AS service_name, r.version, r.actor_subject AS recorded_by, r.initiated_by, r.image_added_by, r.image, \
         COALESCE(r.place < c.place, false) AS outdated, {} AS reverted_at, {} \
         FROM denied w JOIN decision d ON d.service_id = w.service_id AND d.environment_id = w.environment_id \
         AND d.release_id = w.release_id AND d.last_evaluated_at = w.last AND NOT d.allowed \
         JOIN service s ON s.id = w.service_id JOIN environment e ON e.id = w.environment_id \
         JOIN release r ON r.id = w.release_id \
         LEFT JOIN target t ON t.service_id = w.service_id AND t.environment_id = w.environment_id \
         LEFT JOIN release c ON c.id = t.current_release_id \
         WHERE s.archived_at IS NULL AND e.archived_at IS NULL",
        reverted_at(),
        columns::<environment::Entity>("e", "e_")
    ));
    sql.and_equals("s.name", only.service).and_equals("e.name", only.environment);
    sql.and_within(within, Some("s.name"), Some("e.name"));
    if let Some(AskedKey { at, release, environment }) = &page.after {
        sql.push(" AND (w.since, w.release_id, w.environment_id) < (").bind(*at).push(", ").bind(*release);
        sql.push(", ").bind(*environment).push(")");
    }
    sql.push(" ORDER BY w.since DESC, w.release_id DESC, w.environment_id DESC LIMIT ");
    sql.bind(i64::try_from(page.limit + 1).unwrap_or(i64::MAX));
    sql.all(conn).await?.iter().map(asked_from_row).collect()
}

fn asked_from_row(row: &QueryResult) -> Result<Asked, StoreError> {
    let environment = Environment::from_query_result(row, "e_")?;
    let inputs: Option<Inputs> = serde_json::from_str(&row.try_get::<String>("", "inputs")?).ok();
    let maker = |column| row.try_get::<Option<String>>("", column);
    let initiated_by = maker("initiated_by")?;
    Ok(Asked {
        release_id: row.try_get("", "release_id")?,
        environment_id: row.try_get("", "environment_id")?,
        service: row.try_get("", "service_name")?,
        environment: environment.name.to_string(),
        version: row.try_get("", "version")?,
        policy: environment.policy.policy,
        decision_id: row.try_get("", "id")?,
        facts: inputs.map(|inputs| inputs.facts),
        actor: Actor { token: row.try_get("", "actor_token")?, subject: row.try_get("", "actor_subject")? },
        initiator: Initiator::among(initiated_by.as_deref()),
        makers: [initiated_by, maker("recorded_by")?, maker("image_added_by")?]
            .into_iter()
            .flatten()
            .collect(),
        image: row.try_get("", "image")?,
        reverted_at: row.try_get("", "reverted_at")?,
        outdated: row.try_get("", "outdated")?,
        since: row.try_get("", "since")?,
    })
}
