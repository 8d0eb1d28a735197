//! Decisions: what the gate said to a start, kept with the facts it saw.

use sea_orm::{ConnectionTrait, EntityTrait as _, IntoActiveModel as _};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        gate::{Decision, Facts},
        vocabulary::Kind,
    },
    store::{
        entity::decision::{Entity, Model},
        error::StoreError,
        sql::Sql,
    },
};

/// What a decision was about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The service.
    pub service_id: Uuid,
    /// The environment.
    pub environment_id: Uuid,
    /// The release.
    pub release_id: Uuid,
    /// The deployment that was let start.
    pub deployment_id: Option<Uuid>,
    /// What it was for.
    pub kind: Kind,
    /// Who asked.
    pub actor: &'a Actor,
}

/// Keeps a decision.
pub async fn insert(
    conn: &impl ConnectionTrait,
    decision: &Decision,
    facts: &Facts,
    about: About<'_>,
) -> Result<(), StoreError> {
    let model = Model {
        id: decision.id,
        service_id: about.service_id,
        environment_id: about.environment_id,
        release_id: about.release_id,
        deployment_id: about.deployment_id,
        kind: about.kind.to_string(),
        actor_token: about.actor.token.clone(),
        actor_subject: about.actor.subject.clone(),
        allowed: decision.verdict.allowed,
        evaluated_at: decision.evaluated_at,
        last_evaluated_at: decision.evaluated_at,
        count: 1,
        checks: serde_json::to_string(&decision.verdict.checks).unwrap_or_default(),
        facts: serde_json::to_string(facts).unwrap_or_default(),
        override_reason: decision.override_reason.clone(),
        retry_at: decision.verdict.retry_at,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Keeps a denial. When the latest decision of the target was the very same denial, it is counted there instead, and
/// that one's id is given back.
pub async fn insert_denial(
    conn: &impl ConnectionTrait,
    decision: &Decision,
    facts: &Facts,
    about: About<'_>,
) -> Result<Uuid, StoreError> {
    let mut sql =
        Sql::new("SELECT id, allowed, release_id, actor_token, checks FROM decision WHERE service_id = ");
    sql.bind(about.service_id).push(" AND environment_id = ").bind(about.environment_id);
    sql.push(" ORDER BY evaluated_at DESC, id DESC LIMIT 1");
    let checks = serde_json::to_string(&decision.verdict.checks).unwrap_or_default();
    if let Some(last) = sql.one(conn).await? {
        let same = !last.try_get::<bool>("", "allowed")?
            && last.try_get::<Uuid>("", "release_id")? == about.release_id
            && last.try_get::<String>("", "actor_token")? == about.actor.token
            && last.try_get::<String>("", "checks")? == checks;
        if same {
            let id = last.try_get("", "id")?;
            let mut sql = Sql::new("UPDATE decision SET count = count + 1, last_evaluated_at = ");
            sql.bind(decision.evaluated_at).push(" WHERE id = ").bind(id).run(conn).await?;
            return Ok(id);
        }
    }
    insert(conn, decision, facts, about).await?;
    Ok(decision.id)
}

/// Forgets denials that were last given before the moment; what was allowed is kept for ever.
pub async fn purge(
    conn: &impl ConnectionTrait,
    before: chrono::DateTime<chrono::Utc>,
    limit: i64,
) -> Result<u64, StoreError> {
    let mut sql = Sql::new(
        "DELETE FROM decision WHERE id IN (SELECT id FROM decision WHERE NOT allowed AND last_evaluated_at < ",
    );
    sql.bind(before).push(" LIMIT ").bind(limit).push(")").run(conn).await
}
