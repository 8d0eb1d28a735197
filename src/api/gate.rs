//! `/gate/check`: asking the gate without starting anything.

use poem::http::StatusCode;
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use uuid::Uuid;

use crate::{
    api::{
        Tags,
        auth::Auth,
        deployments::body::{OverrideBody, meant, override_reason},
        reply::{Changed, Reply, answer},
        types::{Nullable, Text, Time},
        view::{CheckView, DecisionView, OverrideView, refuse},
    },
    domain::{
        address::{Page, Pages},
        fault::Faults,
        form::{Short, TellingShort},
        gate::{facts::Facts, rules::preempts},
        idempotency::Answer,
        text::{self, Name, SHORT_TEXT_MAX, Version},
        vocabulary::Kind,
    },
    http::problem::Problem,
    usecase::gate::check::{self, Deployer, GateAnswer, Question},
};

/// The operations.
#[derive(Debug)]
pub struct GateApi;

/// What to ask the gate.
#[derive(Clone, Debug, Object)]
#[oai(deny_unknown_fields, example)]
pub struct GateQuestion {
    /// The service.
    pub service: Text<Name>,
    /// The environment.
    pub environment: Text<Name>,
    /// The release's version; it must be registered. Only for a removal it may be absent.
    #[oai(skip_serializing_if_is_none)]
    pub version: Option<Text<Version>>,
    /// What the deployment would be for; when absent `redeploy` if the release is current, else `deploy`.
    #[oai(skip_serializing_if_is_none)]
    pub kind: Option<Kind>,
    /// Whether it would cancel what is running. Only a rollback may (`not-a-rollback`).
    #[oai(default)]
    pub preempt: bool,
    /// The person who would set it off, at most 200 characters.
    #[oai(skip_serializing_if_is_none)]
    pub initiated_by: Option<Text<Short>>,
    /// The subject that would deploy it, at most 200 characters: its own approval does not count. For nobody in particular
    /// when absent.
    #[oai(skip_serializing_if_is_none)]
    pub deployer: Option<Text<TellingShort>>,
    /// True asks for the caller: what a start with this token would be told.
    #[oai(default)]
    pub for_caller: bool,
    /// What an override would change; needs the scope `override`.
    #[oai(skip_serializing_if_is_none)]
    pub r#override: Option<OverrideBody>,
    /// True keeps the answer among the decisions; needs the scope `deploy`.
    #[oai(default)]
    pub record: bool,
}

impl Example for GateQuestion {
    fn example() -> Self {
        Self {
            service: "shop".into(),
            environment: "staging".into(),
            version: Some("1.4.2".into()),
            kind: None,
            preempt: false,
            initiated_by: None,
            deployer: None,
            for_caller: false,
            r#override: None,
            record: false,
        }
    }
}

