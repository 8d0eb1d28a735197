//! The rows that events tell of, page by page, and the events of such a page.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, QueryResult};
use uuid::Uuid;

use super::{
    Only,
    unread::{Cursor, Unread, id, told_apart},
};
use crate::{
    domain::audit::rows::{Key, Row},
    store::{
        approval, deployment,
        entity::{self, deployment::Entity as DeploymentEntity, release::Entity as ReleaseEntity},
        environment,
        error::StoreError,
        freeze, release, scan, service,
        sql::{Sql, columns},
        token,
    },
};

/// A table whose rows events tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Services.
    Service,
    /// Environments, with their policies and lockdowns.
    Environment,
    /// Releases.
    Release,
    /// Deployments.
    Deployment,
    /// Approvals and rejections.
    Approval,
    /// Freeze windows.
    Freeze,
    /// Tokens.
    Token,
    /// Scans.
    Scan,
}

impl Table {
    /// Those whose rows are never deleted.
    pub const LASTING: [Self; 7] = [
        Self::Service,
        Self::Environment,
        Self::Release,
        Self::Deployment,
        Self::Approval,
        Self::Token,
        Self::Scan,
    ];

    /// What people call one of its rows.
    pub fn row(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Release => "release",
            Self::Deployment => "deployment",
            Self::Approval => "approval",
            Self::Freeze => "freeze window",
            Self::Token => "token",
            Self::Scan => "scan",
        }
    }

    /// The events that may tell of these rows, and maybe others: what the log's indexes can find.
    pub fn events(self, keys: &BTreeSet<Key>) -> Only {
        let kinds = match self {
            Self::Service => vec!["service."],
            Self::Environment => vec!["environment.", "policy.", "lockdown."],
            Self::Release => vec!["release."],
            Self::Deployment => vec!["deployment."],
            Self::Approval => vec!["approval."],
            Self::Freeze => vec!["freeze."],
            Self::Token => vec!["token."],
            Self::Scan => vec!["scan."],
        };
        let mut only = Only { kinds, ..Only::default() };
        for key in keys {
            match key {
                Key::Service(name) => only.services.push(name.clone()),
                Key::Environment(name) => only.environments.push(name.clone()),
                Key::Release(service, version) | Key::Scan(service, version, ..) => {
                    only.services.push(service.clone());
                    only.versions.push(version.clone());
                }
                Key::Deployment(id) => only.deployments.push(*id),
                Key::Approval(_) | Key::Freeze(_) | Key::Token(_) => {}
            }
        }
        only.services.dedup();
        only
    }

    fn select(self, postgres: bool) -> Sql {
        match self {
            Self::Service => plain("service", "", &columns::<entity::service::Entity>("k", "")),
            Self::Environment => plain("environment", "", &columns::<entity::environment::Entity>("k", "")),
            Self::Release => plain(
                "release",
                " JOIN service s ON s.id = k.service_id",
                &format!("{}, s.name AS service_name", columns::<ReleaseEntity>("k", "")),
            ),
            Self::Deployment => Sql::new(format!(
                "SELECT {}, {} FROM deployment d {} WHERE 1 = 1",
                columns::<DeploymentEntity>("d", ""),
                deployment::NAMES,
                deployment::JOINS
            )),
            Self::Approval => {
                let mut sql = approval::named();
                sql.push("1 = 1");
                sql
            }
            Self::Freeze => plain("freeze_window", "", &columns::<entity::freeze_window::Entity>("k", "")),
            Self::Token => plain("token", "", &columns::<entity::token::Entity>("k", "")),
            Self::Scan => Sql::new(format!(
                "SELECT {}, s.name AS service_name FROM scan c JOIN release r ON r.id = c.release_id \
                 JOIN service s ON s.id = c.service_id WHERE 1 = 1",
                scan::columns(postgres)
            )),
        }
    }

    /// The column of the id in the statement, and in its rows.
    fn id(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("d.id", "id"),
            Self::Approval => ("a.id", "a_id"),
            Self::Scan => ("c.id", "id"),
            Self::Service | Self::Environment | Self::Release | Self::Freeze | Self::Token => ("k.id", "id"),
        }
    }

    fn read(self, row: &QueryResult) -> Result<Row, StoreError> {
        let service = || row.try_get::<String>("", "service_name");
        Ok(match self {
            Self::Service => Row::from(&service::from_row(row)?),
            Self::Environment => Row::from(&environment::from_row(row, "")?),
            Self::Release => Row::from(&(service()?, release::from_row(row)?, row.try_get("", "artefact")?)),
            Self::Deployment => Row::from(&deployment::named_from_row(row, "")?),
            Self::Approval => Row::from(&approval::named_from_row(row)?),
            Self::Freeze => Row::from(&freeze::from_row(row)?),
            Self::Token => Row::from(&token::read(row)?),
            Self::Scan => Row::from(&(service()?, scan::from_row(row)?)),
        })
    }
}

fn plain(table: &str, join: &str, columns: &str) -> Sql {
    Sql::new(format!("SELECT {columns} FROM {table} k{join} WHERE 1 = 1"))
}

