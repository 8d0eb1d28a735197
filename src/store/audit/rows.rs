//! The rows that events tell of, page by page, and the events of such a page.

use std::collections::BTreeSet;

use sea_orm::{
    TryGetable,
    sea_query::{ColumnRef, IntoColumnRef as _, SelectStatement},
};
use uuid::Uuid;

use super::{
    Only,
    unread::{Cursor, Unread, id, told_apart},
};
use crate::{
    domain::{
        approval::NamedApproval,
        audit::rows::{Key, Row},
        credential::Credential,
        deployment::NamedDeployment,
        environment::Environment,
        event::EventKind,
        freeze::FreezeWindow,
        identity::trust::Trust,
        release::Release,
        scan::Scan,
        service::Service,
        waiver::Waiver,
    },
    store::{
        self,
        entity::{
            approval, deployment, environment, freeze_window, release, scan, service, token, trust, waiver,
        },
        prelude::*,
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
    /// Waivers.
    Waiver,
    /// Tokens.
    Token,
    /// Sessions.
    Session,
    /// What trusts gave pipelines.
    Pipeline,
    /// Trusts.
    Trust,
    /// Scans.
    Scan,
}

impl Table {
    /// Those whose rows are never deleted.
    pub const LASTING: [Self; 8] = [
        Self::Service,
        Self::Environment,
        Self::Release,
        Self::Deployment,
        Self::Approval,
        Self::Waiver,
        Self::Token,
        Self::Scan,
    ];

    /// Those whose rows are deleted when they are taken back; there are few at a time.
    pub const EDITED: [Self; 2] = [Self::Freeze, Self::Trust];

    /// Those whose rows are purged when they are over.
    pub const PASSING: [Self; 2] = [Self::Session, Self::Pipeline];

    /// What people call one of its rows.
    pub fn row(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Environment => "environment",
            Self::Release => "release",
            Self::Deployment => "deployment",
            Self::Approval => "approval",
            Self::Freeze => "freeze window",
            Self::Waiver => "waiver",
            Self::Token => "token",
            Self::Session => "session",
            Self::Pipeline => "pipeline's credential",
            Self::Trust => "trust",
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
            Self::Waiver => vec!["waiver."],
            Self::Token => vec!["token."],
            Self::Session => vec!["session."],
            Self::Pipeline => vec![EventKind::TrustExchanged.as_str()],
            Self::Trust => {
                let kinds = [EventKind::TrustCreated, EventKind::TrustUpdated, EventKind::TrustDeleted];
                kinds.map(EventKind::as_str).to_vec()
            }
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
                Key::Approval(_)
                | Key::Freeze(_)
                | Key::Waiver(_)
                | Key::Token(_)
                | Key::Session(_)
                | Key::Pipeline(_)
                | Key::Trust(_) => {}
            }
        }
        only.services.dedup();
        only
    }

    /// The query of its rows, and the column of their ids.
    fn select(self, conn: &impl ConnectionTrait) -> (SelectStatement, ColumnRef) {
        fn of<E: EntityTrait>(query: Select<E>, id: impl ColumnTrait) -> (SelectStatement, ColumnRef) {
            (query.into_query(), id.as_column_ref().into_column_ref())
        }
        match self {
            Self::Service => of(service::Entity::find(), service::Column::Id),
            Self::Environment => of(environment::Entity::find(), environment::Column::Id),
            Self::Release => {
                of(with_service(release::Entity::find(), release::Relation::Service), release::Column::Id)
            }
            Self::Deployment => of(store::deployment::named(), deployment::Column::Id),
            Self::Approval => of(store::approval::named(), approval::Column::Id),
            Self::Freeze => of(freeze_window::Entity::find(), freeze_window::Column::Id),
            Self::Waiver => of(waiver::Entity::find(), waiver::Column::Id),
            Self::Token => of(store::token::tokens(), token::Column::Id),
            Self::Session => of(store::token::of_kind(store::token::SESSION), token::Column::Id),
            Self::Pipeline => of(store::token::of_kind(store::token::PIPELINE), token::Column::Id),
            Self::Trust => of(trust::Entity::find(), trust::Column::Id),
            Self::Scan => {
                of(with_service(store::scan::select(conn), scan::Relation::Service), scan::Column::Id)
            }
        }
    }

    fn read(self, row: &QueryResult) -> Result<Row, DbErr> {
        let service = || row.try_get::<String>("", "service_name");
        Ok(match self {
            Self::Service => Row::from(&Service::from_query_result(row, "")?),
            Self::Environment => Row::from(&Environment::from_query_result(row, "")?),
            Self::Release => {
                Row::from(&(service()?, Release::from_query_result(row, "")?, row.try_get("", "artefact")?))
            }
            Self::Deployment => Row::from(&NamedDeployment::from_query_result(row, "")?),
            Self::Approval => Row::from(&NamedApproval::from_query_result(row, "")?),
            Self::Freeze => Row::from(&FreezeWindow::from_query_result(row, "")?),
            Self::Waiver => Row::from(&Waiver::from_query_result(row, "")?),
            Self::Token | Self::Session | Self::Pipeline => {
                Row::from(&Credential::from_query_result(row, "")?)
            }
            Self::Trust => Row::from(&Trust::from_query_result(row, "")?),
            Self::Scan => Row::from(&(service()?, Scan::from_query_result(row, "")?)),
        })
    }
}