impl GateQuestion {
    fn parse(&self) -> Result<Question, Faults> {
        let mut faults = Faults::default();
        let service = faults.take("/service", Name::of_service(&self.service));
        let environment = faults.take("/environment", Name::of_environment(&self.environment));
        let version = meant(self.version.as_ref(), self.kind, "", &mut faults);
        let initiated_by = self.initiated_by.as_ref().map(|text| text::free(text, SHORT_TEXT_MAX));
        let initiated_by = faults.take_optional("/initiated_by", initiated_by);
        let named = self.deployer.as_deref();
        let deployer = deployer("/deployer", named, self.for_caller, &mut faults);
        let preempt = faults.take("/preempt", preempts(self.kind, self.preempt));
        let override_reason = override_reason(self.r#override.as_ref(), &mut faults);
        let asked = service.zip(environment).zip(preempt);
        faults.finish(asked.map(|((service, environment), preempt)| Question {
            service,
            environment,
            version,
            kind: self.kind,
            preempt,
            initiated_by: initiated_by.into_iter().collect(),
            deployer,
            override_reason,
        }))
    }
}

/// For whom the gate is asked.
pub fn deployer(pointer: &str, named: Option<&str>, for_caller: bool, faults: &mut Faults) -> Deployer {
    if named.is_some() && for_caller {
        faults.add(pointer, "conflict", "must be absent where `for_caller` asks for the caller");
    }
    match faults.take_optional(pointer, named.map(|name| text::telling(name, SHORT_TEXT_MAX))) {
        Some(name) => Deployer::Named(name),
        None if for_caller => Deployer::Caller,
        None => Deployer::Anybody,
    }
}

/// What the gate would say to a start.
#[derive(Clone, Debug, Object)]
#[oai(rename = "GateAnswer")]
pub struct AnswerView {
    /// The decision's id, where it is kept.
    pub id: Nullable<Uuid>,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// What the deployment would be for.
    pub kind: Kind,
    /// The subject that it was judged for; null for nobody in particular, whose approval would not count.
    pub deployer: Nullable<String>,
    /// For a rollback: what became current after this moment is what it would revert, unless it is of the same release or
    /// was reverted before; null for anything else.
    pub reverts_since: Nullable<Time>,
    /// Whether it might start.
    pub allowed: bool,
    /// When the rules were evaluated.
    pub evaluated_at: Time,
    /// Which version of the environment's policy it went by; 0 where nobody has set one.
    pub policy_version: i64,
    /// What each rule found; every rule is here, not just the first that failed.
    pub checks: Vec<CheckView>,
    /// When every failing rule will hold; null when one of them cannot tell.
    pub retry_at: Nullable<Time>,
    /// Why the rules would be lifted.
    pub r#override: Nullable<OverrideView>,
    /// A word for what stands in the way; `GET /gate/wait` takes it as `seen`.
    pub state: String,
    /// Where people look at it: the decision where it is kept, else the target. Absent where the server was not told its own
    /// address (`server.public_url`).
    #[oai(skip_serializing_if_is_none)]
    pub web_url: Option<String>,
}

impl AnswerView {
    /// An answer as it is seen, with where people look at it.
    pub fn of(GateAnswer { question, decided, kept }: GateAnswer, pages: &Pages) -> Self {
        let Facts { kind, deployer, release, .. } = decided.inputs.facts;
        let decision = DecisionView::from(decided.decision);
        let target =
            Page::Target { service: question.service.as_str(), environment: question.environment.as_str() };
        let web_url = pages.url(if kept { Page::Decision(decision.id) } else { target });
        let DecisionView {
            id,
            allowed,
            evaluated_at,
            checks,
            retry_at,
            r#override,
            policy_version,
            state,
            ..
        } = decision;
        Self {
            id: kept.then_some(id).into(),
            service: question.service.to_string(),
            environment: question.environment.to_string(),
            version: release.version,
            kind,
            deployer: deployer.into(),
            reverts_since: Nullable(decided.back.reverts_since.map(Time)),
            allowed,
            evaluated_at,
            policy_version,
            checks,
            retry_at,
            r#override,
            state,
            web_url,
        }
    }
}

fn render(pages: Pages) -> impl Fn(&GateAnswer) -> Answer {
    move |found| answer(StatusCode::OK, &AnswerView::of(found.clone(), &pages))
}

#[OpenApi(tag = "Tags::Gate")]
impl GateApi {
    /// Ask the gate
    ///
    /// What a start would be told now: every rule, and when to try again. It changes nothing and is kept only with
    /// `record`. Whoever asks is not taken for who deploys: it is judged for nobody in particular, for the `deployer` that
    /// is named, or with `for_caller` for the token's subject. A hotfix counts as one where this token may make them.
    #[oai(path = "/gate/check", method = "post", operation_id = "check_gate")]
    async fn check_gate(
        &self,
        auth: Auth,
        body: Json<GateQuestion>,
    ) -> Result<Reply<AnswerView, Changed>, Problem> {
        let question = body.0.parse().map_err(refuse)?;
        let render = render(auth.pages());
        if !body.0.record {
            return Ok(Reply::new(render(&check::check(&auth.ctx(), &question).await?)));
        }
        auth.once(&body.0, |ctx| async move { check::keep(&ctx, &question, &render).await }).await
    }
}
