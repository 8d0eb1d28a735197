//! `/services/{service}/releases/{version}/approvals` and `/approvals/pending`: what people say to a release going to an
//! environment, and who is waited for.

use std::collections::BTreeMap;

use poem::{Request, http::StatusCode};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::{Example, MaybeUndefined},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        page::{List, Listed, Page, Words, page_request},
        reply::{Done, MadeOrThere, Reply, answer},
        types::{Nullable, Text, Time},
        view::{ActorView, refuse},
        who::{See, Who, aside},
    },
    domain::{
        approval::{NamedApproval, Pending, Said, Saw},
        fault::Faults,
        form::Long,
        gate::rules::Standing,
        idempotency::Answer,
        text::{self, Image, Name, TEXT_MAX},
        vocabulary::Voice,
    },
    http::problem::Problem,
    usecase::approvals::{self, About, Given, Waiting},
};

/// The operations.
#[derive(Debug)]
pub struct ApprovalsApi;

/// What somebody says to a release going to an environment.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Approval")]
pub struct ApprovalView {
    /// Identity.
    pub id: Uuid,
    /// The service.
    pub service: String,
    /// The release's version.
    pub version: String,
    /// The environment.
    pub environment: String,
    /// What they say.
    pub decision: Voice,
    /// Why.
    pub comment: Nullable<String>,
    /// Who.
    pub actor: ActorView,
    /// The groups that it counts for: those of the token it was said with.
    pub groups: Vec<String>,
    /// When.
    pub created_at: Time,
    /// Since when it no longer stands: it was withdrawn, or the same subject said something else.
    pub withdrawn_at: Nullable<Time>,
    /// The image that it was said for: it counts as long as the release has no other. Null before the release had one.
    pub image: Nullable<String>,
}

impl From<NamedApproval> for ApprovalView {
    fn from(NamedApproval { approval, service, version, environment }: NamedApproval) -> Self {
        Self {
            id: approval.id,
            service,
            version,
            environment,
            decision: approval.voice,
            comment: approval.comment.into(),
            actor: approval.actor.into(),
            groups: approval.groups.into_iter().collect(),
            created_at: Time(approval.created_at),
            withdrawn_at: approval.withdrawn_at.map(Time).into(),
            image: approval.image.map(|image| image.to_string()).into(),
        }
    }
}

impl Who for ApprovalView {
    fn who(&mut self, see: &mut See<'_>) {
        self.actor.who(see);
    }
}

/// Something to say to a release going to an environment.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct CreateApproval {
    /// The environment.
    pub environment: Text<Name>,
    /// What you say.
    pub decision: Voice,
    /// Why, in at most 2000 characters.
    #[oai(skip_serializing_if_is_none)]
    pub comment: Option<Text<Long>>,
    /// The image that you looked at; null says that there was none yet. When the release has another, the answer is 412.
    /// When absent, it is the one that there is.
    pub image: MaybeUndefined<Text<Image>>,
}

impl Example for CreateApproval {
    fn example() -> Self {
        Self {
            environment: "prod".into(),
            decision: Voice::Approved,
            comment: Some("Seen in staging; the migration is safe".into()),
            image: MaybeUndefined::Value(
                format!("registry.example.com/shop@sha256:{}", "5e".repeat(32)).into(),
            ),
        }
    }
}

impl CreateApproval {
    /// What is said, once every field of it is right.
    pub fn parse(&self) -> Result<Said, Faults> {
        let mut faults = Faults::default();
        faults.take("/environment", Name::of_environment(&self.environment));
        let comment = self.comment.as_deref().map(str::trim).filter(|comment| !comment.is_empty());
        let comment = faults.take_optional("/comment", comment.map(|comment| text::free(comment, TEXT_MAX)));
        let saw = match &self.image {
            MaybeUndefined::Undefined => Some(Saw::Untold),
            MaybeUndefined::Null => Some(Saw::Nothing),
            MaybeUndefined::Value(image) => faults.take("/image", Image::parse(image).map(Saw::Image)),
        };
        faults.finish(saw.map(|saw| Said { voice: self.decision, comment, saw }))
    }
}