fn with_service<E: EntityTrait>(rows: Select<E>, relation: impl RelationTrait) -> Select<E> {
    rows.with(relation).column_as(service::Column::Name, "service_name")
}

/// Reads the rows of a table on from a place, in the order of the ids, and moves the place on; one that cannot be read does
/// not keep the others from it.
pub async fn page(
    conn: &impl ConnectionTrait,
    table: Table,
    place: &mut Cursor<Uuid>,
    limit: i64,
) -> Result<Vec<Result<Row, Unread>>, StoreError> {
    let (mut query, id_column) = table.select(conn);
    let rows = conn.query_all(place.seek(&mut query, id_column, limit)).await?;
    place.pass(rows.iter().map(id));
    rows.iter().map(|row| told_apart(row, table.read(row).map_err(StoreError::from))).collect()
}

/// Those of the rows that are there.
pub async fn present(conn: &impl ConnectionTrait, keys: &BTreeSet<Key>) -> Result<BTreeSet<Key>, StoreError> {
    let mut found = BTreeSet::new();
    let mut wanted = Wanted::default();
    for key in keys {
        wanted.add(key);
    }
    if !wanted.versions.is_empty() {
        found.extend(releases(conn, &wanted).await?);
        found.extend(scans(conn, &wanted).await?);
    }
    found.extend(among(conn, service::Column::Name, wanted.services).await?.into_iter().map(Key::Service));
    let environments = among(conn, environment::Column::Name, wanted.environments).await?;
    found.extend(environments.into_iter().map(Key::Environment));
    let deployments = among(conn, deployment::Column::Id, wanted.deployments).await?;
    found.extend(deployments.into_iter().map(Key::Deployment));
    found.extend(among(conn, approval::Column::Id, wanted.approvals).await?.into_iter().map(Key::Approval));
    found.extend(among(conn, waiver::Column::Id, wanted.waivers).await?.into_iter().map(Key::Waiver));
    found.extend(among(conn, token::Column::Id, wanted.tokens).await?.into_iter().map(Key::Token));
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
    waivers: Vec<Uuid>,
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
            Key::Waiver(id) => self.waivers.push(*id),
            Key::Token(id) => self.tokens.push(*id),
            // They are not looked for here: see `Table::EDITED` and `Table::PASSING`.
            Key::Freeze(_) | Key::Trust(_) | Key::Session(_) | Key::Pipeline(_) => {}
        }
    }
}

/// Which of these values the column holds.
async fn among<E: EntityTrait<Column = C>, C: ColumnTrait<EntityName = E>, T: Into<Value> + TryGetable>(
    conn: &impl ConnectionTrait,
    column: C,
    values: impl IntoIterator<Item = T>,
) -> Result<Vec<T>, StoreError> {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return Ok(Vec::new());
    }
    let query = E::find().select_only().column(column).filter(column.is_in(values));
    Ok(query.into_tuple().all(conn).await?)
}

/// Confines rows with their services and releases to those that are wanted.
fn wanted_ones<E: EntityTrait>(rows: Select<E>, wanted: &Wanted) -> Select<E> {
    rows.select_only()
        .column(service::Column::Name)
        .column(release::Column::Version)
        .filter(service::Column::Name.is_in(&wanted.of_services))
        .filter(release::Column::Version.is_in(&wanted.versions))
}

async fn releases(conn: &impl ConnectionTrait, wanted: &Wanted) -> Result<Vec<Key>, StoreError> {
    let query = wanted_ones(release::Entity::find().with(release::Relation::Service), wanted);
    let found = query.into_tuple().all(conn).await?;
    Ok(found.into_iter().map(|(service, version)| Key::Release(service, version)).collect())
}

async fn scans(conn: &impl ConnectionTrait, wanted: &Wanted) -> Result<Vec<Key>, StoreError> {
    let query = scan::Entity::find().with(scan::Relation::Service).with(scan::Relation::Release);
    let query = wanted_ones(query, wanted).columns([scan::Column::Scanner, scan::Column::CreatedAt]);
    let read = |row: &QueryResult| -> Result<Key, DbErr> {
        let (service, version) = (row.try_get("", "name")?, row.try_get("", "version")?);
        Ok(Key::Scan(service, version, row.try_get("", "scanner")?, row.try_get("", "created_at")?))
    };
    // One that cannot be read is found where the rows are read, and is none that an event tells of.
    Ok(query.rows(conn).await?.iter().filter_map(|row| read(row).ok()).collect())
}
