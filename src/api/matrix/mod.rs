//! `/matrix` and the targets: what runs where.

mod write;

use poem::Request;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        etag,
        page::{next_link, page_request},
        reply::Written,
        types::{Nullable, Time},
        view::ActorView,
        who::{See, Who, named},
    },
    domain::{
        address::Page,
        matrix::{Column, Filter, Label},
        target::Occupant,
        vocabulary::{Only, Tier},
    },
    http::problem::Problem,
    usecase::matrix::{self, Ask, TargetState},
};

pub use self::write::WRITER;

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
#[derive(Clone, Debug, Object)]
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
#[derive(Clone, Debug, Object)]
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

impl From<&Column> for MatrixEnvironment {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            tier: column.tier,
            rank: column.rank,
            unconfirmed: column.unconfirmed,
            locked_down: column.locked_down,
        }
    }
}

/// What runs where.
#[derive(Clone, Debug, Object)]
#[oai(rename = "Matrix")]
pub struct MatrixView {
    /// The moment it shows; at most a second before the answer, unless the past was asked for.
    pub as_of: Time,
    /// The environments, in the order of promotion.
    pub environments: Vec<MatrixEnvironment>,
    /// The services, by name.
    pub services: Vec<MatrixService>,
    /// Where the next page goes on; null on the last, and where no page was asked for.
    pub next_cursor: Nullable<String>,
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
    /// Where people look at it. Absent where the server was not told its own address (`server.public_url`).
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
}

impl From<TargetState> for TargetView {
    fn from(TargetState { occupied, rollback_to }: TargetState) -> Self {
        Self {
            service: occupied.service,
            environment: occupied.environment,
            current: Nullable(occupied.current.map(Into::into)),
            running: Nullable(occupied.running.map(Into::into)),
            rollback_to: Nullable(rollback_to.map(Into::into)),
            web_url: None,
        }
    }
}

impl Who for OccupantView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

impl Who for TargetView {
    fn who(&mut self, see: &mut See<'_>) {
        for occupant in [&mut self.current, &mut self.running, &mut self.rollback_to] {
            occupant.who(see);
        }
    }
}

/// What a matrix is answered with.
#[derive(ApiResponse)]
enum MatrixReply {
    /// It is as asked.
    #[oai(status = 200)]
    Matrix(
        Written<MatrixView>,
        /// Tells what it shows; send it back as `If-None-Match`. Weak, because `as_of` may be another.
        #[oai(header = "ETag")]
        String,
        /// Where the next page is.
        #[oai(header = "Link")]
        Option<String>,
    ),
    /// It still shows what bears one of these tags.
    #[oai(status = 304)]
    NotModified(
        /// The tag.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi(tag = "Tags::Matrix")]
impl MatrixApi {
    /// What runs where
    ///
    /// Every service in every environment, now or at any moment of the past. Tiers, ranks, names, owners and labels are
    /// today's. It holds every change that was acknowledged before the request came. All of it is answered unless `limit` or
    /// `cursor` asks for a page of services.
    #[oai(path = "/matrix", method = "get", operation_id = "get_matrix")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter")]
    async fn get_matrix(
        &self,
        auth: Auth,
        request: &Request,
        /// The moment to show; now when absent.
        as_of: Query<Option<Time>>,
        /// This service alone.
        service: Query<Option<String>>,
        /// This environment alone. How far a target is behind is told by all of them.
        environment: Query<Option<String>>,
        /// The services of this owner.
        owner: Query<Option<String>>,
        /// The services with this label: `NAME`, or `NAME=VALUE`.
        label: Query<Option<String>>,
        /// The environments of this tier.
        tier: Query<Option<Tier>>,
        /// Only the services that differ, or that move, in the environments that are shown.
        only: Query<Option<Only>>,
        /// At most this many services, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
        /// The ETag of what the client has, or several.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<MatrixReply, Problem> {
        let filter = Filter {
            service: service.0,
            part: None,
            environment: environment.0,
            owner: owner.0,
            label: label.0.as_deref().map(Label::parse),
            tier: tier.0,
            only: only.0,
        };
        let is_page = limit.0.is_some() || cursor.0.is_some();
        let page = page_request(limit.0, cursor.0.as_deref())?;
        let limit = is_page.then(|| usize::try_from(page.limit).unwrap_or(usize::MAX));
        let ask = Ask { filter, limit, after: page.after };
        let has = |tag: &str| etag::none_match(if_none_match.0.as_deref(), tag);
        let sheet = matrix::get(&auth.ctx(), ask, as_of.0.map(|time| time.0), WRITER, &has).await?;
        let tag = etag::weak(&sheet.tag);
        Ok(match sheet.written {
            None => MatrixReply::NotModified(tag),
            Some(matrix::Written { body, packed, .. }) => {
                let next = sheet.next.map(|next| next_link(request.original_uri(), &next));
                MatrixReply::Matrix(Written::new(body, packed), tag, next)
            }
        })
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
        let ctx = auth.ctx();
        let target = matrix::target(&ctx, &service.0, &environment.0).await?;
        let mut target = TargetView::from(target);
        let page = Page::Target { service: &target.service, environment: &target.environment };
        target.web_url = ctx.app.people.pages.url(page);
        Ok(Json(named(&ctx, target).await?))
    }
}
