//! `/deployments`: starting, keeping alive, finishing, putting on record and reading deployments.

pub mod body;
pub mod view;

use poem::{Request, http::StatusCode};
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
    payload::Json,
};
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        deployments::{
            body::{FinishDeployment, Heartbeat, RecordDeployment, StartDeployment},
            view::{DeploymentDetail, DeploymentView, RecordedDeployment, StartedView, ToldDeployment, view},
        },
        page::{List, Page, page_request},
        reply::{Changed, Made, MadeOrThere, Reply, answer},
        types::Time,
        view::{DecisionView, bad_query, refuse},
        who::named,
    },
    domain::{
        address::Pages,
        deployment::{Filter, NamedDeployment},
        descriptive::Ignored,
        idempotency::Answer,
        vocabulary::{Kind, Status},
    },
    http::problem::Problem,
    usecase::deployments::{
        finish, heartbeat, read,
        record::{self, Recorded},
        start::{self, Started},
    },
};

/// The operations.
#[derive(Debug)]
pub struct DeploymentsApi;

fn location(named: &NamedDeployment) -> String {
    format!("/api/v1/deployments/{}", named.deployment.id)
}

fn render_started(Started { named, decision }: &Started, ignored: &Ignored, pages: &Pages) -> Answer {
    let body = StartedView {
        deployment: view(named.clone()).at(pages),
        decision: DecisionView::from(decision.clone()).at(pages),
        ignored: ignored.fields.clone(),
        changes_left_out: ignored.changes_left_out as u64,
    };
    Answer { location: Some(location(named)), ..answer(StatusCode::CREATED, &body) }
}

fn render_recorded(Recorded { named, new }: &Recorded, ignored: &Ignored, pages: &Pages) -> Answer {
    let status = if *new { StatusCode::CREATED } else { StatusCode::OK };
    let body = RecordedDeployment {
        deployment: view(named.clone()).at(pages),
        ignored: ignored.fields.clone(),
        changes_left_out: ignored.changes_left_out as u64,
    };
    Answer { location: Some(location(named)), ..answer(status, &body) }
}

fn render(ignored: Ignored, pages: Pages) -> impl Fn(&NamedDeployment) -> Answer {
    move |named| {
        let ignored = ignored.fields.clone();
        answer(StatusCode::OK, &ToldDeployment { deployment: view(named.clone()).at(&pages), ignored })
    }
}

#[OpenApi(tag = "Tags::Deployments")]
impl DeploymentsApi {
    /// Start a deployment
    ///
    /// Asks the gate. It answers 201 with the running deployment, or 409 `gate-denied` with the decision: every reason,
    /// and in `retry_at` and `Retry-After` when to try again, where that is known. What it names and the ledger does not
    /// know (service, environment, release) is registered in passing, and stays so even when the gate denies. What is odd and
    /// only descriptive, such as a pipeline's URL that is none, is cut or dropped, and named in `ignored`.
    #[oai(path = "/deployments", method = "post", operation_id = "start_deployment")]
    async fn start_deployment(
        &self,
        auth: Auth,
        body: Json<StartDeployment>,
    ) -> Result<Reply<StartedView, Made>, Problem> {
        let (asked, ignored) = body.0.parse(auth.labels_max(), auth.ledger()).map_err(refuse)?;
        let pages = auth.pages();
        let render = move |started: &Started| render_started(started, &ignored, &pages);
        // Boxed: the largest future of the API would otherwise be part of every request's.
        let start = |ctx| async move { Box::pin(start::start(&ctx, &asked, &render)).await };
        auth.once(&body.0, start).await
    }

    /// Put a finished deployment on record
    ///
    /// For tools that can only report, and for imports: it goes past the gate and is marked `recorded`. It gives no soak,
    /// no promotion and no right to roll back to, unless the token may override. Older than the current one, it is filed
    /// as superseded. The very same again answers 200. It needs the scope `record`; for what went on without the gate
    /// (`ungated`) and began within `ledger.max_lease`, `deploy` is enough.
    #[oai(path = "/deployments/record", method = "post", operation_id = "record_deployment")]
    async fn record_deployment(
        &self,
        auth: Auth,
        body: Json<RecordDeployment>,
    ) -> Result<Reply<RecordedDeployment, MadeOrThere>, Problem> {
        let (asked, ignored) = body.0.parse(auth.labels_max()).map_err(refuse)?;
        let pages = auth.pages();
        let render = move |recorded: &Recorded| render_recorded(recorded, &ignored, &pages);
        auth.once(&body.0, |ctx| async move { record::record(&ctx, &asked, &render).await }).await
    }

