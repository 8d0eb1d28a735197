//! Letting a command line in, by the API and the pages: each code once, with the proof of who asked, and by somebody.

use poem::http::Method;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::domain::sign_in::code::challenge;

use super::visitor::{SITE, Visitor, location, site};
use crate::{
    db_test,
    support::api::{Answer, Api},
};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

async fn ask(api: &Api) -> Value {
    let body = json!({ "challenge": challenge(VERIFIER), "client": "ada's laptop" });
    api.anonymous().post("/auth/device", body).await.ok(201)
}

async fn redeem(api: &Api, code: &Value, verifier: &str) -> Answer {
    api.anonymous().post("/auth/code", json!({ "code": code, "verifier": verifier })).await
}

async fn signed_in(api: &Api) -> Visitor {
    let mut visitor = Visitor::of(api);
    assert_eq!(location(&visitor.paste(api.secret()).await), "/account");
    visitor
}

db_test!(
    async fn a_code_that_somebody_types_lets_a_command_line_in_once(db: TestDb) {
        let api = site(&db).await;
        let asked = ask(&api).await;
        let code = asked["user_code"].as_str().unwrap();
        assert_eq!(asked["verification_uri_complete"], format!("{SITE}/login/device?code={code}"));
        assert_eq!(redeem(&api, &asked["code"], VERIFIER).await.status, 202);
        let mut visitor = Visitor::of(&api);
        let to = location(&visitor.page(&format!("/login/device?code={code}")).await).to_owned();
        assert!(to.starts_with("/login?to=%2Flogin%2Fdevice%3Fcode%3D"), "{to}");
        visitor.paste(api.secret()).await;
        let typed = code.replace('-', " ").to_lowercase().replace(' ', "+");
        let page = visitor.page(&format!("/login/device?code={typed}")).await;
        assert!(page.text.contains("ada&#39;s laptop") && page.text.contains(code), "{}", page.text);
        let csrf = visitor.csrf().await;
        let done = visitor.form("/login/device", &[("csrf", &csrf), ("code", code)]).await;
        assert!(done.text.contains("is let in"), "{}", done.text);
        let again = visitor.form("/login/device", &[("csrf", &csrf), ("code", code)]).await;
        assert_eq!(again.status, 404, "{}", again.text);

        redeem(&api, &asked["code"], "another").await.problem(401, "unauthenticated");
        let given = redeem(&api, &asked["code"], VERIFIER).await.ok(201);
        redeem(&api, &asked["code"], VERIFIER).await.problem(401, "unauthenticated");
        let line = api.bearing(given["token"].as_str().unwrap());
        line.post("/services", json!({ "name": "shop" })).await.ok(201);
        assert_eq!(given["session"]["place"], "waybill on ada's laptop");
        visitor.form("/logout", &[("csrf", &csrf)]).await;
        line.get("/services").await.ok(200);
        let path = format!("/sessions/{}", given["session"]["id"].as_str().unwrap());
        line.delete(&path).await.ok(204);
        line.get("/services").await.problem(401, "unauthenticated");
    }
);

db_test!(
    async fn nobody_is_let_in_by_a_token_a_wrong_code_or_someone_who_has_signed_out(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = signed_in(&api).await;
        for (code, status) in [("BCDF-GHJK", 404), ("nonsense", 400), ("", 200)] {
            let page = visitor.page(&format!("/login/device?code={code}")).await;
            assert_eq!(page.status, status, "{code}: {}", page.text);
        }
        redeem(&api, &json!("wrong"), VERIFIER).await.problem(401, "unauthenticated");
        let asked = ask(&api).await;
        let csrf = visitor.csrf().await;
        visitor
            .form("/login/device", &[("csrf", &csrf), ("code", asked["user_code"].as_str().unwrap())])
            .await;
        visitor.form("/logout", &[("csrf", &csrf)]).await;
        redeem(&api, &asked["code"], VERIFIER).await.problem(401, "unauthenticated");
        let wrong = json!({ "challenge": "short", "client": " " });
        let faults = api.anonymous().post("/auth/device", wrong).await.faults();
        assert_eq!(
            faults.iter().map(|fault| fault.0.as_str()).collect::<Vec<_>>(),
            ["/challenge", "/client"]
        );
    }
);

db_test!(
    async fn nobody_asks_so_often_that_others_find_no_room(db: TestDb) {
        let api = site(&db).await;
        let greedy = api.anonymous().at("192.0.2.1:4000");
        let ask = || json!({ "challenge": challenge(VERIFIER), "client": "ada's laptop" });
        for _ in 0..250 {
            greedy.post("/auth/device", ask()).await.ok(201);
        }
        let refused = greedy.at("192.0.2.1:5000").post("/auth/device", ask()).await;
        refused.problem(429, "rate-limited");
        assert!(refused.header("retry-after").is_some());
        greedy.at("192.0.2.2:4000").post("/auth/device", ask()).await.ok(201);
        let over = "UPDATE sign_in_code SET expires_at = created_at";
        api.sql().await.execute_unprepared(over).await.unwrap();
        greedy.post("/auth/device", ask()).await.ok(201);
    }
);

db_test!(
    async fn a_browser_hands_a_code_to_the_command_line_on_its_machine(db: TestDb) {
        let api = site(&db).await;
        let shown = challenge(VERIFIER);
        let path = format!("/login/cli?port=4711&state=abc&challenge={shown}");
        let mut visitor = Visitor::of(&api);
        assert!(location(&visitor.page(&path).await).starts_with("/login?to=%2Flogin%2Fcli%3Fport"));
        let mut visitor = signed_in(&api).await;
        let page = visitor.page(&path).await;
        page.ok_page();
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("form-action 'self' http://127.0.0.1:4711;"), "{policy}");
        let csrf = visitor.csrf().await;
        let fields = [("csrf", csrf.as_str()), ("port", "4711"), ("state", "abc"), ("challenge", &shown)];
        let answer = visitor.form("/login/cli", &fields).await;
        let to = location(&answer).to_owned();
        assert!(to.starts_with("http://127.0.0.1:4711/?code=") && to.ends_with("&state=abc"), "{to}");
        let code = to.split(['=', '&']).nth(1).unwrap();
        redeem(&api, &json!(code), "another").await.problem(401, "unauthenticated");
        redeem(&api, &json!(code), VERIFIER).await.ok(201);
        redeem(&api, &json!(code), VERIFIER).await.problem(401, "unauthenticated");
        for wrong in [
            format!("/login/cli?port=80&state=abc&challenge={shown}"),
            format!("/login/cli?port=evil.test&state=abc&challenge={shown}"),
            format!("/login/cli?port=4711&state=a%20b&challenge={shown}"),
        ] {
            visitor.page(&wrong).await.problem(400, "invalid-request");
        }
        let answer =
            visitor.send(Method::GET, "//login/cli?port=4711&state=abc&challenge=x", &[], None).await;
        answer.problem(422, "invalid-input");
    }
);
