//! What policies are checked and made against: the environments that they may promote from.

use sea_orm::ExprTrait as _;

use crate::{
    domain::{environment::Environment, scope::Narrowing},
    store::{
        entity::environment::{Column, Entity},
        prelude::*,
    },
};

/// Whether the policy of an environment that is not archived names this scanner among those that count.
pub async fn names_scanner(conn: &impl ConnectionTrait, scanner: &str) -> Result<bool, StoreError> {
    // The text narrows it down: it may have the word in another place.
    let naming = Column::Policy.like(format!("%\"{scanner}\"%"));
    let found = Entity::find().filter(Column::ArchivedAt.is_null()).filter(naming);
    let found: Vec<Environment> = found.into_model().all(conn).await?;
    let names = |environment: &Environment| {
        environment.policy.policy.vulnerabilities.scanners.iter().any(|name| name == scanner)
    };
    Ok(found.iter().any(names))
}

/// The environments of lower ranks that can be promoted from and that the narrowing allows, the highest rank first.
pub async fn below(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    rank: i64,
    limit: i64,
) -> Result<Vec<Environment>, StoreError> {
    let confirmed = Column::Unconfirmed.into_expr().not().and(Column::ArchivedAt.is_null());
    let lower = Entity::find().filter(confirmed.and(Column::Rank.lt(rank))).within_environments(within);
    let lower = lower.order_by_desc(Column::Rank).order_by_asc(Column::Name).limit(limit.unsigned_abs());
    Ok(lower.into_model().all(conn).await?)
}
