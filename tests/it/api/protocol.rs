//! Wrong methods, paths, media types and headers: each refused in its kind, as problems.

use poem::http::Method;
use serde_json::json;

use crate::{db_test, support::api::Api};

db_test!(
    async fn other_media_types_methods_and_paths_are_refused_in_kind(db: TestDb) {
        let api = Api::new(&db).await;
        let body = || Some(br#"{"name": "shop"}"#.to_vec());
        for kind in [
            "text/plain",
            "application/xml",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded",
        ] {
            let answer = api.send(Method::POST, "/services", &[("content-type", kind)], body()).await;
            answer.problem(415, "unsupported-media-type");
        }
        api.send(Method::POST, "/services", &[], body()).await.problem(415, "unsupported-media-type");
        for (method, path) in [
            (Method::PUT, "/services"),
            (Method::DELETE, "/services"),
            (Method::PATCH, "/deployments"),
            (Method::POST, "/matrix"),
            (Method::DELETE, "/deployments/01890000-0000-7000-8000-000000000000"),
            (Method::PUT, "/events"),
            (Method::TRACE, "/services"),
        ] {
            let answer = api.send(method.clone(), path, &[], None).await;
            answer.problem(405, "method-not-allowed");
            assert!(answer.header("allow").is_some(), "{method} {path}");
        }
        for path in [
            "/nothing",
            "/",
            "/deployments/",
            "//api",
            "//api/v2/services",
            "/services/a/b/c/d",
            "//%2e%2e/etc",
        ] {
            api.get(path).await.problem(404, "not-found");
        }
        for path in [
            "/services/%00",
            "/services/%ff",
            "/services/a%2fb",
            "/deployments/%00",
            "/services/shop/releases/%00",
        ] {
            api.get(path).await.assert_refused(path);
        }
        for query in [
            "/deployments?service=%00",
            "/deployments?environment=%ff",
            "/events?kind=%00",
            "/events?after_seq=-1",
            "/events?service=a%00b",
            "/events?after_seq=99999999999999999999",
            "/matrix?as_of=%00",
        ] {
            let answer = api.get(query).await;
            if answer.status != 200 {
                answer.assert_refused(query);
            }
        }
    }
);

db_test!(
    async fn headers_of_any_kind_are_kept_or_refused(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        let long = "x".repeat(8000);
        for (name, value) in [
            ("x-request-id", long.as_str()),
            ("x-request-id", "'; --"),
            ("idempotency-key", long.as_str()),
            ("if-match", long.as_str()),
            ("if-match", "\"-1\""),
            ("accept", "text/html"),
            ("accept-encoding", "br;q=nonsense"),
            ("content-type", "application/json; charset=utf-16"),
        ] {
            let answer = api.send_json(Method::PATCH, "/services/shop", &[(name, value)], &json!({})).await;
            if answer.status != 200 {
                answer.assert_refused(name);
            }
            assert!(
                answer.header("x-request-id").unwrap().len() <= 200,
                "a request's id is not repeated unseen"
            );
        }
    }
);

db_test!(
    async fn an_edit_is_for_the_revisions_that_it_lists(db: TestDb) {
        let api = Api::new(&db).await;
        api.post("/services", json!({ "name": "shop" })).await.ok(201);
        api.post("/environments", json!({ "name": "prod", "tier": "production" })).await.ok(201);
        for (path, field) in [("/services/shop", "owner"), ("/environments/prod", "url")] {
            let mut revision = 1;
            for (headers, status) in [
                (vec!["\"7\", \"8\""], 412),
                (vec!["W/\"1\""], 412),
                (vec!["1"], 412),
                (vec!["\"9\", \"1\""], 200),
                (vec!["\"1\"", "\"2\""], 200),
                (vec!["*"], 200),
            ] {
                let lines: Vec<_> = headers.iter().map(|value| ("if-match", *value)).collect();
                let change = json!({ field: format!("https://waybill.test/{revision}") });
                let answer = api.send_json(Method::PATCH, path, &lines, &change).await;
                assert_eq!(answer.status, status, "{path} {headers:?}: {}", answer.text);
                revision += i32::from(status == 200);
                let tag = api.get(path).await.header("etag").unwrap().to_owned();
                assert_eq!(tag, format!("\"{revision}\""));
            }
        }
        let policy = |headers: &'static [(&str, &str)]| {
            let api = api.clone();
            async move { api.send_json(Method::PUT, "/environments/prod/policy", headers, &json!({})).await }
        };
        policy(&[("if-match", "\"3\", W/\"0\"")]).await.problem(412, "stale");
        policy(&[("if-match", "\"3\""), ("if-match", "\"0\"")]).await.ok(200);
    }
);

db_test!(
    async fn too_many_requests_are_told_to_wait(db: TestDb) {
        let api = Api::with(&db, |config| {
            config.limits.requests_per_second = 1;
            config.limits.burst = 3;
        })
        .await;
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(api.get("/services").await);
        }
        assert!(answers[..3].iter().all(|answer| answer.status == 200), "a burst is let through");
        let answer = answers.into_iter().find(|answer| answer.status != 200).unwrap();
        answer.problem(429, "rate-limited");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        let other = api.token(&[waybill::domain::vocabulary::Scope::Read], None, None).await;
        other.get("/services").await.ok(200);
    }
);
