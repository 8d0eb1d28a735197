//! `/environments/{environment}/policy`: editing the rules of its gate.

use askama::Template;
use poem::{Request, Response, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::words::difference;
use crate::{
    api::body,
    domain::{
        environment::Environment,
        policy::{
            GroupRule, Policy,
            words::{Said, differing},
        },
        vocabulary::{Kind, Mode, Preset, Require, Severity, Word},
    },
    http::problem::Problem,
    usecase::{environments, policies},
    web::{
        form::{
            Form,
            blank::Blank,
            field::{Field, put},
            sent::{Sender, Sent, status},
        },
        page::{Frame, Visitor, app, page, see, to_login},
    },
};

/// The field of the rules that each want somebody of some groups: one on each line.
const RULES: &str = "approval/rules";

/// The field by which it is known which policy was looked at before it is saved.
const REVIEWED: &str = "reviewed";

/// What leads to that.
const REVIEW: &str = "See what it changes";

/// The field of the kinds that freezes let through.
const EXEMPT: &str = "freeze/exempt_kinds";

#[derive(Template)]
#[template(path = "policy.html")]
struct Page {
    frame: Frame,
    name: String,
    version: i64,
    presets: Vec<(&'static str, &'static str)>,
    /// The preset that it shows instead of what holds.
    preset: Option<&'static str>,
    /// Why a preset cannot be had.
    said: Option<String>,
    /// What was filled in would change.
    review: Option<Review>,
    /// Not offered from the past.
    form: Option<Blank>,
}

/// What a policy would change, to be looked at before it is saved.
struct Review {
    /// Each rule of which it says something else, with what is said now and would be then.
    rules: Vec<(Said, Said)>,
    /// Each setting, what it is, and what it would be.
    settings: Vec<(String, String, String)>,
}

/// Shows the policy to be edited, or a preset to begin with.
pub(super) async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let name = request.path_params::<String>()?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let ctx = &visitor.ctx;
    let in_force = environments::get(ctx, &name).await.map_err(Problem::from)?;
    let query = Form::of_query(&request);
    let (preset, said) = match query.get("preset").parse::<Preset>() {
        Err(_none) => (None, None),
        Ok(preset) => match policies::preset(ctx, &name, preset).await.map_err(Problem::from) {
            Ok(environment) => (Some((preset, environment.policy.policy)), None),
            Err(problem) => (None, Some(problem.detail().to_owned())),
        },
    };
    let frame = Frame::of(app, Some(&visitor)).at("environments");
    let policy = preset.as_ref().map_or(&in_force.policy.policy, |(_, policy)| policy);
    let form = form(&frame.base, &visitor.csrf(), &in_force, policy).button(REVIEW);
    let preset = preset.as_ref().map(|(preset, _)| preset.as_str());
    let form = (!visitor.travel.is_past()).then_some(form);
    page(status(None), &Page { preset, said, ..Page::new(frame, &in_force, form) })
}

impl Page {
    fn new(frame: Frame, environment: &Environment, form: Option<Blank>) -> Self {
        Self {
            frame,
            name: environment.name.to_string(),
            version: environment.policy.version,
            presets: words(Preset::ALL).collect(),
            preset: None,
            said: None,
            review: None,
            form,
        }
    }
}

/// Words of a vocabulary, each with what it means.
fn words<W: Word>(all: &'static [W]) -> impl Iterator<Item = (&'static str, &'static str)> {
    all.iter().map(|word| {
        let (word, meaning) = word.explained();
        (word, meaning.trim())
    })
}

/// The words of a vocabulary as a choice shows them.
fn choice(name: &str, label: &str, of: &'static [impl Word], value: &str) -> Field {
    let shown: Vec<_> = words(of).map(|(word, meaning)| (word, format!("{word}: {meaning}"))).collect();
    Field::choice(name, label, shown.iter().map(|(word, meaning)| (*word, meaning.as_str()))).value(value)
}

