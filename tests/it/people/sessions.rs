//! Sessions: what begins and ends them, that they can do no more than what they stand on, and that no page of anybody else
//! can use them.

use chrono::TimeDelta;
use poem::http::Method;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use waybill::{clock, domain::vocabulary::Scope, usecase::upkeep};

use super::visitor::{SESSION, SITE, Visitor, location, site};
use crate::{
    db_test,
    support::api::{Api, id_of},
};

async fn signed_in(api: &Api) -> Visitor {
    let mut visitor = Visitor::of(api);
    let answer = visitor.paste(api.secret()).await;
    assert_eq!(location(&answer), "/account");
    visitor
}

db_test!(
    async fn a_pasted_token_makes_a_session_that_does_what_the_token_does(db: TestDb) {
        let api = site(&db).await;
        let reader = api.token(&[Scope::Read], Some(&["shop"]), None).await;
        let mut visitor = Visitor::of(&api);
        let answer = visitor.paste(&format!(" {} ", reader.secret())).await;
        assert_eq!((answer.status, location(&answer)), (303, "/account"));
        let cookie = answer.header("set-cookie").unwrap();
        for part in
            ["__Host-waybill=wb_", "; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure", "Max-Age=43200"]
        {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("Domain"));
        visitor.send(Method::GET, "/services", &[], None).await.ok(200);
        let page = visitor.page("/account").await;
        assert!(page.text.contains("shop") && page.text.contains("read"), "{}", page.text);
        assert!(
            !page.text.contains(reader.secret()) && !page.text.contains(visitor.secret()),
            "no secret is shown"
        );
        let body = json!({ "name": "shop" });
        let denied = visitor.fetch(Method::POST, "/services", Some(&body)).await;
        denied.problem(403, "forbidden");
        let mut admin = signed_in(&api).await;
        admin.fetch(Method::POST, "/services", Some(&body)).await.ok(201);
        let events = api.get("/events?kind=session.created").await;
        while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
        drop(events);
        let events = api.get("/events?kind=session.created").await;
        assert_eq!(events.ok(200)["items"].as_array().unwrap().len(), 2);
        assert!(!events.text.contains(visitor.secret().splitn(3, '_').last().unwrap()));
    }
);

db_test!(
    async fn a_session_ends_with_its_token(db: TestDb) {
        let api = site(&db).await;
        let made = api.post("/tokens", json!({ "name": "ada", "scopes": ["read"] })).await.ok(201);
        let mut visitor = Visitor::of(&api);
        visitor.paste(made["token"].as_str().unwrap()).await;
        visitor.send(Method::GET, "/services", &[], None).await.ok(200);
        api.delete(&format!("/tokens/{}", id_of(&made))).await.ok(204);
        visitor.send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
        assert_eq!(location(&visitor.page("/account").await), "/login?to=%2Faccount");
        let again = visitor.paste(made["token"].as_str().unwrap()).await;
        assert_eq!(again.status, 401, "{}", again.text);
        assert!(again.text.contains("revoked"));

        let soon = clock::now() + TimeDelta::milliseconds(1500);
        let body = json!({ "name": "brief", "scopes": ["read"], "expires_at": soon.to_rfc3339() });
        let brief = api.post("/tokens", body).await.ok(201);
        visitor.paste(brief["token"].as_str().unwrap()).await;
        visitor.send(Method::GET, "/services", &[], None).await.ok(200);
        tokio::time::sleep(std::time::Duration::from_millis(1600)).await;
        visitor.send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
    }
);

