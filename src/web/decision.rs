//! `/decisions/{id}`: why the gate said what it said, and whether it would say the same today.

use std::collections::BTreeMap;

use askama::Template;
use chrono::{DateTime, Utc};
use poem::{Request, Response, Result, http::StatusCode};
use uuid::Uuid;

use super::{
    named::{Peopled, named},
    page::{Frame, Visitor, app, id, page, to_login},
    when::Moment,
    words::Words,
};
use crate::{
    clock,
    domain::{
        gate::{
            self, Check, Inputs, Verdict,
            differences::{Came, Difference, differences},
            facts::Initiator,
            remedy::remedy,
            stored::Stored,
            words::in_words,
        },
        policy::words,
        text::{Name, Version},
        vocabulary::{CheckOutcome, Kind, Mode, Rule},
    },
    http::problem::{Code, Problem},
    usecase::{
        context::Ctx,
        gate::{
            check::{self, Deployer, Question},
            decisions,
        },
    },
};

#[derive(Template)]
#[template(path = "decision.html")]
struct Page {
    frame: Frame,
    id: Uuid,
    service: String,
    environment: String,
    version: String,
    kind: Kind,
    allowed: bool,
    /// Why the rules were lifted, where they were.
    lifted: Option<String>,
    by: String,
    token: String,
    said: Moment,
    /// How often in a row it was said, and when first.
    count: i64,
    first: Moment,
    retry_at: Option<Moment>,
    policy_version: i64,
    deployment: Option<Uuid>,
    rules: Vec<RuleRow>,
    /// Whether the visitor sees by what it was decided.
    has_inputs: bool,
    again: Again,
    /// Nothing, seen from the past.
    today: Option<Today>,
}

/// What one rule found, and by what.
struct RuleRow {
    rule: Rule,
    mode: Mode,
    outcome: CheckOutcome,
    message: Words,
    retry_at: Option<Moment>,
    /// What would have made it a yes.
    remedy: Option<Words>,
    /// What the policy of that time demanded.
    policy: Option<String>,
    facts: Vec<String>,
}

/// What comes out by the facts and the policy of that time, by the rules of this version.
enum Again {
    Same,
    Otherwise(Vec<Row>),
    /// What it was decided by is not shown to the visitor, or was kept otherwise.
    Unknown,
}

/// What the gate says to the same question now.
enum Today {
    Said {
        allowed: bool,
        differing: Vec<Row>,
        open: Vec<Open>,
    },
    /// It cannot be asked any more, and why.
    Moot(String),
}

/// A rule that comes to something else.
struct Row {
    rule: Rule,
    then: String,
    now: String,
}

/// A rule that stands in the way today.
struct Open {
    rule: Rule,
    message: Words,
    remedy: Option<Words>,
    retry_at: Option<Moment>,
}

/// Shows a decision to whoever has signed in.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let id = id(&request, "decision")?;
    let stored = decisions::get(&visitor.ctx, id).await.map_err(Problem::from)?;
    let today = match visitor.as_of() {
        None => Some(today(&visitor.ctx, &stored).await?),
        Some(_) => None,
    };
    let frame = Frame::of(app, Some(&visitor)).at("deployments").telling();
    let shown = Page::of(frame, stored, today, clock::now());
    page(StatusCode::OK, &named(&visitor.ctx, shown).await?)
}

impl Peopled for Page {
    fn people(&mut self) -> Vec<&mut String> {
        vec![&mut self.by]
    }
}

impl Page {
    fn of(frame: Frame, stored: Stored, today: Option<Today>, now: DateTime<Utc>) -> Self {
        let again = again(&stored);
        let Stored { decision, service, environment, version, kind, actor, .. } = stored;
        let moment = |at| Moment::of(at, now);
        let rules =
            rules(&decision.verdict, stored.inputs.as_ref(), (&environment, decision.evaluated_at), now);
        Self {
            frame,
            id: decision.id,
            service,
            environment,
            version,
            kind,
            allowed: decision.verdict.allowed,
            lifted: decision.override_reason,
            by: actor.subject,
            token: actor.token,
            said: moment(decision.evaluated_at),
            count: stored.count,
            first: moment(stored.first_evaluated_at),
            retry_at: decision.verdict.retry_at.map(moment),
            policy_version: decision.policy_version,
            deployment: stored.deployment_id,
            rules,
            has_inputs: stored.inputs.is_some(),
            again,
            today,
        }
    }
}