fn form(base: &str, csrf: &str, environment: &Environment, policy: &Policy) -> Blank {
    let action = format!("{base}/environments/{}/policy", environment.name);
    let blank = Blank::new("policy", action, csrf).hidden("revision", &environment.policy.version);
    let mode = |rule: &str, mode: Mode| choice(&format!("{rule}/mode"), "It is", Mode::ALL, mode.as_str());
    let Policy { freeze, promotion, approval, image, outdated, .. } = policy;
    let blank = blank
        .group("Freeze", "Whether freeze windows count.")
        .field(mode("freeze", freeze.mode))
        .field(
            Field::boxes(EXEMPT, "Let through all the same", Kind::ALL.iter().map(|kind| (kind.as_str(), "")))
                .hint("A rollback only where it is verified, a hotfix only of a token with the scope hotfix.")
                .values(&freeze.exempt_kinds),
        )
        .group("Promotion", "Whether the artefact must have run elsewhere before.")
        .field(mode("promotion", promotion.mode))
        .field(Field::names("promotion/from", "Environments").values(&promotion.from))
        .field(choice("promotion/require", "Of several", Require::ALL, promotion.require.as_str()))
        .field(
            Field::number("promotion/soak_seconds", "For how long, in seconds")
                .hint("Without a break. 3600 is an hour, 86400 a day.")
                .value(promotion.soak_seconds)
                .required(),
        )
        .group("Approval", "Whether people must have said yes.")
        .field(mode("approval", approval.mode))
        .field(Field::number("approval/required", "How many").value(approval.required).required())
        .field(
            Field::lines("approval/groups", "Of the groups")
                .hint("One on each line; anybody who may approve where there is none.")
                .values(&approval.groups),
        )
        .field(
            Field::lines(RULES, "And besides")
                .hint("One rule on each line: how many, a colon, and groups with semicolons between them, as in 1: security; leads")
                .values(approval.rules.iter().map(line)),
        )
        .field(
            Field::number("approval/expires_after_seconds", "An approval counts for, in seconds")
                .hint("604800 is a week.")
                .value(approval.expires_after_seconds)
                .required(),
        )
        .field(Field::tick("approval/allow_self", "Who made or deploys it may approve it").ticked(approval.allow_self))
        .field(
            Field::tick("approval/require_known_initiator", "Somebody must be known to have initiated it")
                .ticked(approval.require_known_initiator),
        );
    vulnerabilities(blank, policy, mode("vulnerabilities", policy.vulnerabilities.mode))
        .group("Image", "What the image must be.")
        .field(mode("image", image.mode))
        .field(Field::tick("image/require_digest", "It is named by its digest").ticked(image.require_digest))
        .field(
            Field::lines("image/allowed_repositories", "It comes from")
                .hint("A repository on each line; * stands for a part of a path, ** for any number of them.")
                .values(&image.allowed_repositories),
        )
        .group("Outdated", "Whether an older release than the current one may be deployed.")
        .field(mode("outdated", outdated.mode))
}

fn vulnerabilities(blank: Blank, policy: &Policy, mode: Field) -> Blank {
    let rule = &policy.vulnerabilities;
    let mut blank = blank
        .group(
            "Vulnerabilities",
            "How many known ones are too many. A number that is left empty is not counted.",
        )
        .field(mode);
    for severity in Severity::ALL {
        let name = format!("vulnerabilities/max/{severity}");
        blank = blank
            .field(Field::number(&name, &format!("At most {severity}")).value_if(rule.max.of(*severity)));
    }
    blank
        .field(
            Field::tick("vulnerabilities/only_fixable", "Only those that have a fix count")
                .ticked(rule.only_fixable),
        )
        .field(Field::tick("vulnerabilities/require_scan", "There must be a scan").ticked(rule.require_scan))
        .field(
            Field::number("vulnerabilities/max_scan_age_seconds", "A scan is at most so old, in seconds")
                .value_if(rule.max_scan_age_seconds),
        )
        .field(
            Field::names("vulnerabilities/scanners", "Scanners that count")
                .hint("Any where none is named.")
                .values(&rule.scanners),
        )
}

/// A rule as a line of its field.
fn line(rule: &GroupRule) -> String {
    format!("{}: {}", rule.required, rule.groups.join("; "))
}

