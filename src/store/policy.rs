//! What policies are checked and made against: the environments that they may promote from.

use sea_orm::ConnectionTrait;

use crate::{
    domain::{environment::Environment, scope::Narrowing},
    store::{
        entity::environment::Entity,
        environment::from_row,
        error::StoreError,
        sql::{Sql, columns},
    },
};

/// Whether the policy of an environment that is not archived names this scanner among those that count.
pub async fn names_scanner(conn: &impl ConnectionTrait, scanner: &str) -> Result<bool, StoreError> {
    // The text narrows it down: it may have the word in another place.
    let mut sql = Sql::new(format!(
        "SELECT {} FROM environment e WHERE e.archived_at IS NULL AND e.policy LIKE ",
        columns::<Entity>("e", "")
    ));
    sql.bind(format!("%\"{scanner}\"%"));
    for row in sql.all(conn).await? {
        let scanners = from_row(&row, "")?.policy.policy.vulnerabilities.scanners;
        if scanners.iter().any(|name| name == scanner) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The environments of lower ranks that can be promoted from and that the narrowing allows, the highest rank first.
pub async fn below(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    rank: i64,
    limit: i64,
) -> Result<Vec<Environment>, StoreError> {
    let mut sql = Sql::new(format!(
        "SELECT {} FROM environment e WHERE e.archived_at IS NULL AND NOT e.unconfirmed AND e.rank < ",
        columns::<Entity>("e", "")
    ));
    sql.bind(rank).and_within(within, None, Some("e.name"));
    sql.push(" ORDER BY e.rank DESC, e.name LIMIT ").bind(limit);
    sql.all(conn).await?.iter().map(|row| from_row(row, "")).collect()
}
