//! Decisions: what the gate said to a start, kept with all it depended on.

use sea_orm::{ConnectionTrait, EntityTrait as _, IntoActiveModel as _};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        gate::{Check, Decision, Inputs},
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
    inputs: &Inputs,
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
        checks: text(&decision.verdict.checks)?,
        inputs: text(inputs)?,
        override_reason: decision.override_reason.clone(),
        retry_at: decision.verdict.retry_at,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// Keeps a denial. When the latest decision of the target was the same denial (of the same release to the same token, for
/// the same reasons), it is counted there with what it says now, and that one's id is given back.
pub async fn insert_denial(
    conn: &impl ConnectionTrait,
    decision: &Decision,
    inputs: &Inputs,
    about: About<'_>,
) -> Result<Uuid, StoreError> {
    let mut sql = Sql::new(
        "SELECT id, allowed, release_id, actor_token, kind, override_reason, checks FROM decision WHERE service_id = ",
    );
    sql.bind(about.service_id).push(" AND environment_id = ").bind(about.environment_id);
    sql.push(" ORDER BY evaluated_at DESC, id DESC LIMIT 1");
    if let Some(last) = sql.one(conn).await? {
        let checks: Vec<Check> = read(&last.try_get::<String>("", "checks")?)?;
        let same = !last.try_get::<bool>("", "allowed")?
            && last.try_get::<Uuid>("", "release_id")? == about.release_id
            && last.try_get::<String>("", "actor_token")? == about.actor.token
            && last.try_get::<String>("", "kind")? == about.kind.as_str()
            && last.try_get::<Option<String>>("", "override_reason")? == decision.override_reason
            && checks.iter().map(Check::reason).eq(decision.verdict.checks.iter().map(Check::reason));
        if same {
            let id = last.try_get("", "id")?;
            let mut sql = Sql::new("UPDATE decision SET count = count + 1, last_evaluated_at = ");
            sql.bind(decision.evaluated_at).push(", checks = ").bind(text(&decision.verdict.checks)?);
            sql.push(", inputs = ").bind(text(inputs)?).push(", retry_at = ").bind(decision.verdict.retry_at);
            sql.push(" WHERE id = ").bind(id).run(conn).await?;
            return Ok(id);
        }
    }
    insert(conn, decision, inputs, about).await?;
    Ok(decision.id)
}

fn text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("decision"))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("decision"))
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