    /// List deployments, newest first
    #[oai(path = "/deployments", method = "get", operation_id = "list_deployments")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter")]
    async fn list_deployments(
        &self,
        auth: Auth,
        request: &Request,
        /// Of this service.
        service: Query<Option<String>>,
        /// Into this environment.
        environment: Query<Option<String>>,
        /// Of this version.
        version: Query<Option<String>>,
        /// With this status.
        status: Query<Option<Status>>,
        /// Of this kind.
        kind: Query<Option<Kind>>,
        /// By this subject or token, or set off by this person.
        actor: Query<Option<String>>,
        /// Started at this time or later.
        since: Query<Option<Time>>,
        /// Started before this time.
        until: Query<Option<Time>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<DeploymentView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        if let (Some(since), Some(until)) = (&since.0, &until.0)
            && until.0 <= since.0
        {
            return Err(bad_query("until", "out-of-range", "must come after `since`"));
        }
        let filter = Filter {
            service: service.0,
            environment: environment.0,
            version: version.0,
            status: status.0,
            kind: kind.0,
            actor: actor.0,
            since: since.0.map(|time| time.0),
            until: until.0.map(|time| time.0),
        };
        let ctx = auth.ctx();
        let page = read::list(&ctx, &filter, &asked).await?;
        List::named(&ctx, page, request, view).await
    }

    /// Read a deployment with its timeline
    #[oai(path = "/deployments/:id", method = "get", operation_id = "get_deployment")]
    async fn get_deployment(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
    ) -> Result<Json<DeploymentDetail>, Problem> {
        let ctx = auth.ctx();
        let (deployment, events) = read::get(&ctx, id.0).await?;
        let timeline = events.into_iter().map(Into::into).collect();
        let deployment = view(deployment).at(&ctx.app.people.pages);
        Ok(Json(named(&ctx, DeploymentDetail { deployment, timeline }).await?))
    }

    /// Heartbeat
    ///
    /// Renews the lease of a running deployment, and notes its progress. Any token that may deploy to the target may. One
    /// whose lease has run out (`expired`) goes on as if it had not, until `ledger.max_lease` after its start, and unless
    /// anything else was started in its target since or put on record as having happened since. Where it cannot go on, the
    /// answer is 409 `conflict`; its `deployment` has the `status`, and in `taken_by` what the target has now.
    #[oai(path = "/deployments/:id/heartbeat", method = "post", operation_id = "heartbeat_deployment")]
    async fn heartbeat_deployment(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
        body: Json<Heartbeat>,
    ) -> Result<Reply<ToldDeployment, Changed>, Problem> {
        let (progress, ignored) = body.0.parse().map_err(refuse)?;
        // Whoever sends one every few seconds knows where people look at it.
        let render = render(ignored, Pages::default());
        auth.once(&body.0, |ctx| async move { heartbeat::heartbeat(&ctx, id.0, &progress, &render).await })
            .await
    }

    /// Finish a deployment
    ///
    /// Only `succeeded` makes its release current. The same again answers 200; another end is a conflict. A deployment
    /// that has expired may still be finished, as long as no later one of its target has started.
    #[oai(path = "/deployments/:id/finish", method = "post", operation_id = "finish_deployment")]
    async fn finish_deployment(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
        body: Json<FinishDeployment>,
    ) -> Result<Reply<ToldDeployment, Changed>, Problem> {
        let (outcome, message, ignored) = body.0.parse();
        let render = render(ignored, auth.pages());
        let finish =
            |ctx| async move { finish::finish(&ctx, id.0, outcome, message.as_ref(), &render).await };
        auth.once(&body.0, finish).await
    }
}
