//! `waybill audit verify --deep`: whoever edits in the database who may do what is found out.

use serde_json::json;
use waybill::usecase::{
    sessions::{From, begin_with_token},
    upkeep,
};

use super::{Trusting, shop_prod};
use crate::{api::audit_deep::each_is_named, db_test, support::api::Api};

/// What is done to who may do what, and what is found then: a part of one of the lines.
const TAMPERED: &[(&str, &str)] = &[
    ("UPDATE trust SET scopes = '[\"admin\"]'", ": its trust is "),
    ("UPDATE trust SET claims = '{\"project_id\":\"5\"}'", ": its trust is "),
    ("UPDATE trust SET actor_subject = 'ada'", ": its actor is "),
    ("DELETE FROM trust", ": events tell of it, but it is not on record"),
    ("DELETE FROM trust", "it is not revoked, although what it stands on is gone"),
    ("UPDATE trust SET id = parent_id FROM token WHERE kind = 'session'", "no event tells that it was made"),
    ("UPDATE token SET scopes = '[\"admin\"]' WHERE kind = 'pipeline'", ": its scopes is "),
    ("UPDATE token SET environments = NULL WHERE kind = 'pipeline'", ": its environments is null"),
    ("UPDATE token SET initiator = 'gitlab:1' WHERE kind = 'pipeline'", ": its initiator is "),
    ("UPDATE token SET commit_sha = NULL WHERE kind = 'pipeline'", ": its commit is null"),
    (
        "UPDATE token SET kind = 'token', parent_id = NULL WHERE kind = 'pipeline'",
        "no event tells that it was made",
    ),
    (
        "UPDATE token SET lingers_until = '2099-01-01T00:00:00+00:00' WHERE kind = 'pipeline'",
        ": its lingers_until is ",
    ),
    ("UPDATE token SET subject = 'ada' WHERE kind = 'session'", ": its subject is \"ada\""),
    ("UPDATE token SET groups = '[\"admins\"]' WHERE kind = 'session'", ": its groups is "),
    (
        "UPDATE token SET issuer = 'gitlab', parent_id = NULL WHERE kind = 'session'",
        ": its issuer is \"gitlab\"",
    ),
    (
        "UPDATE token SET expires_at = '2099-01-01T00:00:00+00:00' WHERE kind = 'session'",
        ": its expires_at is ",
    ),
    ("UPDATE token SET revoked_at = NULL WHERE revoked_at IS NOT NULL", ": its revoked_at is null"),
];

/// A trust that was edited and one that is gone, a pipeline that was let in, and a session of two that goes on.
async fn history(trusting: &Trusting) {
    let api = &trusting.api;
    api.patch("/trusts/shop-prod", json!({ "groups": ["ci"] })).await.ok(200);
    let mut gone = shop_prod();
    gone["name"] = json!("gone");
    api.post("/trusts", gone).await.ok(201);
    api.delete("/trusts/gone").await.ok(204);
    trusting.exchange(json!({})).await.ok(200);
    let begin = async |api: &Api| {
        let begun = begin_with_token(&api.app, api.secret(), &From::default()).await.unwrap();
        begun.session.principal.token_id
    };
    begin(api).await;
    let ended = begin(api).await;
    api.delete(&format!("/sessions/{ended}")).await.ok(204);
    while upkeep::seal_events(&api.app).await.unwrap() > 0 {}
}

db_test!(
    async fn each_way_of_tampering_with_who_may_do_what_is_named(db: TestDb) {
        let trusting = Trusting::new(&db).await;
        history(&trusting).await;
        db.assert_sound().await;
        each_is_named(&trusting.api, TAMPERED).await;
        upkeep::purge(&trusting.api.app).await.unwrap();
        db.assert_sound().await;
    }
);
