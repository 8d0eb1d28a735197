//! Every page there is, looked at and sent by those who may see one service in one environment: nothing else is told by any, and
//! what is somebody else's answers as what does not exist. The pages are those that the server knows, so that none is forgotten.

use poem::http::Method;
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope, usecase::upkeep};

use super::{
    acting::Person,
    visitor::{looking, pages, site},
};
use crate::{
    db_test,
    support::api::{Answer, Api, id_of, start_body},
};

/// It is in all that the one who looks may not see.
const HIDDEN: &str = "zinnober";
/// What was never made: of a name, and of an id.
const NOTHING: [&str; 2] = ["nothing", "01890000-0000-7000-8000-000000000000"];

/// The values of the parameters of a page.
struct Values {
    /// Those of the one who looks, of which there is none where nothing of this kind is theirs.
    own: Option<String>,
    hidden: String,
}

/// Two services in two environments, and whatever may be said of them. Gives the ids of what is made, by what they are of.
async fn ledger(api: &Api) -> Vec<(&'static str, Values)> {
    let mut ids = Vec::new();
    let (mut own, mut other) = (None, None);
    for target in ["shop/dev", "shop/zinnober-env", "zinnober/dev"] {
        let mut body = start_body(target, "1");
        let is_own = target == "shop/dev";
        body["reason"] = json!(if is_own { "mine" } else { "zinnober reason" });
        body["initiated_by"] = json!(if is_own { "ada" } else { "zinnober-ada" });
        let made = api.post("/deployments", body).await.ok(201);
        let (id, decision) = (id_of(&made["deployment"]), id_of(&made["decision"]));
        api.finished(&id, "succeeded").await;
        *(if is_own { &mut own } else { &mut other }) = Some((id, decision));
    }
    let ((own, own_decision), (hidden, hidden_decision)) = (own.unwrap(), other.unwrap());
    ids.push(("/deployments/", Values { own: Some(own), hidden }));
    ids.push(("/decisions/", Values { own: Some(own_decision), hidden: hidden_decision }));
    let about = json!({ "owner": "zinnober team", "description": "zinnober" });
    api.patch("/services/zinnober", about).await.ok(200);
    let policy = json!({ "approval": { "required": 1, "groups": ["zinnober group"] } });
    api.put("/environments/zinnober-env/policy", policy).await.ok(200);
    api.start("shop/zinnober-env", "2").await.problem(409, "gate-denied");
    let said = json!({ "environment": "zinnober-env", "decision": "approved", "comment": "zinnober" });
    let said = api.post("/services/zinnober/releases/1/approvals", said).await.ok(201);
    ids.push(("/approvals/", Values { own: None, hidden: id_of(&said) }));
    api.put("/environments/zinnober-env/lockdown", json!({ "reason": "zinnober burns" })).await.ok(200);
    let until = (clock::now() + chrono::TimeDelta::days(9)).to_rfc3339();
    let window = json!({ "name": "zinnober", "reason": "zinnober", "environments": ["zinnober-env"],
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2126-01-02T00:00:00Z" });
    let window = api.post("/freeze-windows", window).await.ok(201);
    ids.push(("/freeze-windows/", Values { own: None, hidden: id_of(&window) }));
    let waiver = json!({ "vulnerability": "CVE-2021-44228", "reason": "zinnober never reads any text of users",
        "expires_at": until, "services": ["zinnober"] });
    let waiver = api.post("/waivers", waiver).await.ok(201);
    ids.push(("/waivers/", Values { own: None, hidden: id_of(&waiver) }));
    let token = json!({ "name": "zinnober-ci", "scopes": ["read"], "services": ["zinnober"] });
    let token = api.post("/tokens", token).await.ok(201);
    ids.push(("/tokens/", Values { own: None, hidden: id_of(&token) }));
    drop(looking(api, &api.bearing(token["token"].as_str().unwrap())).await);
    let sessions = api.get("/sessions").await.ok(200);
    ids.push(("/sessions/", Values { own: None, hidden: id_of(&sessions["items"][0]) }));
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
    ids
}

/// What stands in the place of a parameter: of the one who looks, hidden from them, and never made.
fn values(template: &str, name: &str, ids: &[(&str, Values)]) -> (Option<String>, String, &'static str) {
    match name {
        "{service}" => (Some("shop".to_owned()), HIDDEN.to_owned(), NOTHING[0]),
        "{environment}" => (Some("dev".to_owned()), "zinnober-env".to_owned(), NOTHING[0]),
        // The releases of a service that one may see are all seen.
        "{version}" => (Some("1".to_owned()), NOTHING[0].to_owned(), NOTHING[0]),
        "{trust}" => (None, HIDDEN.to_owned(), NOTHING[0]),
        "{id}" if template.starts_with("/vulnerabilities/") => {
            (Some("CVE-2021-44228".to_owned()), NOTHING[1].to_owned(), NOTHING[1])
        }
        "{id}" => {
            let found = ids.iter().find(|(of, _)| template.contains(&format!("{of}{{id}}")));
            let (_, values) = found.unwrap_or_else(|| panic!("what is an id of {template}?"));
            (values.own.clone(), values.hidden.clone(), NOTHING[1])
        }
        _ => panic!("what is {name} of {template}?"),
    }
}

/// The addresses of a page: those of the one who looks, and those of what is hidden, each with one that differs in this alone
/// and leads to nothing.
fn addresses(template: &str, ids: &[(&str, Values)]) -> (Option<String>, Vec<(String, String)>) {
    let parameters: Vec<_> = template.split('/').filter(|part| part.starts_with('{')).collect();
    let mut own = Some(template.to_owned());
    for name in &parameters {
        let (value, _, _) = values(template, name, ids);
        own = own.zip(value).map(|(path, value)| path.replace(name, &value));
    }
    let hidden = parameters.iter().map(|of| {
        let (mut hidden, mut nothing) = (template.to_owned(), template.to_owned());
        for name in &parameters {
            let (mine, theirs, none) = values(template, name, ids);
            let mine = mine.unwrap_or_else(|| none.to_owned());
            hidden = hidden.replace(name, if name == of { &theirs } else { &mine });
            nothing = nothing.replace(name, if name == of { none } else { &mine });
        }
        (hidden, nothing)
    });
    (own, hidden.collect())
}

/// What an answer tells, without the number of the request and what was asked for: that by which the path differs from the other.
fn told(answer: &Answer, path: &str, other: &str) -> (u16, String) {
    let mut body: Value = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| !["request_id", "instance", "web_url"].contains(&name.as_str()));
    }
    let differing = path.split('/').zip(other.split('/')).filter(|(one, other)| one != other);
    (answer.status, differing.fold(body.to_string(), |text, (part, _)| text.replace(part, "…")))
}

