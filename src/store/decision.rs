//! Decisions: what the gate said to a start, kept with all it depended on.

use chrono::{DateTime, Utc};
use sea_orm::{DerivePartialModel, ExprTrait as _};
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
        entity::{
            decision::{ActiveModel, Column, Entity, Model, Relation},
            environment, release, service,
        },
        prelude::*,
        query::delete_some,
    },
};

/// What a decision was about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub service_id: Uuid,
    pub environment_id: Uuid,
    pub release_id: Uuid,
    pub answers: Answers,
    /// What it was for.
    pub kind: Kind,
    pub actor: &'a Actor,
}

/// What a decision answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// A question, by which nothing starts.
    Question,
    /// A start that was refused.
    Refused,
    /// The start of this deployment.
    Started(Uuid),
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
        deployment_id: match about.answers {
            Answers::Started(id) => Some(id),
            Answers::Question | Answers::Refused => None,
        },
        kind: about.kind,
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
        asked: about.answers == Answers::Question,
    };
    Entity::insert(model.into_active_model()).exec_without_returning(conn).await?;
    Ok(())
}

/// So many of a target's newest decisions are looked through for the same one.
const LOOKED_THROUGH: u64 = 50;

/// A denial that is kept.
#[derive(Clone, Copy, Debug)]
pub struct Denial {
    /// The record that it is kept in.
    pub id: Uuid,
    /// Whether no start was refused by this record before.
    pub is_news: bool,
}

/// Keeps a denial. When the last that was said of the release to the same caller was the same, and nothing has started in the target
/// since, it is counted there with what it says now: two that are refused in turn add no records to each other's.
pub async fn insert_denial(
    conn: &impl ConnectionTrait,
    decision: &Decision,
    inputs: &Inputs,
    about: About<'_>,
) -> Result<Denial, StoreError> {
    let newest = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::ServiceId.eq(about.service_id))
        .filter(Column::EnvironmentId.eq(about.environment_id))
        // One from the future, when a clock was wrong, would be the latest for ever.
        .filter(Column::EvaluatedAt.lte(decision.evaluated_at + SKEW_MAX))
        .order_by_desc(Column::EvaluatedAt)
        .order_by_desc(Column::Id)
        .limit(LOOKED_THROUGH);
    let to_them = Column::ReleaseId.eq(about.release_id);
    let to_them = to_them.and(Column::ActorToken.eq(&about.actor.token)).and(Column::Kind.eq(about.kind));
    // The sessions of all people bear one name.
    let to_them = to_them.and(Column::ActorSubject.eq(&about.actor.subject));
    let last = Entity::find()
        .filter(Column::Id.in_subquery(newest.into_query()))
        .filter(to_them.or(Column::DeploymentId.is_not_null()))
        .order_by_desc(Column::EvaluatedAt)
        .order_by_desc(Column::Id);
    if let Some(last) = last.into_partial_model::<Last>().one(conn).await?
        && last.is_same(decision)
    {
        let asked = about.answers == Answers::Question;
        let said_now = ActiveModel {
            last_evaluated_at: Set(decision.evaluated_at),
            checks: Set(text(&decision.verdict.checks)?),
            inputs: Set(text(inputs)?),
            retry_at: Set(decision.verdict.retry_at),
            asked: Set(last.asked && asked),
            ..ActiveModel::default()
        };
        let counted = Entity::update_many().col_expr(Column::Count, Expr::col(Column::Count).add(1));
        counted.set(said_now).filter(Column::Id.eq(last.id)).exec(conn).await?;
        return Ok(Denial { id: last.id, is_news: last.asked && !asked });
    }
    insert(conn, decision, inputs, about).await?;
    Ok(Denial { id: decision.id, is_news: true })
}

/// What tells whether a decision is the same again; what it depended on is long, and is not.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
struct Last {
    id: Uuid,
    allowed: bool,
    asked: bool,
    override_reason: Option<String>,
    checks: String,
}

impl Last {
    fn is_same(&self, decision: &Decision) -> bool {
        // Those of another version may be of another shape, and then are not the same.
        let checks: Vec<Check> = serde_json::from_str(&self.checks).unwrap_or_default();
        !self.allowed
            && self.override_reason == decision.override_reason
            && checks.iter().map(Check::reason).eq(decision.verdict.checks.iter().map(Check::reason))
    }
}

impl FromQueryResult for Stored {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        let model = Model::from_query_result(row, "")?;
        let inputs: Option<Inputs> = serde_json::from_str(&model.inputs).ok();
        let checks = serde_json::from_str(&model.checks).map_err(|_| corrupt("decision"))?;
        Ok(Self {
            decision: Decision {
                id: model.id,
                evaluated_at: model.last_evaluated_at,
                verdict: Verdict { allowed: model.allowed, checks, retry_at: model.retry_at },
                policy_version: inputs.as_ref().map_or(0, |inputs| inputs.policy_version),
                override_reason: model.override_reason,
            },
            service: row.try_get("", "service_name")?,
            environment: row.try_get("", "environment_name")?,
            version: row.try_get("", "release_version")?,
            kind: model.kind,
            actor: Actor { token: model.actor_token, subject: model.actor_subject },
            deployment_id: model.deployment_id,
            count: model.count,
            first_evaluated_at: model.evaluated_at,
            inputs,
        })
    }
}

/// The decisions that the narrowing allows, with the names that people know them by.
fn named(within: &Narrowing) -> Select<Entity> {
    Entity::find()
        .with(Relation::Service)
        .with(Relation::Environment)
        .with(Relation::Release)
        .column_as(service::Column::Name, "service_name")
        .column_as(environment::Column::Name, "environment_name")
        .column_as(release::Column::Version, "release_version")
        .within_services(within)
        .within_environments(within)
}

/// Finds a decision that the narrowing allows.
pub async fn find(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    id: Uuid,
) -> Result<Option<Stored>, StoreError> {
    Ok(named(within).filter(Column::Id.eq(id)).into_model().one(conn).await?)
}

/// Lists the decisions that the narrowing allows, those that were last said first.
pub async fn list(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    filter: &Filter,
    page: &PageRequest<TimeKey>,
) -> Result<Vec<Stored>, StoreError> {
    let query = named(within)
        .only(service::Column::Name, filter.service.as_deref())
        .only(environment::Column::Name, filter.environment.as_deref())
        .only(release::Column::Version, filter.version.as_deref())
        .only(Column::Allowed, filter.allowed)
        .apply_if(filter.since, |query, since| query.filter(Column::LastEvaluatedAt.gte(since)))
        .apply_if(filter.until, |query, until| query.filter(Column::LastEvaluatedAt.lt(until)))
        .newest_first(Column::LastEvaluatedAt, Column::Id, page);
    query.limited(conn).await
}

fn text(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("decision"))
}

/// Forgets denials, and what was only asked, that were last given before the moment; what started is kept for ever.
pub async fn purge(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, StoreError> {
    let nothing_started = Column::Allowed.into_expr().not().or(Column::DeploymentId.is_null());
    let old = Entity::find().filter(nothing_started).filter(Column::LastEvaluatedAt.lt(before));
    delete_some(conn, old, Column::Id, limit).await
}