impl Listed for ApprovalView {
    const PAGE: Words =
        Words { name: "ApprovalPage", is: "A page of approvals.", items: "What was said, newest first." };
}

/// An approval that does not count.
#[derive(Clone, Debug, Object, Serialize)]
pub struct NotCounted {
    /// Whose it is.
    pub subject: String,
    /// Why it does not count.
    pub why: String,
}

/// A rejection.
#[derive(Clone, Debug, Object, Serialize)]
pub struct RejectionView {
    /// Whose it is.
    pub subject: String,
    /// Why; at most the first 500 characters.
    pub comment: Nullable<String>,
}

/// How far one rule about approvals is.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "ApprovalStanding")]
pub struct StandingView {
    /// The groups whose members' approvals count; anybody's when empty.
    pub groups: Vec<String>,
    /// How many subjects must approve.
    pub required: u32,
    /// Whose approvals count for it.
    pub approved_by: Vec<String>,
    /// How many are missing.
    pub missing: u32,
}

impl From<Standing> for StandingView {
    fn from(Standing { rule, approved_by, missing }: Standing) -> Self {
        Self { groups: rule.groups, required: rule.required, approved_by, missing }
    }
}

/// A release that waits for approvals.
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "PendingApproval")]
pub struct PendingView {
    /// The service.
    pub service: String,
    /// The environment it is to go to.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// How many subjects must approve: of several rules, what the one that wants most wants.
    pub required: u32,
    /// Those who did.
    pub approved_by: Vec<String>,
    /// How many are missing: of several rules, for the one that lacks most. One approval may count for several.
    pub missing: u32,
    /// Those who rejected it: it stands still until they withdraw that.
    pub rejected_by: Vec<String>,
    /// Why they did.
    pub rejections: Vec<RejectionView>,
    /// The approvals that do not count.
    pub not_counted: Vec<NotCounted>,
    /// How far each of the policy's rules is; all must hold.
    pub rules: Vec<StandingView>,
    /// The groups whose members' approvals count; anybody's when empty.
    pub groups: Vec<String>,
    /// When the gate first denied it for want of approvals.
    pub waiting_since: Time,
    /// Who asked for it last.
    pub asked_by: ActorView,
    /// What the gate said to that.
    pub decision_id: Uuid,
    /// What people call these subjects, as the issuer last said; nobody is among them who has not signed in.
    pub names: BTreeMap<String, String>,
}

impl Who for PendingView {
    fn who(&mut self, see: &mut See<'_>) {
        self.asked_by.who(see);
        let said = self.not_counted.iter().map(|one| &one.subject);
        aside(self.approved_by.iter().chain(&self.rejected_by).chain(said), &mut self.names, see);
    }
}

impl From<Pending> for PendingView {
    fn from(pending: Pending) -> Self {
        let (required, missing) = (pending.required(), pending.missing());
        let groups = pending.groups().into_iter().map(str::to_owned).collect();
        let Pending { asked, standings, approved_by, rejections, not_counted } = pending;
        let not_counted =
            not_counted.into_iter().map(|(subject, why)| NotCounted { subject, why: why.to_owned() });
        let rejected_by = rejections.iter().map(|(subject, _)| subject.clone()).collect();
        let rejections = rejections
            .into_iter()
            .map(|(subject, comment)| RejectionView { subject, comment: comment.into() });
        Self {
            service: asked.service,
            environment: asked.environment,
            version: asked.version,
            required,
            approved_by,
            missing,
            rejected_by,
            rejections: rejections.collect(),
            not_counted: not_counted.collect(),
            rules: standings.into_iter().map(Into::into).collect(),
            groups,
            waiting_since: Time(asked.since),
            asked_by: asked.actor.into(),
            decision_id: asked.decision_id,
            names: BTreeMap::new(),
        }
    }
}

impl Listed for PendingView {
    const PAGE: Words = Words {
        name: "PendingPage",
        is: "A page of what waits.",
        items: "The releases, those that have waited for the shortest time first.",
    };
}