/// Reads the rows of a table on from a place, in the order of the ids, and moves the place on; one that cannot be read does
/// not keep the others from it.
pub async fn page(
    conn: &impl ConnectionTrait,
    table: Table,
    place: &mut Cursor<Uuid>,
    limit: i64,
) -> Result<Vec<Result<Row, Unread>>, StoreError> {
    let (column, name) = table.id();
    let mut sql = table.select(conn.get_database_backend() == DatabaseBackend::Postgres);
    place.seek(&mut sql, column, limit);
    let rows = sql.all(conn).await?;
    place.pass(rows.iter().map(|row| id(row, name)));
    rows.iter().map(|row| told_apart(row, name, table.read(row))).collect()
}

/// Those of the rows that are there.
pub async fn present(conn: &impl ConnectionTrait, keys: &BTreeSet<Key>) -> Result<BTreeSet<Key>, StoreError> {
    let mut found = BTreeSet::new();
    let mut wanted = Wanted::default();
    for key in keys {
        wanted.add(key);
    }
    for name in names(conn, "service", &wanted.services).await? {
        found.insert(Key::Service(name));
    }
    for name in names(conn, "environment", &wanted.environments).await? {
        found.insert(Key::Environment(name));
    }
    found.extend(ids(conn, "deployment", &wanted.deployments).await?.into_iter().map(Key::Deployment));
    found.extend(ids(conn, "approval", &wanted.approvals).await?.into_iter().map(Key::Approval));
    found.extend(ids(conn, "token", &wanted.tokens).await?.into_iter().map(Key::Token));
    if !wanted.versions.is_empty() {
        found.extend(releases(conn, &wanted).await?);
        found.extend(scans(conn, &wanted).await?);
    }
    Ok(found)
}

#[derive(Default)]
struct Wanted {
    services: BTreeSet<String>,
    environments: BTreeSet<String>,
    of_services: BTreeSet<String>,
    versions: BTreeSet<String>,
    deployments: Vec<Uuid>,
    approvals: Vec<Uuid>,
    tokens: Vec<Uuid>,
}

impl Wanted {
    fn add(&mut self, key: &Key) {
        match key {
            Key::Service(name) => drop(self.services.insert(name.clone())),
            Key::Environment(name) => drop(self.environments.insert(name.clone())),
            Key::Release(service, version) | Key::Scan(service, version, ..) => {
                self.of_services.insert(service.clone());
                self.versions.insert(version.clone());
            }
            Key::Deployment(id) => self.deployments.push(*id),
            Key::Approval(id) => self.approvals.push(*id),
            Key::Token(id) => self.tokens.push(*id),
            Key::Freeze(_) => {}
        }
    }
}

fn among<'a, T: Clone + Into<sea_orm::Value> + 'a>(
    sql: &mut Sql,
    column: &str,
    values: impl IntoIterator<Item = &'a T>,
) {
    sql.push(column).push(" IN (NULL");
    for value in values {
        sql.push(", ").bind(value.clone());
    }
    sql.push(")");
}

async fn names(
    conn: &impl ConnectionTrait,
    table: &str,
    names: &BTreeSet<String>,
) -> Result<Vec<String>, StoreError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new(format!("SELECT name FROM {table} WHERE "));
    among(&mut sql, "name", names);
    sql.all(conn).await?.iter().map(|row| Ok(row.try_get("", "name")?)).collect()
}

async fn ids(conn: &impl ConnectionTrait, table: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new(format!("SELECT id FROM {table} WHERE "));
    among(&mut sql, "id", ids);
    sql.all(conn).await?.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

async fn releases(conn: &impl ConnectionTrait, wanted: &Wanted) -> Result<Vec<Key>, StoreError> {
    let mut sql =
        Sql::new("SELECT s.name, r.version FROM release r JOIN service s ON s.id = r.service_id WHERE ");
    among(&mut sql, "s.name", &wanted.of_services);
    among(sql.push(" AND "), "r.version", &wanted.versions);
    let read = |row: &QueryResult| Ok(Key::Release(row.try_get("", "name")?, row.try_get("", "version")?));
    sql.all(conn).await?.iter().map(read).collect()
}

async fn scans(conn: &impl ConnectionTrait, wanted: &Wanted) -> Result<Vec<Key>, StoreError> {
    let mut sql = Sql::new(
        "SELECT s.name, r.version, c.scanner, c.created_at FROM scan c JOIN release r ON r.id = c.release_id \
         JOIN service s ON s.id = c.service_id WHERE ",
    );
    among(&mut sql, "s.name", &wanted.of_services);
    among(sql.push(" AND "), "r.version", &wanted.versions);
    let read = |row: &QueryResult| -> Result<Key, DbErr> {
        let (service, version) = (row.try_get("", "name")?, row.try_get("", "version")?);
        Ok(Key::Scan(service, version, row.try_get("", "scanner")?, row.try_get("", "created_at")?))
    };
    // One that cannot be read is found where the rows are read, and is none that an event tells of.
    Ok(sql.all(conn).await?.iter().filter_map(|row| read(row).ok()).collect())
}
