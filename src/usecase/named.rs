//! What people name: found for those who may see it, or an error that offers the name that is probably meant.

use sea_orm::ConnectionTrait;

use crate::{
    domain::{
        environment::Environment, event::EventKind, nearest::nearest, places::Known, release::Release,
        scope::Narrowing, service::Service, text::Name,
    },
    store::{environment, error::StoreError, release, service},
    usecase::{context::Ctx, error::Error},
};

/// So many names are looked through for the one that is meant.
const NAMES_MAX: u64 = 2_000;

/// Finds a service.
pub async fn service(ctx: &Ctx, name: &str) -> Result<Service, Error> {
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    match service::find(conn, within, name).await? {
        Some(service) => Ok(service),
        None => Err(no_service(conn, within, name).await),
    }
}

/// Finds an environment.
pub async fn environment(ctx: &Ctx, name: &str) -> Result<Environment, Error> {
    let (conn, within) = (ctx.app.db.read(), ctx.within());
    match environment::find(conn, within, name).await? {
        Some(environment) => Ok(environment),
        None => Err(no_environment(conn, within, name).await),
    }
}

/// Finds a release of a service, and the service.
pub async fn release(ctx: &Ctx, service_name: &str, version: &str) -> Result<(Service, Release), Error> {
    let service = service(ctx, service_name).await?;
    let conn = ctx.app.db.read();
    match release::find(conn, service.id, version).await? {
        Some(release) => Ok((service, release)),
        None => Err(no_release(conn, &service, version).await),
    }
}

/// Those of these names that are on record, whoever may see them.
pub async fn known(
    conn: &impl ConnectionTrait,
    services: &[Name],
    environments: &[Name],
) -> Result<Known, StoreError> {
    Ok(Known {
        services: service::known(conn, services).await?,
        environments: environment::known(conn, environments).await?,
    })
}

/// There is no such service that the caller sees.
pub async fn no_service(conn: &impl ConnectionTrait, within: &Narrowing, name: &str) -> Error {
    missing("service", name, name, service::names(conn, within, NAMES_MAX).await, "")
}

/// There is no such environment that the caller sees; and how there comes to be one.
pub async fn no_environment(conn: &impl ConnectionTrait, within: &Narrowing, name: &str) -> Error {
    let remedy = format!("A deployment may register it, and `waybill environment create {name}` does.");
    missing("environment", name, name, environment::names(conn, within, NAMES_MAX).await, &remedy)
}

/// There is no such release of the service.
pub async fn no_release(conn: &impl ConnectionTrait, service: &Service, version: &str) -> Error {
    let known = release::newest_versions(conn, service.id, NAMES_MAX).await;
    let remedy = "`waybill release record` registers one.";
    missing("release", version, &format!("{version} of {}", service.name), known, remedy)
}

fn missing(
    what: &'static str,
    given: &str,
    name: &str,
    known: Result<Vec<String>, StoreError>,
    remedy: &str,
) -> Error {
    match known.map(|known| nearest(given, known)) {
        Ok(Some(meant)) => Error::missing(what, name, remedy).probably(given, &meant),
        Ok(None) => Error::missing(what, name, remedy),
        Err(error) => error.into(),
    }
}

/// The names that a list is confined to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confined<'a> {
    pub service: Option<&'a str>,
    pub environment: Option<&'a str>,
    /// A release of the service.
    pub version: Option<&'a str>,
    /// A kind of event.
    pub kind: Option<&'a str>,
}

/// Fails where a list that has come out empty was confined to names that are not there: it would read as if all were well.
pub async fn check(ctx: &Ctx, only: Confined<'_>) -> Result<(), Error> {
    match (only.service, only.version) {
        (Some(name), Some(version)) => drop(release(ctx, name, version).await?),
        (Some(name), None) => drop(service(ctx, name).await?),
        (None, _) => {}
    }
    if let Some(name) = only.environment {
        environment(ctx, name).await?;
    }
    if let Some(kind) = only.kind.filter(|kind| !EventKind::NAMES.contains(kind)) {
        let missing = Error::missing("kind of event", kind, "");
        return Err(match nearest(kind, EventKind::NAMES) {
            Some(meant) => missing.probably(kind, meant),
            None => missing,
        });
    }
    Ok(())
}