db_test!(
    async fn no_page_tells_or_does_more_than_whoever_looks_may_see(db: TestDb) {
        let api = site(&db).await;
        let ids = ledger(&api).await;
        let pages = pages();
        for scope in [Scope::Read, Scope::Admin] {
            let holder = api.token(&[scope], Some(&["shop"]), Some(&["dev"])).await;
            let mut person = Person::of(&api, &holder).await;
            for (template, methods) in &pages {
                let (own, hidden) = addresses(template, &ids);
                if let Some(path) = own.filter(|_| methods.contains(&Method::GET)) {
                    let page = person.browser.page(&path).await;
                    assert!(matches!(page.status, 200 | 303 | 403), "{path}: {} {}", page.status, page.text);
                    assert!(!page.text.contains(HIDDEN), "{scope:?} {path}: {}", page.text);
                }
                for (path, nothing) in hidden {
                    if methods.contains(&Method::GET) {
                        let theirs = person.browser.page(&path).await;
                        let none = person.browser.page(&nothing).await;
                        assert!(theirs.status >= 400, "{scope:?} {path}: {}", theirs.text);
                        assert_eq!(
                            told(&theirs, &path, &nothing),
                            told(&none, &nothing, &path),
                            "{scope:?} {path}"
                        );
                    }
                    if methods.contains(&Method::POST) {
                        let theirs = person.send(&path, &[]).await;
                        let none = person.send(&nothing, &[]).await;
                        assert_eq!(
                            told(&theirs, &path, &nothing),
                            told(&none, &nothing, &path),
                            "{scope:?} {path}"
                        );
                    }
                }
            }
            let (_, deployment) = &ids[0];
            for q in [HIDDEN, "zinnober-ada", &deployment.hidden] {
                let page = person.text(&format!("/search?q={q}")).await;
                assert!(page.contains("Nothing is called so"), "{scope:?} {q}: {page}");
            }
        }
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        let log = api.get("/events?order=newest-first&limit=4").await.ok(200);
        let kinds: Vec<_> = log["items"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
        assert!(kinds.iter().all(|kind| *kind == "session.created" || *kind == "token.created"), "{kinds:?}");
    }
);