db_test!(
    async fn a_session_ends_when_it_is_idle_and_its_use_puts_that_off_once_a_minute(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = signed_in(&api).await;
        let sql = api.sql().await;
        let idle = async || {
            let sessions = api.get("/sessions").await.ok(200);
            sessions["items"][0]["idle_until"].as_str().unwrap().to_owned()
        };
        let begun = idle().await;
        for _ in 0..3 {
            visitor.send(Method::GET, "/services", &[], None).await.ok(200);
        }
        assert_eq!(idle().await, begun, "not with each request");
        let quarter = |ago: TimeDelta| (clock::now() + ago).format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
        let set = async |until: String| {
            let statement = format!("UPDATE token SET idle_until = '{until}' WHERE kind = 'session'");
            sql.execute_unprepared(&statement).await.unwrap();
        };
        set(quarter(TimeDelta::minutes(15))).await;
        visitor.send(Method::GET, "/services", &[], None).await.ok(200);
        assert!(idle().await >= begun, "its use puts off the end");
        set(quarter(TimeDelta::seconds(-1))).await;
        visitor.send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
        visitor.send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
        let page = visitor.page("/login").await;
        assert!(page.text.contains("Your session has ended"), "{}", page.text);
    }
);

db_test!(
    async fn session_fixation_each_sign_in_makes_a_secret_of_its_own(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = Visitor::of(&api);
        let planted = "wb_01890000000070008000000000000000_planted";
        visitor.cookies.insert(SESSION.to_owned(), planted.to_owned());
        visitor.paste(api.secret()).await;
        let first = visitor.secret().to_owned();
        assert_ne!(first, planted);
        assert_ne!(first, api.secret(), "the token itself is in no cookie");
        visitor.paste(api.secret()).await;
        assert_ne!(visitor.secret(), first);
        let mut old = Visitor::of(&api);
        old.cookies.insert(SESSION.to_owned(), first);
        old.send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
    }
);

db_test!(
    async fn two_cookies_of_one_name_are_none(db: TestDb) {
        let api = site(&db).await;
        let visitor = signed_in(&api).await;
        let two = format!("{SESSION}={0}; {SESSION}={0}", visitor.secret());
        let other = format!("waybill={}", visitor.secret());
        for cookie in [two, other] {
            let headers = [("cookie", cookie.as_str())];
            let answer = api.anonymous().send(Method::GET, "/services", &headers, None).await;
            answer.problem(401, "unauthenticated");
        }
    }
);

db_test!(
    async fn a_token_counts_before_a_cookie(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = signed_in(&api).await;
        let reader = api.token(&[Scope::Read], None, None).await;
        let bearer = format!("Bearer {}", reader.secret());
        let body = Some(json!({ "name": "shop" }).to_string().into_bytes());
        let csrf = visitor.csrf().await;
        let headers = [
            ("authorization", bearer.as_str()),
            ("origin", SITE),
            ("x-csrf-token", &csrf),
            ("content-type", "application/json"),
        ];
        visitor.send(Method::POST, "/services", &headers, body.clone()).await.problem(403, "forbidden");
        let bad = [("authorization", "Bearer wb_nobody")];
        visitor.send(Method::GET, "/services", &bad, None).await.problem(401, "unauthenticated");
        let admin = format!("Bearer {}", api.secret());
        let headers = [("authorization", admin.as_str()), ("content-type", "application/json")];
        visitor.send(Method::POST, "/services", &headers, body).await.ok(201);
    }
);

/// Every operation that changes anything, with its path filled in.
fn changes() -> Vec<(Method, String)> {
    let document: Value = serde_json::from_str(&waybill::api::document()).unwrap();
    let id = "01890000-0000-7000-8000-000000000000";
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            if method != Method::GET && operation["security"].as_array().is_some_and(|list| !list.is_empty())
            {
                let filled = ["id", "approval_id"]
                    .iter()
                    .fold(path.clone(), |path, name| path.replace(&format!("{{{name}}}"), id));
                let filled = ["service", "environment", "name", "trust", "version"]
                    .iter()
                    .fold(filled, |path, name| path.replace(&format!("{{{name}}}"), "shop"));
                assert!(!filled.contains('{'), "{filled}");
                found.push((method, filled));
            }
        }
    }
    assert!(found.len() > 20, "{}", found.len());
    found
}