/// The rule that a line of its field says.
fn of_line(line: &str) -> Value {
    let (required, groups) =
        match line.split_once(':').map(|(number, rest)| (number.trim().parse::<u32>(), rest)) {
            Some((Ok(required), rest)) => (required, rest),
            Some((Err(_), _)) | None => (1, line),
        };
    let groups: Vec<_> = groups.split(';').map(str::trim).filter(|group| !group.is_empty()).collect();
    json!({ "required": required, "groups": groups })
}

/// Sets the policy, once it was shown what that changes.
pub(super) async fn set(mut request: Request) -> Result<Response> {
    let name = request.path_params::<String>()?;
    let sender = Sender::of(&mut request).await?;
    let frame = Frame::of(&sender.app, Some(&sender.visitor)).at("environments");
    let review = match set_or_review(&sender, &name).await {
        Ok(Step::Saved) => return Ok(see(&format!("{}/environments/{name}", frame.base))),
        Ok(Step::Review(review, reviewed)) => Ok((review, reviewed)),
        Err(problem) => Err(problem),
    };
    let environment = environments::get(&sender.visitor.ctx, &name).await.map_err(Problem::from)?;
    let form = form(&frame.base, &sender.visitor.csrf(), &environment, &environment.policy.policy);
    match review {
        Ok((review, reviewed)) => {
            let form = form.holding(&sender.form).hidden(REVIEWED, &reviewed).button("Save this policy");
            page(status(None), &Page { review: Some(review), ..Page::new(frame, &environment, Some(form)) })
        }
        Err(problem) => {
            let sent = Sent::of(sender.form.clone(), problem)?;
            let form = form.button(REVIEW).after(Some(&sent));
            page(status(Some(&sent)), &Page::new(frame, &environment, Some(form)))
        }
    }
}

/// What was done with a policy that was sent.
enum Step {
    Saved,
    /// What it would change, and what tells it from others.
    Review(Review, String),
}

/// Sets the policy that was looked at; shows what any other would change, with what tells it from others.
async fn set_or_review(sender: &Sender, name: &str) -> Result<Step, Problem> {
    let (ctx, expected) = (&sender.visitor.ctx, sender.expected());
    let policy = read(sender, &environments::get(ctx, name).await?)?;
    let text = serde_json::to_vec(&policy).map_err(|_unwritable| Problem::internal())?;
    let reviewed = hex::encode(Sha256::digest(text));
    if sender.form.get(REVIEWED) == reviewed {
        policies::set(ctx, name, &expected, &policy).await?;
        return Ok(Step::Saved);
    }
    let before = policies::review(ctx, name, &expected, &policy).await?.policy;
    let review = Review { rules: differing(&before, &policy), settings: difference(&before, &policy) };
    Ok(Step::Review(review, reviewed))
}

/// The policy that was filled in.
fn read(sender: &Sender, environment: &Environment) -> Result<Policy, Problem> {
    let mut body = sender.body(&form("", "", environment, &environment.policy.policy));
    if let Some(Value::Array(lines)) = body.pointer_mut(&format!("/{RULES}")) {
        for line in lines {
            *line = of_line(line.as_str().unwrap_or_default());
        }
    }
    // No box that is ticked says that nothing is let through.
    if sender.form.all(EXEMPT).is_empty() {
        put(&mut body, EXEMPT, json!([]));
    }
    body::read(&sender.spec, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_line_and_a_line_a_rule() {
        for (given, required, groups) in [
            ("2: security; release leads", 2, vec!["security", "release leads"]),
            ("acme:team", 1, vec!["acme:team"]),
            ("1: acme:team", 1, vec!["acme:team"]),
            ("3:", 3, vec![]),
        ] {
            assert_eq!(of_line(given), json!({ "required": required, "groups": groups }), "{given}");
        }
        let rule = GroupRule { groups: vec!["a b".to_owned(), "c".to_owned()], required: 2 };
        assert_eq!(of_line(&line(&rule)), serde_json::to_value(&rule).unwrap());
    }
}
