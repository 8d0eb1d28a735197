//! Decisions: what the gate said to a start, kept with all it depended on.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, EntityTrait as _, FromQueryResult as _, IntoActiveModel as _, QueryResult};
use uuid::Uuid;

use crate::{
    domain::{
        actor::Actor,
        gate::{
            Check, Decision, Inputs, Verdict,
            stored::{Filter, Stored},
        },
        moment::SKEW_MAX,
        page::{PageRequest, TimeKey},
        scope::Narrowing,
        vocabulary::Kind,
    },
    store::{
        entity::decision::{Entity, Model},
        error::StoreError,
        sql::{Sql, columns},
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
    // One from the future, when a clock was wrong, would be the latest for ever.
    sql.push(" AND evaluated_at <= ").bind(decision.evaluated_at + SKEW_MAX);
    sql.push(" ORDER BY evaluated_at DESC, id DESC LIMIT 1");
    if let Some(last) = sql.one(conn).await? {
        // Those of another version may be of another shape, and then are not the same.
        let checks: Vec<Check> = read(&last.try_get::<String>("", "checks")?).unwrap_or_default();
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

const NAMED: &str = "s.name AS service_name, e.name AS environment_name, r.version AS release_version \
                     FROM decision d JOIN service s ON s.id = d.service_id \
                     JOIN environment e ON e.id = d.environment_id JOIN release r ON r.id = d.release_id";

fn from_row(row: &QueryResult) -> Result<Stored, StoreError> {
    let model = Model::from_query_result(row, "")?;
    let inputs: Option<Inputs> = serde_json::from_str(&model.inputs).ok();
    Ok(Stored {
        decision: Decision {
            id: model.id,
            evaluated_at: model.last_evaluated_at,
            verdict: Verdict {
                allowed: model.allowed,
                checks: read(&model.checks)?,
                retry_at: model.retry_at,
            },
            policy_version: inputs.as_ref().map_or(0, |inputs| inputs.policy_version),
            override_reason: model.override_reason,
        },
        service: row.try_get("", "service_name")?,
        environment: row.try_get("", "environment_name")?,
        version: row.try_get("", "release_version")?,
        kind: model.kind.parse().map_err(|_| StoreError::Corrupt("kind"))?,
        actor: Actor { token: model.actor_token, subject: model.actor_subject },
        deployment_id: model.deployment_id,
        count: model.count,
        first_evaluated_at: model.evaluated_at,
        inputs,
    })
}

/// Finds a decision that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    id: Uuid,
) -> Result<Option<Stored>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {}, {NAMED} WHERE d.id = ", columns::<Entity>("d", "")));
    sql.bind(id).and_within(within, Some("s.name"), Some("e.name"));
    sql.one(conn).await?.as_ref().map(from_row).transpose()
}

/// Lists the decisions that the narrowing allows, those that were last said first.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    filter: &Filter,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<Stored>, StoreError> {
    let mut sql = Sql::new(format!("SELECT {}, {NAMED} WHERE 1 = 1", columns::<Entity>("d", "")));
    sql.and_equals("s.name", filter.service.as_deref())
        .and_equals("e.name", filter.environment.as_deref())
        .and_equals("r.version", filter.version.as_deref())
        .and_equals("d.allowed", filter.allowed);
    if let Some(since) = filter.since {
        sql.push(" AND d.last_evaluated_at >= ").bind(since);
    }
    if let Some(until) = filter.until {
        sql.push(" AND d.last_evaluated_at < ").bind(until);
    }
    sql.and_within(within, Some("s.name"), Some("e.name"));
    sql.newest_first(("d.last_evaluated_at", "d.id"), page);
    sql.all(conn).await?.iter().map(from_row).collect()
}

fn text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("decision"))
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("decision"))
}

/// Forgets denials, and what was only asked, that were last given before the moment; what started is kept for ever.
pub async fn purge(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, StoreError> {
    let mut sql = Sql::new(
        "DELETE FROM decision WHERE id IN (SELECT id FROM decision WHERE (NOT allowed OR deployment_id IS NULL) AND last_evaluated_at < ",
    );
    sql.bind(before).push(" LIMIT ").bind(limit).push(")").run(conn).await
}
