//! Finding services and releases by what people know of them. By hand: an order by how well it fits, and releases of all
//! services by indexes of their own.

use crate::{
    domain::{
        scope::Narrowing,
        search::{By, FoundRelease, FoundService},
    },
    store::{prelude::*, sql::Sql},
};

/// The services whose name, name for people or owner has a part, those first whose name begins with it.
pub async fn services(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    part: &str,
    limit: i64,
) -> Result<Vec<FoundService>, StoreError> {
    let begins = format!("{}%", escaped(&part.to_lowercase()));
    // As it was typed, too: `LOWER` knows the letters of ASCII alone on SQLite, and on PostgreSQL with the locale `C`.
    let fits = |column: &str| format!("LOWER({column}) LIKE $1 ESCAPE '!' OR {column} LIKE $2 ESCAPE '!'");
    let text = format!(
        "SELECT s.name, s.display_name, s.owner FROM service s WHERE ({} OR {} OR {})",
        fits("s.name"),
        fits("COALESCE(s.display_name, '')"),
        fits("COALESCE(s.owner, '')"),
    );
    let typed = format!("%{}%", escaped(part));
    let mut sql = Sql::with(text, [format!("%{begins}").into(), typed.into()]);
    sql.and_within(within, Some("s.name"), None);
    sql.push(" ORDER BY CASE WHEN s.name LIKE ").bind(begins);
    sql.push(" ESCAPE '!' THEN 0 ELSE 1 END, s.name LIMIT ").bind(limit);
    let found = |row: &QueryResult| {
        Ok(FoundService {
            name: row.try_get("", "name")?,
            display_name: row.try_get("", "display_name")?,
            owner: row.try_get("", "owner")?,
        })
    };
    sql.all(conn).await?.iter().map(found).collect()
}

fn escaped(part: &str) -> String {
    part.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// The releases that are found by this, the newest first.
pub async fn releases(
    conn: &impl ConnectionTrait,
    within: &Narrowing,
    by: By<'_>,
    limit: i64,
) -> Result<Vec<FoundRelease>, StoreError> {
    let mut sql = Sql::new(
        "SELECT s.name, r.version, r.commit_sha, r.created_at FROM service s JOIN release r ON r.service_id = s.id WHERE ",
    );
    match by {
        By::Version(version) => sql.push("r.version = ").bind(version),
        // Commits are small hexadecimal digits, in whose order `g` comes after all that begin so.
        By::Commit(begin) => {
            sql.push("r.commit_sha >= ").bind(begin).push(" AND r.commit_sha < ").bind(format!("{begin}g"))
        }
        By::Digest(digest) => sql.push("r.artefact = ").bind(digest),
    };
    sql.and_within(within, Some("s.name"), None);
    sql.push(" ORDER BY r.created_at DESC, s.name LIMIT ").bind(limit);
    let found = |row: &QueryResult| {
        Ok(FoundRelease {
            service: row.try_get("", "name")?,
            version: row.try_get("", "version")?,
            commit_sha: row.try_get("", "commit_sha")?,
            created_at: row.try_get("", "created_at")?,
        })
    };
    sql.all(conn).await?.iter().map(found).collect()
}