/// What each rule found, with what the policy demanded and the facts that it saw.
fn rules(
    verdict: &Verdict,
    inputs: Option<&Inputs>,
    (environment, at): (&str, DateTime<Utc>),
    now: DateTime<Utc>,
) -> Vec<RuleRow> {
    let mut facts: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for fact in inputs.map(|inputs| in_words(&inputs.facts, at)).unwrap_or_default() {
        facts.entry(fact.rule).or_default().push(fact.words);
    }
    let said = inputs.map(|inputs| words::in_words(&inputs.policy)).unwrap_or_default();
    let row = |check: &Check| RuleRow {
        rule: check.rule,
        mode: check.mode,
        outcome: check.outcome,
        message: check.message.clone().into(),
        retry_at: check.retry_at.map(|at| Moment::of(at, now)),
        remedy: remedy(check, environment).map(Into::into),
        policy: said.iter().find(|said| said.rule == check.rule).map(|said| said.words.clone()),
        facts: facts.remove(&check.rule).unwrap_or_default(),
    };
    verdict.checks.iter().map(row).collect()
}

fn again(stored: &Stored) -> Again {
    let Some(inputs) = &stored.inputs else { return Again::Unknown };
    let verdict = gate::evaluate(inputs, stored.decision.evaluated_at);
    match differences(&stored.decision.verdict, &verdict) {
        found if found.is_empty() && verdict.allowed == stored.decision.verdict.allowed => Again::Same,
        found => Again::Otherwise(found.into_iter().map(row).collect()),
    }
}

fn row(difference: Difference) -> Row {
    let words = |came: Option<Came>| match came {
        None => "not looked at".to_owned(),
        Some(Came { mode: Mode::Off, .. }) => "off".to_owned(),
        Some(Came { mode, outcome, code, .. }) => {
            let code = if code == outcome.as_str() { String::new() } else { format!(" ({code})") };
            let reports = if mode == Mode::Report { ", only reported" } else { "" };
            format!("{outcome}{code}{reports}")
        }
    };
    Row { rule: difference.rule, then: words(difference.before), now: words(difference.after) }
}

/// Asks the gate the same again, without an override.
async fn today(ctx: &Ctx, stored: &Stored) -> Result<Today, Problem> {
    let facts = stored.inputs.as_ref().map(|inputs| &inputs.facts);
    let known = facts.filter(|facts| facts.initiator == Initiator::Known);
    let question = Question {
        service: Name::trusted(stored.service.clone()),
        environment: Name::trusted(stored.environment.clone()),
        version: Some(Version::trusted(stored.version.clone())),
        kind: Some(stored.kind),
        preempt: facts.is_some_and(|facts| facts.preempt),
        initiated_by: known.map(|facts| facts.insiders.iter().cloned().collect()).unwrap_or_default(),
        deployer: facts.and_then(|facts| facts.deployer.clone()).map_or(Deployer::Anybody, Deployer::Named),
        override_reason: None,
    };
    let answer = match check::check(ctx, &question).await.map_err(Problem::from) {
        Ok(answer) => answer.decided.decision.verdict,
        // It is archived by now, or there already: that is an answer too.
        Err(problem) if matches!(problem.code(), Code::Conflict | Code::InvalidInput | Code::NotFound) => {
            let faults = problem.field_errors().iter().map(|fault| fault.detail.as_str());
            let faults: Vec<_> = faults.collect();
            let why = if faults.is_empty() {
                problem.detail().to_owned()
            } else {
                format!("It {}.", faults.join("; it "))
            };
            return Ok(Today::Moot(why));
        }
        Err(problem) => return Err(problem),
    };
    let now = clock::now();
    let open = |check: &Check| Open {
        rule: check.rule,
        message: check.message.clone().into(),
        remedy: remedy(check, &stored.environment).map(Into::into),
        retry_at: check.retry_at.map(|at| Moment::of(at, now)),
    };
    Ok(Today::Said {
        allowed: answer.allowed,
        differing: differences(&stored.decision.verdict, &answer).into_iter().map(row).collect(),
        open: answer.denying().map(open).collect(),
    })
}
