//! Editing a policy on its page: in the words of the API, and never unseen.

use serde_json::json;
use waybill::domain::vocabulary::Scope;

use super::{
    acting::{Person, hidden, kinds},
    visitor::site,
};
use crate::db_test;

db_test!(
    async fn a_policy_is_edited_with_the_words_of_the_api(db: TestDb) {
        let api = site(&db).await;
        for target in ["shop/staging", "shop/prod"] {
            api.deployed(target, "1").await;
        }
        api.patch("/environments/staging", json!({})).await.ok(200);
        let mut admin = Person::of(&api, &api).await;
        let path = "/environments/prod/policy";
        let page = admin.text(path).await;
        assert_eq!(hidden(&page, path, "revision"), "0");
        assert!(
            admin.text("/environments/prod/policy?preset=production").await.contains("Nothing is saved yet")
        );
        let fields = [
            ("revision", "0"),
            ("freeze/mode", "enforce"),
            ("freeze/exempt_kinds", "rollback"),
            ("freeze/exempt_kinds", "hotfix"),
            ("promotion/mode", "enforce"),
            ("promotion/from", "staging"),
            ("promotion/require", "any"),
            ("promotion/soak_seconds", "3600"),
            ("approval/mode", "report"),
            ("approval/required", "2"),
            ("approval/groups", "leads\r\nacme:security"),
            ("approval/rules", "1: dba; release managers"),
            ("approval/expires_after_seconds", "86400"),
            ("approval/allow_self", "yes"),
            ("vulnerabilities/mode", "off"),
            ("vulnerabilities/max/critical", "0"),
            ("image/mode", "enforce"),
            ("image/require_digest", "yes"),
            ("outdated/mode", "enforce"),
        ];
        let mut wrong = fields;
        wrong[5].1 = "staging, nowhere";
        wrong[7].1 = "soon";
        let page = admin.refused(422, path, &wrong).await;
        assert!(page.contains("For how long, in seconds:</strong> must be an integer"), "{page}");
        wrong[7].1 = "1";
        let page = admin.refused(422, path, &wrong).await;
        assert!(page.contains("Environments:</strong> number 2 nowhere is not registered"), "{page}");
        assert!(page.contains("value=\"staging, nowhere\""), "what was written is kept: {page}");
        assert_eq!(admin.saved(path, &fields).await, "/environments/prod");
        let policy = &api.get(path).await.ok(200)["policy"];
        assert_eq!(policy["freeze"]["exempt_kinds"], json!(["rollback", "hotfix"]));
        assert_eq!(
            policy["promotion"],
            json!({"mode": "enforce", "from": ["staging"], "require": "any", "soak_seconds": 3600})
        );
        assert_eq!(policy["approval"]["groups"], json!(["leads", "acme:security"]));
        assert_eq!(
            policy["approval"]["rules"],
            json!([{"groups": ["dba", "release managers"], "required": 1}])
        );
        assert_eq!(policy["vulnerabilities"]["max"], json!({"critical": 0}));
        kinds(&api).await;
        let page = admin.text("/environments/prod").await;
        for part in [
            "it ran in staging before for 1h without a break",
            "<code>promotion.soak_seconds</code>",
            "version 1",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(admin.refused(412, path, &fields).await.contains("edited since"));
        let mut reader = Person::of(&api, &api.token(&[Scope::Read], None, None).await).await;
        assert!(!reader.text("/environments/prod").await.contains(path));
        assert!(reader.refused(403, path, &fields).await.contains("scope policy"));
    }
);

db_test!(
    async fn what_a_policy_changes_is_shown_before_it_is_saved(db: TestDb) {
        let api = site(&db).await;
        api.deployed("shop/prod", "1").await;
        let mut admin = Person::of(&api, &api).await;
        let path = "/environments/prod/policy";
        let fields = |soak: &'static str| {
            let off = ["freeze/mode", "promotion/mode", "approval/mode", "vulnerabilities/mode"];
            let off = off.map(|mode| (mode, "off"));
            let own = [
                ("revision", "0"),
                ("promotion/require", "any"),
                ("promotion/soak_seconds", soak),
                ("approval/required", "1"),
                ("approval/expires_after_seconds", "86400"),
                ("image/mode", "enforce"),
                ("image/require_digest", "yes"),
                ("outdated/mode", "off"),
            ];
            [&off[..], &own].concat()
        };
        let review = admin.send(path, &fields("60")).await;
        assert_eq!((review.status, &api.get(path).await.ok(200)["version"]), (200, &json!(0)));
        for part in [
            "What it changes",
            "<ins>enforced: the image is told by its digest</ins>",
            "<code>promotion.soak_seconds</code> <del>0</del> <ins>60</ins>",
            "value=\"60\"",
        ] {
            assert!(review.text.contains(part), "{part}: {}", review.text);
        }
        let reviewed = [("reviewed", hidden(&review.text, path, "reviewed"))];
        let other = admin.send(path, &[&reviewed, &fields("70")[..]].concat()).await;
        assert!(other.status == 200 && other.text.contains("<ins>70</ins>"), "{}", other.text);
        assert_eq!(api.get(path).await.ok(200)["version"], 0, "what was not looked at is not saved");
        api.put(path, json!({})).await.ok(200);
        let saved = [&reviewed, &fields("60")[..]].concat();
        assert!(admin.refused(412, path, &saved).await.contains("edited since"));
        let mut saved = saved;
        saved[5].1 = "1";
        assert_eq!(admin.done(path, &saved).await, "/environments/prod");
        assert_eq!(api.get(path).await.ok(200)["version"], 2);
    }
);