db_test!(
    async fn csrf_by_fetch_no_operation_is_done_for_a_page_of_somebody_else(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = signed_in(&api).await;
        let csrf = visitor.csrf().await;
        let other = waybill::domain::session::csrf_token("another session");
        let attacks: [&[(&str, &str)]; 7] = [
            &[],
            &[("origin", SITE)],
            &[("origin", SITE), ("x-csrf-token", &other)],
            &[("x-csrf-token", &csrf)],
            &[("origin", "https://evil.test"), ("x-csrf-token", &csrf)],
            &[("origin", "https://a.waybill.test"), ("x-csrf-token", &csrf)],
            &[("origin", "null"), ("x-csrf-token", &csrf)],
        ];
        for (method, path) in changes() {
            for attack in attacks {
                let mut headers = attack.to_vec();
                headers.push(("content-type", "application/json"));
                let answer = visitor.send(method.clone(), &path, &headers, Some(b"{}".to_vec())).await;
                answer.problem(403, "forbidden");
            }
        }
        assert_eq!(api.get("/events?limit=1").await.ok(200)["items"].as_array().unwrap().len(), 0);
    }
);

db_test!(
    async fn csrf_by_form_no_page_takes_a_form_of_somebody_else(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = signed_in(&api).await;
        let csrf = visitor.csrf().await;
        let id = visitor.secret().split('_').nth(1).unwrap().to_owned();
        let end = format!("/account/sessions/{id}/end");
        for path in ["/logout", end.as_str(), "/login/device", "/login/cli"] {
            for (origin, csrf) in
                [("https://evil.test", csrf.as_str()), ("null", &csrf), (SITE, ""), (SITE, "wrong")]
            {
                let answer = visitor.form_from(origin, path, &[("csrf", csrf), ("code", "BCDF-GHJK")]).await;
                answer.problem(403, "forbidden");
            }
        }
        // Nobody is signed in as somebody else by a page of theirs.
        let mut stranger = Visitor::of(&api);
        for origin in ["https://evil.test", "null"] {
            let answer = stranger.form_from(origin, "/login", &[("token", api.secret())]).await;
            answer.problem(403, "forbidden");
        }
        assert!(stranger.cookies.is_empty());
        let json = [("content-type", "text/plain"), ("origin", SITE)];
        let body = format!("token={}", api.secret()).into_bytes();
        let answer = stranger.send(Method::POST, "//login", &json, Some(body)).await;
        answer.problem(415, "unsupported-media-type");
        visitor.page("/account").await.ok_page();
    }
);

db_test!(
    async fn open_redirect_after_login_leads_nowhere_else(db: TestDb) {
        let api = site(&db).await;
        for (to, leads) in [
            ("/account", "/account"),
            ("/login/device?code=BCDF-GHJK", "/login/device?code=BCDF-GHJK"),
            ("https://evil.test", "/account"),
            ("//evil.test", "/account"),
            ("/\\evil.test", "/account"),
            ("/\t/evil.test", "/account"),
            ("javascript:alert(1)", "/account"),
            ("", "/account"),
        ] {
            let mut visitor = Visitor::of(&api);
            let answer = visitor.form("/login", &[("token", api.secret()), ("to", to)]).await;
            assert_eq!(location(&answer), leads, "{to}");
            let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
            assert_eq!(location(&visitor.page(&format!("/login?{query}")).await), leads, "{to}");
        }
    }
);

db_test!(
    async fn signing_out_ends_a_session_at_once_on_every_replica(db: TestDb) {
        let one = site(&db).await;
        let other =
            Api::without_token(&db, |config| config.server.public_url = Some(SITE.parse().unwrap())).await;
        let mut visitor = signed_in(&one).await;
        let mut there = visitor.at(&other);
        there.send(Method::GET, "/services", &[], None).await.ok(200);
        let csrf = visitor.csrf().await;
        let out = visitor.form("/logout", &[("csrf", &csrf)]).await;
        assert_eq!(location(&out), "/login?said=signed-out");
        assert!(visitor.cookies.is_empty(), "the browser forgets it");
        there.send(Method::GET, "/services", &[], None).await.problem(401, "unauthenticated");
        assert_eq!(location(&there.page("/account").await), "/login?to=%2Faccount");
        assert_eq!(location(&visitor.form("/logout", &[("csrf", &csrf)]).await), "/login?said=signed-out");
    }
);

