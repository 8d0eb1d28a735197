//! The rows of a matrix, as they are read and kept: of each target what there is to show of it, written already.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{
        matrix::{Cell, Described, Row},
        target::Occupied,
    },
    store::{error::StoreError, matrix},
    usecase::error::Error,
};

/// So many services are read at once: few enough that reading them leaves little memory behind.
const SERVICES: usize = 32;

/// What there is to show of a target.
#[derive(Clone, Debug)]
pub struct Shown {
    /// As it is written, up to how far the target is behind.
    pub text: Box<str>,
    /// What tells it from any other.
    pub digest: [u8; 16],
}

/// Writes what there is to show of a target.
pub type TargetWriter = fn(Occupied) -> serde_json::Result<String>;

/// Reads the rows of services, now or at a moment, in the order of the services.
pub async fn read(
    conn: &impl ConnectionTrait,
    services: Vec<Described>,
    at: Option<DateTime<Utc>>,
    write: TargetWriter,
) -> Result<Vec<Arc<Row<Shown>>>, Error> {
    let mut rows = Vec::with_capacity(services.len());
    let mut services = services.into_iter().peekable();
    while services.peek().is_some() {
        let some: Vec<_> = services.by_ref().take(SERVICES).collect();
        let names: Vec<_> = some.iter().map(|service| service.name.as_str()).collect();
        let occupied = match at {
            None => matrix::now(conn, &names, None).await?,
            Some(at) => matrix::as_of(conn, &names, at).await?,
        };
        let mut cells: HashMap<String, Vec<Cell<Shown>>> = HashMap::new();
        for mut target in occupied {
            let service = std::mem::take(&mut target.service);
            cells.entry(service).or_default().push(cell(target, write)?);
        }
        rows.extend(some.into_iter().map(|service| {
            let mut cells = cells.remove(&service.name).unwrap_or_default();
            cells.sort_unstable_by(|one, other| one.environment.cmp(&other.environment));
            Arc::new(Row { service, cells })
        }));
    }
    Ok(rows)
}

fn cell(target: Occupied, write: TargetWriter) -> Result<Cell<Shown>, Error> {
    let environment = target.environment.clone();
    let place = target.current.as_ref().map(|current| current.place);
    let moves = target.running.is_some();
    let text = write(target).map_err(|_unwritable| StoreError::Corrupt("target"))?.into_boxed_str();
    let mut digest = [0; 16];
    digest.copy_from_slice(Sha256::digest(text.as_bytes()).split_at(16).0);
    Ok(Cell { environment, place, moves, shown: Shown { text, digest } })
}
