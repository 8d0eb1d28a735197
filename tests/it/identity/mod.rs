//! Who asks: pipelines that show their CI's ID token.

mod attacks;
mod exchange;
mod issuers;
mod tampered;
mod trusts;

use serde_json::{Value, json};

use crate::support::{
    api::{Answer, Api},
    db::TestDb,
    issuer::{Issuer, Key},
};

/// A server that knows GitLab, and trusts the project 4711 to deploy shop.
struct Trusting {
    api: Api,
    gitlab: Issuer,
}

impl Trusting {
    async fn new(db: &TestDb) -> Self {
        Self::with(db, Key::ec()).await
    }

    async fn with(db: &TestDb, key: Key) -> Self {
        let gitlab = Issuer::start("gitlab", key).await;
        let api = Api::with(db, |config| gitlab.configure(config)).await;
        api.post("/trusts", shop_prod()).await.ok(201);
        Self { api, gitlab }
    }

    /// Shows an ID token with these claims in place of the usual ones.
    async fn exchange(&self, change: Value) -> Answer {
        show(&self.api, &self.gitlab.sign(&self.gitlab.gitlab(&change))).await
    }

    /// As the pipeline with these claims in place of the usual ones.
    async fn pipeline(&self, change: Value) -> Api {
        let exchanged = self.exchange(change).await.ok(200);
        self.api.bearing(exchanged["token"].as_str().unwrap())
    }
}

/// Shows an ID token.
async fn show(api: &Api, id_token: &str) -> Answer {
    api.anonymous().post("/auth/exchange", json!({ "id_token": id_token })).await
}

fn shop_prod() -> Value {
    json!({ "name": "shop-prod", "issuer": "gitlab", "claims": { "project_id": "4711", "ref_protected": "true" },
        "scopes": ["read", "deploy"], "services": ["shop"], "environments": ["prod", "staging"] })
}