db_test!(
    async fn people_see_and_end_their_own_sessions_and_admins_everybodys(db: TestDb) {
        let api = site(&db).await;
        let ada = api.person("ada", &[Scope::Read], &[]).await;
        let bob = api.person("bob", &[Scope::Read], &[]).await;
        let (mut hers, mut his) = (signed_in(&ada).await, signed_in(&bob).await);
        let own = hers.send(Method::GET, "/sessions", &[], None).await.ok(200);
        let own = own["items"].as_array().unwrap().clone();
        assert_eq!((own.len(), &own[0]["subject"], &own[0]["current"]), (1, &json!("ada"), &json!(true)));
        let path = format!("/sessions/{}", id_of(&own[0]));
        his.fetch(Method::DELETE, &path, None).await.problem(404, "not-found");
        assert_eq!(api.get("/sessions").await.ok(200)["items"].as_array().unwrap().len(), 2);
        api.delete(&path).await.ok(204);
        hers.send(Method::GET, "/sessions", &[], None).await.problem(401, "unauthenticated");
        api.delete(&path).await.problem(404, "not-found");
        let narrow = api.token(&[Scope::Admin], Some(&["shop"]), None).await;
        assert_eq!(narrow.get("/sessions").await.ok(200)["items"], json!([]));
        let csrf = his.csrf().await;
        let mine = his.send(Method::GET, "/sessions", &[], None).await.ok(200);
        let end = format!("/account/sessions/{}/end", id_of(&mine["items"][0]));
        assert_eq!(location(&his.form(&end, &[("csrf", &csrf)]).await), "/account");
        his.send(Method::GET, "/sessions", &[], None).await.problem(401, "unauthenticated");
    }
);

db_test!(
    async fn only_a_token_begins_a_session_and_over_plain_http_none_does(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = signed_in(&api).await;
        let secret = visitor.secret().to_owned();
        assert_eq!(Visitor::of(&api).paste(&secret).await.status, 401, "a session begins no other");
        for wrong in ["", "wb_nobody", &"x".repeat(5000)] {
            let answer = visitor.paste(wrong).await;
            assert_eq!((answer.status, answer.header("set-cookie")), (401, None), "{}", answer.text);
        }
        let exposed =
            Api::with(&db, |config| config.server.public_url = Some("http://waybill.test".parse().unwrap()))
                .await;
        let page = Visitor::of(&exposed).page("/login").await;
        assert!(page.text.contains("server.public_url") && !page.text.contains("<form"), "{}", page.text);
        let answer = Visitor::of(&exposed)
            .form_from("http://waybill.test", "/login", &[("token", api.secret())])
            .await;
        answer.problem(403, "forbidden");
    }
);

db_test!(
    async fn pages_are_closed_to_whatever_is_not_theirs(db: TestDb) {
        let api = site(&db).await;
        let mut visitor = signed_in(&api).await;
        let mut stranger = Visitor::of(&api);
        for page in [
            visitor.page("/account").await,
            visitor.page("/login/device").await,
            stranger.page("/login").await,
        ] {
            assert_eq!(page.status, 200, "{}", page.text);
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(page.header("cache-control"), Some("no-store"));
            assert_eq!(page.header("referrer-policy"), Some("same-origin"));
            // Of a script there is our own for those who have signed in, and nothing inline.
            let own = page.text.matches("<script type=\"module\" src=\"/assets/script.").count();
            assert_eq!(
                (own, own == 1),
                (page.text.matches("<script").count(), policy.contains("script-src 'self'; "))
            );
            assert_eq!(own == 1, page.text.contains("Sign out"), "{}", page.text);
            assert!(!page.text.contains("style="), "{}", page.text);
            let style = page.text.split("href=\"").find(|part| part.starts_with("/assets/")).unwrap();
            let style = style.split_once('"').unwrap().0;
            let answer = stranger.page(style).await;
            assert_eq!(answer.header("content-type"), Some("text/css; charset=utf-8"));
            assert!(answer.header("cache-control").unwrap().contains("immutable"));
        }
        stranger.page("/assets/style.0.css").await.problem(404, "not-found");
        stranger.send(Method::PUT, "//login", &[], None).await.problem(405, "method-not-allowed");
        stranger.page("/logout").await.problem(405, "method-not-allowed");
    }
);
