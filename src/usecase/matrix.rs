//! What runs where, for all targets or for one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    domain::{
        environment::Environment,
        rollback::choices,
        target,
        target::{Occupant, Occupied},
        vocabulary::Scope,
    },
    store::{
        db, deployment,
        matrix::{self, Only},
        release,
    },
    usecase::{context::Ctx, error::Error, named},
};

/// Every target at one moment.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The moment.
    pub as_of: DateTime<Utc>,
    /// The environments, in the order of promotion.
    pub environments: Vec<Environment>,
    /// The services by name, each with what occupies its targets, by the environments' names.
    pub services: BTreeMap<String, BTreeMap<String, Cell>>,
}

/// One target of the matrix.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What it runs.
    pub current: Option<Occupant>,
    /// What is under way.
    pub running: Option<Occupant>,
    /// How many releases it is behind the newest of a lower rank.
    pub behind: Option<i64>,
}

/// The matrix, now or at a moment of the past.
pub async fn get(ctx: &Ctx, as_of: Option<DateTime<Utc>>) -> Result<Matrix, Error> {
    ctx.require(Scope::Read)?;
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let now = db::now(conn).await?;
    let past = as_of.filter(|at| *at < now);
    let environments = matrix::environments(conn, within, past).await?;
    let names = matrix::services(conn, within, past).await?;
    let occupied = match past {
        Some(at) => matrix::as_of(conn, within, at).await?,
        None => matrix::now(conn, within, Only::default()).await?,
    };
    let services = arrange(&environments, names, occupied);
    let environments = match past {
        Some(at) => registered_by(at, environments, &services),
        None => environments,
    };
    Ok(Matrix { as_of: past.unwrap_or(now), environments, services })
}

/// Leaves out the environments that were registered later, unless something was put on record there for that moment.
fn registered_by(
    at: DateTime<Utc>,
    environments: Vec<Environment>,
    services: &BTreeMap<String, BTreeMap<String, Cell>>,
) -> Vec<Environment> {
    let used = |name: &str| services.values().any(|cells| cells.contains_key(name));
    environments
        .into_iter()
        .filter(|environment| environment.created_at <= at || used(environment.name.as_str()))
        .collect()
}

fn arrange(
    environments: &[Environment],
    names: Vec<String>,
    occupied: Vec<Occupied>,
) -> BTreeMap<String, BTreeMap<String, Cell>> {
    let ranks: BTreeMap<&str, i64> = environments
        .iter()
        .map(|environment| (environment.name.as_str(), environment.settings.rank))
        .collect();
    let mut services: BTreeMap<String, BTreeMap<String, Cell>> =
        names.into_iter().map(|name| (name, BTreeMap::new())).collect();
    for Occupied { service, environment, current, running } in occupied {
        services.entry(service).or_default().insert(environment, Cell { current, running, behind: None });
    }
    for cells in services.values_mut() {
        let places: Vec<(i64, i64)> = cells
            .iter()
            .filter_map(|(name, cell)| Some((*ranks.get(name.as_str())?, cell.current.as_ref()?.place)))
            .collect();
        for (name, cell) in cells {
            if let (Some(rank), Some(current)) = (ranks.get(name.as_str()), &cell.current) {
                cell.behind = target::behind(*rank, current.place, places.iter().copied());
            }
        }
    }
    services
}

/// One target, with the release it may return to.
#[derive(Clone, Debug)]
pub struct TargetState {
    /// What it runs and what is under way.
    pub occupied: Occupied,
    /// The newest verified choice for a rollback.
    pub rollback_to: Option<Occupant>,
}

/// One target. A service that was never deployed to an environment has an empty one there.
pub async fn target(ctx: &Ctx, service_name: &str, environment_name: &str) -> Result<TargetState, Error> {
    ctx.require(Scope::Read)?;
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    let service = named::service(ctx, service_name).await?;
    let environment = named::environment(ctx, environment_name).await?;
    let only = Only { service: Some(service_name), environment: Some(environment_name) };
    let occupied = matrix::now(conn, within, only).await?.pop().unwrap_or_else(|| Occupied {
        service: service_name.to_owned(),
        environment: environment_name.to_owned(),
        current: None,
        running: None,
    });
    let history = deployment::successes(conn, (service.id, environment.id), None).await?;
    let current = occupied.current.as_ref().map(|current| current.deployment_id);
    let current = history.iter().find(|success| Some(success.deployment_id) == current);
    let rollback_to = match choices(&history, current.map(|current| current.release_id), 1).first() {
        None => None,
        Some(choice) => {
            let found = release::get(conn, choice.release_id).await?;
            let named = deployment::find(conn, within, choice.deployment_id).await?;
            found.zip(named).map(|(release, named)| Occupant {
                deployment_id: choice.deployment_id,
                release: release.identity,
                place: release.place,
                since: named.deployment.times.stay_started_at.unwrap_or(choice.finished_at),
                actor: named.deployment.actor.clone(),
                removal: false,
            })
        }
    };
    Ok(TargetState { occupied, rollback_to })
}
