//! `/matrix` and the targets: what runs where.

use poem::http::StatusCode;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        reply::{Changed, Reply, written},
        types::{Nullable, Time},
        view::ActorView,
    },
    domain::{target::Occupant, vocabulary::Tier},
    http::problem::Problem,
    usecase::matrix::{self, Cell, Matrix, TargetState},
};

/// The operations.
#[derive(Debug)]
pub struct MatrixApi;

/// What occupies a target.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Occupant")]
pub struct OccupantView {
    /// The deployment that put it there.
    pub deployment_id: Uuid,
    /// The release's version.
    pub version: String,
    /// The image it was built into.
    pub image: Nullable<String>,
    /// The commit it was built from; null where that is not known, as of the software of others.
    pub commit_sha: Nullable<String>,
    /// The start of the stay, which redeploying the same artefact does not break; or of the running deployment.
    pub since: Time,
    /// Who put it there.
    pub actor: ActorView,
    /// Of what is running: whether it is no release that is on its way there, but this one that is being taken away.
    pub removal: bool,
}

impl From<Occupant> for OccupantView {
    fn from(occupant: Occupant) -> Self {
        Self {
            deployment_id: occupant.deployment_id,
            version: occupant.release.version.to_string(),
            image: Nullable(occupant.release.image.map(|image| image.to_string())),
            commit_sha: Nullable(occupant.release.commit_sha.map(|commit| commit.to_string())),
            since: Time(occupant.since),
            actor: occupant.actor.into(),
            removal: occupant.removal,
        }
    }
}

/// One target of the matrix.
#[derive(Clone, Debug, Object, Serialize)]
pub struct MatrixTarget {
    /// The environment.
    pub environment: String,
    /// What runs there.
    pub current: Nullable<OccupantView>,
    /// What is being deployed there, or taken away from there.
    pub running: Nullable<OccupantView>,
    /// How many releases are newer than the current one, up to the newest that is current in a lower rank; null
    /// where no lower rank has one.
    pub behind: Nullable<i64>,
}

/// One service of the matrix.
#[derive(Clone, Debug, Object, Serialize)]
pub struct MatrixService {
    /// Its name.
    pub name: String,
    /// Its targets, one for each environment, in their order.
    pub targets: Vec<MatrixTarget>,
}

/// One environment of the matrix.
#[derive(Clone, Debug, Object, Serialize)]
pub struct MatrixEnvironment {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub tier: Tier,
    /// Its place in the order of promotion.
    pub rank: i64,
    /// Registered by a deployment and edited by nobody since.
    pub unconfirmed: bool,
    /// Whether it is locked down today: nothing but an override starts there.
    pub locked_down: bool,
}

/// What runs where.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Matrix")]
pub struct MatrixView {
    /// The moment it shows.
    pub as_of: Time,
    /// The environments, in the order of promotion.
    pub environments: Vec<MatrixEnvironment>,
    /// The services, by name.
    pub services: Vec<MatrixService>,
}

impl From<Matrix> for MatrixView {
    fn from(matrix: Matrix) -> Self {
        let names: Vec<String> =
            matrix.environments.iter().map(|environment| environment.name.to_string()).collect();
        let target = |environment: &String, cell: Option<Cell>| {
            let (current, running, behind) =
                cell.map_or((None, None, None), |cell| (cell.current, cell.running, cell.behind));
            MatrixTarget {
                environment: environment.clone(),
                current: Nullable(current.map(Into::into)),
                running: Nullable(running.map(Into::into)),
                behind: behind.into(),
            }
        };
        let services = matrix.services.into_iter().map(|(name, mut cells)| MatrixService {
            name,
            targets: names.iter().map(|environment| target(environment, cells.remove(environment))).collect(),
        });
        Self {
            as_of: Time(matrix.as_of),
            services: services.collect(),
            environments: matrix
                .environments
                .into_iter()
                .map(|environment| MatrixEnvironment {
                    name: environment.name.to_string(),
                    tier: environment.settings.tier,
                    rank: environment.settings.rank,
                    unconfirmed: environment.unconfirmed,
                    locked_down: environment.lockdown.is_some(),
                })
                .collect(),
        }
    }
}

/// A target: a service in an environment.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Target")]
pub struct TargetView {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// What runs there.
    pub current: Nullable<OccupantView>,
    /// What is being deployed there, or taken away from there.
    pub running: Nullable<OccupantView>,
    /// The newest verified choice for a rollback, which is a release: the deployment that last succeeded with it.
    pub rollback_to: Nullable<OccupantView>,
}

impl From<TargetState> for TargetView {
    fn from(TargetState { occupied, rollback_to }: TargetState) -> Self {
        Self {
            service: occupied.service,
            environment: occupied.environment,
            current: Nullable(occupied.current.map(Into::into)),
            running: Nullable(occupied.running.map(Into::into)),
            rollback_to: Nullable(rollback_to.map(Into::into)),
        }
    }
}

#[OpenApi(tag = "Tags::Matrix")]
impl MatrixApi {
    /// What runs where
    ///
    /// Every service in every environment, now or at any moment of the past. Tiers, ranks and names are today's.
    #[oai(path = "/matrix", method = "get", operation_id = "get_matrix")]
    async fn get_matrix(
        &self,
        auth: Auth,
        /// The moment to show; now when absent.
        as_of: Query<Option<Time>>,
    ) -> Result<Reply<MatrixView, Changed>, Problem> {
        let view = MatrixView::from(matrix::get(&auth.ctx(), as_of.0.map(|time| time.0)).await?);
        Ok(Reply::new(written(StatusCode::OK, &view)?))
    }

    /// One target
    ///
    /// What a service runs in an environment, what is being deployed there, and what it may be rolled back to.
    #[oai(path = "/services/:service/environments/:environment", method = "get", operation_id = "get_target")]
    async fn get_target(
        &self,
        auth: Auth,
        /// The service's name.
        service: Path<String>,
        /// The environment's name.
        environment: Path<String>,
    ) -> Result<Json<TargetView>, Problem> {
        Ok(Json(matrix::target(&auth.ctx(), &service.0, &environment.0).await?.into()))
    }
}