fn render(Given { named, new }: &Given) -> Answer {
    let NamedApproval { service, version, approval, .. } = named;
    let location = format!("/api/v1/services/{service}/releases/{version}/approvals/{}", approval.id);
    let status = if *new { StatusCode::CREATED } else { StatusCode::OK };
    let body = ApprovalView::from(named.clone());
    Answer { location: new.then_some(location), ..answer(status, &body) }
}

#[OpenApi(tag = "Tags::Gate")]
impl ApprovalsApi {
    /// Approve or reject a release for an environment
    ///
    /// It stands for this release in this environment, as the voice of the token's subject: a subject has one, whichever
    /// token it uses, and what it said before is withdrawn. The same again answers 200; where it no longer counted, it is
    /// said anew. A rejection stands in the way until it is withdrawn. An approval is for the image that the release has:
    /// who sends the `image` that they looked at approves no other.
    #[oai(
        path = "/services/:service/releases/:version/approvals",
        method = "post",
        operation_id = "create_approval"
    )]
    async fn create_approval(
        &self,
        auth: Auth,
        /// The service's name.
        service: Path<String>,
        /// The release's version.
        version: Path<String>,
        body: Json<CreateApproval>,
    ) -> Result<Reply<ApprovalView, MadeOrThere>, Problem> {
        let said = body.0.parse().map_err(refuse)?;
        let about = About { service: &service.0, version: &version.0, environment: &body.0.environment };
        auth.once(&body.0, |ctx| async move { approvals::give(&ctx, about, &said, &render).await }).await
    }

    /// List what people said about a release
    ///
    /// Newest first, what was withdrawn too.
    #[oai(
        path = "/services/:service/releases/:version/approvals",
        method = "get",
        operation_id = "list_approvals"
    )]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter")]
    async fn list_approvals(
        &self,
        auth: Auth,
        request: &Request,
        /// The service's name.
        service: Path<String>,
        /// The release's version.
        version: Path<String>,
        /// For this environment.
        environment: Query<Option<String>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<ApprovalView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let environment = environment.0;
        let ctx = auth.ctx();
        let page = approvals::list(&ctx, &service.0, &version.0, environment.as_deref(), &asked).await?;
        List::named(&ctx, page, request, Into::into).await
    }

    /// Withdraw what you have said
    ///
    /// Only the subject that said it can. Withdrawing it again changes nothing.
    #[oai(
        path = "/services/:service/releases/:version/approvals/:id",
        method = "delete",
        operation_id = "withdraw_approval"
    )]
    async fn withdraw_approval(
        &self,
        auth: Auth,
        /// The service's name.
        service: Path<String>,
        /// The release's version.
        version: Path<String>,
        /// The approval's id.
        id: Path<Uuid>,
    ) -> Result<Done, Problem> {
        approvals::withdraw(&auth.ctx(), &service.0, &version.0, id.0).await?;
        Ok(Done::Done)
    }

    /// List what waits for whom
    ///
    /// The releases that the gate denied a start for want of approvals within seven days and that still want them. What has
    /// started since, what a newer release has overtaken, and what waits for something else only is not among them. It is
    /// judged for nobody in particular, unless a `deployer` is named.
    #[oai(path = "/approvals/pending", method = "get", operation_id = "list_pending_approvals")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter")]
    async fn list_pending_approvals(
        &self,
        auth: Auth,
        request: &Request,
        /// What the approvals of this group's members can count for.
        group: Query<Option<String>>,
        /// Of this service.
        service: Query<Option<String>>,
        /// For this environment.
        environment: Query<Option<String>>,
        /// The subject that would deploy it, whose own approval does not count; nobody in particular when absent.
        deployer: Query<Option<String>>,
        /// At most this many, from 1 to 200.
        limit: Query<Option<u64>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<List<Page<PendingView>>, Problem> {
        let asked = page_request(limit.0, cursor.0.as_deref())?;
        let only =
            Waiting { group: group.0, service: service.0, environment: environment.0, deployer: deployer.0 };
        let ctx = auth.ctx();
        let page = approvals::waiting(&ctx, &only, &asked).await?;
        List::named(&ctx, page, request, Into::into).await
    }
}
