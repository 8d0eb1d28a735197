//! `/decisions`: what the gate said, and why.

use std::collections::BTreeMap;

use poem::Request;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        types::{Nullable, Time},
        view::{ActorView, DecisionView},
        who::{See, Who, named},
    },
    domain::{
        gate::{
            Inputs,
            stored::{Filter, Stored},
        },
        vocabulary::Kind,
    },
    http::problem::Problem,
    usecase::gate::decisions,
};

/// The operations.
#[derive(Debug)]
pub struct DecisionsApi;

/// A decision on record.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "StoredDecision")]
pub struct StoredView {
    /// What the gate said; where it said the same several times in a row, what it said last.
    #[oai(flatten)]
    #[serde(flatten)]
    pub decision: DecisionView,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// What the deployment was for.
    pub kind: Kind,
    /// Who asked.
    pub actor: ActorView,
    /// The deployment that was let start; null where it was denied, or nothing was started because it was only asked
    /// (`record` of `POST /gate/check`).
    pub deployment_id: Nullable<Uuid>,
    /// How often in a row the same was said.
    pub count: i64,
    /// When it was said first.
    pub first_evaluated_at: Time,
    /// All that it was decided by, the facts and the policy, so that it can be evaluated again. Null in lists that do not
    /// ask for it, and where the facts tell of environments that the token does not see.
    pub inputs: Nullable<BTreeMap<String, Value>>,
}

impl Who for StoredView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

fn view(stored: Stored, with_inputs: bool) -> StoredView {
    let object = |inputs| serde_json::to_value::<Inputs>(inputs).and_then(serde_json::from_value).ok();
    let inputs: Option<BTreeMap<String, Value>> = stored.inputs.filter(|_| with_inputs).and_then(object);
    StoredView {
        decision: stored.decision.into(),
        service: stored.service,
        environment: stored.environment,
        version: stored.version,
        kind: stored.kind,
        actor: stored.actor.into(),
        deployment_id: stored.deployment_id.into(),
        count: stored.count,
        first_evaluated_at: Time(stored.first_evaluated_at),
        inputs: inputs.into(),
    }
}

impl Listed for StoredView {
    const PAGE: Words =
        Words { name: "DecisionPage", is: "A page of decisions.", items: "The decisions, newest first." };
}

#[OpenApi(tag = "Tags::Gate")]
impl DecisionsApi {
    /// List decisions, newest first
    ///
    /// What the gate said to starts, and to checks that asked to be kept. Denials are forgotten after a while
    /// (`workers.denial_retention`); what was allowed is kept for ever.
    #[oai(path = "/decisions", method = "get", operation_id = "list_decisions")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter")]
    async fn list_decisions(
        &self,
        auth: Auth,
        request: &Request,
        /// About this service.
        service: Query<Option<String>>,
        /// About this environment.
        environment: Query<Option<String>>,
        /// About this version.
        version: Query<Option<String>>,
        /// Only those that allowed, or only those that did not.
        allowed: Query<Option<bool>>,
        /// Last said at this time or later.
        since: Query<Option<Time>>,
        /// Last said before this time.
        until: Query<Option<Time>>,
        /// True shows what each was decided by.
        inputs: Query<Option<bool>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<StoredView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let filter = Filter {
            service: service.0,
            environment: environment.0,
            version: version.0,
            allowed: allowed.0,
            since: since.0.map(|time| time.0),
            until: until.0.map(|time| time.0),
        };
        let ctx = auth.ctx();
        let page = decisions::list(&ctx, &filter, &asked).await?;
        let with_inputs = inputs.0.unwrap_or(false);
        List::named(&ctx, page, request, |stored| view(stored, with_inputs)).await
    }

    /// Read a decision with all it was decided by
    #[oai(path = "/decisions/:id", method = "get", operation_id = "get_decision")]
    async fn get_decision(
        &self,
        auth: Auth,
        /// Its id.
        id: Path<Uuid>,
    ) -> Result<Json<StoredView>, Problem> {
        let ctx = auth.ctx();
        let mut stored = view(decisions::get(&ctx, id.0).await?, true);
        stored.decision = stored.decision.at(&ctx.app.people.pages);
        Ok(Json(named(&ctx, stored).await?))
    }
}
