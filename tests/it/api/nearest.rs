//! Names that nothing has: an error that offers the one that is meant, and never a list that is empty and reads as if all
//! were well.

use serde_json::{Value, json};
use waybill::domain::vocabulary::Scope;

use crate::{db_test, support::api::Api};

db_test!(
    async fn what_is_misspelt_in_a_path_is_not_found_and_the_nearest_is_offered(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/staging", "1.4.2").await;
        for (path, offer) in [
            ("/services/shpo", "There is no service shpo. Did you mean shop?"),
            ("/services/shpo/releases", "Did you mean shop?"),
            ("/services/shop/releases/1.42", "There is no release 1.42 of shop. Did you mean 1.4.2?"),
            ("/services/shop/releases/1.42/approvals", "Did you mean 1.4.2?"),
            ("/services/shop/releases/1.42/scans", "Did you mean 1.4.2?"),
            ("/environments/stagin", "There is no environment stagin. Did you mean staging?"),
            ("/environments/stagin/policy", "Did you mean staging?"),
            ("/services/shop/environments/stagin", "Did you mean staging?"),
        ] {
            let problem = api.get(path).await.problem(404, "not-found");
            assert!(problem["detail"].as_str().unwrap().starts_with("There is no "), "{path}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(offer), "{path}: {problem}");
        }
        let body = json!({ "service": "shop", "environment": "stagin", "version": "1.4.2" });
        let problem = api.post("/gate/check", body).await.problem(404, "not-found");
        assert!(problem["detail"].as_str().unwrap().contains("Did you mean staging?"), "{problem}");
    }
);

db_test!(
    async fn a_list_of_what_is_not_there_is_an_error(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/staging", "1.4.2").await;
        for (query, detail) in [
            ("/deployments?service=shpo", "There is no service shpo. Did you mean shop?"),
            ("/deployments?environment=stagin", "There is no environment stagin. Did you mean staging?"),
            ("/decisions?service=shpo", "There is no service shpo. Did you mean shop?"),
            ("/decisions?service=shop&version=1.42", "There is no release 1.42 of shop. Did you mean 1.4.2?"),
            ("/events?service=shpo", "There is no service shpo. Did you mean shop?"),
            (
                "/events?kind=deployment.suceeded",
                "There is no kind of event deployment.suceeded. Did you mean deployment.succeeded?",
            ),
            ("/approvals/pending?service=shpo", "There is no service shpo. Did you mean shop?"),
            ("/freeze-windows?environment=stagin", "There is no environment stagin. Did you mean staging?"),
        ] {
            let problem = api.get(query).await.problem(404, "not-found");
            assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{query}: {problem}");
        }
        api.post("/services", json!({ "name": "till" })).await.ok(201);
        for query in ["/deployments?service=till", "/decisions?service=till", "/deployments?status=failed"] {
            assert_eq!(api.get(query).await.ok(200)["items"], json!([]), "{query}");
        }
        let unlike = api.get("/deployments?service=search").await.problem(404, "not-found");
        assert_eq!(unlike["detail"], "There is no service search.");
    }
);

db_test!(
    async fn nothing_is_offered_that_the_token_may_not_see(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/staging", "1").await;
        let narrowed = api.token(&[Scope::Read], Some(&["till"]), None).await;
        let problem = narrowed.get("/services/shpo").await.problem(404, "not-found");
        assert_eq!(problem["detail"], "There is no service shpo.");
        let problem = narrowed.get("/deployments?service=shop").await.problem(404, "not-found");
        assert_eq!(problem["detail"], "There is no service shop.");
    }
);

db_test!(
    async fn query_parameters_that_there_are_not_are_refused(db: TestDb) {
        let api = Api::new(&db).await;
        api.deployed("shop/staging", "1").await;
        for (query, pointer, detail) in [
            (
                "/deployments?serivce=shop",
                "/query/serivce",
                "is not a parameter of this; did you mean `service`?",
            ),
            ("/events?service=shop&x=1", "/query/x", "is not a parameter of this; it has "),
            ("/deployments?service=shop&service=till", "/query/service", "must be given once"),
            ("/services/shop?verbose", "/query/verbose", "is not a parameter of this, which has none"),
        ] {
            let answer = api.get(query).await;
            let errors = answer.problem(400, "invalid-request")["errors"].clone();
            assert_eq!((errors.as_array().map(Vec::len), &errors[0]["pointer"]), (Some(1), &json!(pointer)));
            assert!(errors[0]["detail"].as_str().unwrap().starts_with(detail), "{query}: {errors}");
        }
        assert_eq!(api.post("/gate/check?wait=1", json!({})).await.status, 400);
        assert_eq!(api.get("/deployments?service=shop&&limit=1").await.status, 200);
    }
);

db_test!(
    async fn deployments_are_found_by_who_did_them(db: TestDb) {
        let api = Api::new(&db).await;
        let body = |who: &str, version: &str| {
            json!({
                "service": "shop", "environment": "staging", "version": version, "initiated_by": who,
                "release": { "commit_sha": "c0ffee0" },
            })
        };
        for (who, version) in [("ada", "1"), ("mira", "2")] {
            let made = api.post("/deployments", body(who, version)).await.ok(201);
            api.finished(made["deployment"]["id"].as_str().unwrap(), "succeeded").await;
        }
        let versions = async |actor: &str| -> Vec<Value> {
            let found = api.get(&format!("/deployments?actor={actor}")).await.ok(200);
            found["items"].as_array().unwrap().iter().map(|item| item["version"].clone()).collect()
        };
        assert_eq!(versions("ada").await, ["1"]);
        assert_eq!(versions("nobody").await, Vec::<Value>::new());
        let own = api.get("/deployments").await.ok(200)["items"][0]["actor"].clone();
        assert_eq!(versions(own["token"].as_str().unwrap()).await, ["2", "1"]);
        assert_eq!(versions(&own["subject"].as_str().unwrap().replace(' ', "%20")).await, ["2", "1"]);
    }
);
