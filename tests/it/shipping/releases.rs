//! Releases and rollbacks by the scripts, in a cluster that is played: what they leave behind, what they refuse, and that the
//! way back is open whatever happened on the way.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, IMAGE};

/// A cluster in which these versions were released one after the other.
fn with_releases(versions: &[&str]) -> Cluster {
    let cluster = Cluster::new();
    cluster.ok("deploy --admin");
    for version in versions {
        release(&cluster, version);
    }
    cluster
}

fn release(cluster: &Cluster, version: &str) {
    cluster.ok(&format!("deploy --image {IMAGE}:{version} --version {version}"));
}

fn image(version: &str) -> String {
    format!("{IMAGE}:{version}")
}

/// What a release of this version is noted as.
fn noted(version: &str) -> String {
    format!("{version} {IMAGE}:{version}")
}

fn secret_of(pod: &Value) -> &str {
    let volumes = pod["volumes"].as_array().unwrap();
    volumes.iter().find_map(|volume| volume["secret"]["secretName"].as_str()).unwrap()
}

#[test]
fn what_was_released_is_what_git_says_and_what_apply_k_gives() {
    let cluster = Cluster::new();
    let first = cluster.ok("deploy --admin");
    assert!(first.lines().count() < 120, "{first}");
    assert_eq!(cluster.waybill()["spec"]["replicas"], 3, "by number, before any autoscaler has looked");
    release(&cluster, "0.2.0");
    assert_eq!(cluster.written("waybill"), Some(image("0.2.0")));
    let built = cluster.ok("kubectl kustomize kustomize/overlays/prod");
    assert!(!built.contains(&image("0.1.0")), "an image is named elsewhere too");
    assert!(built.contains(&format!("kubernetes.io/change-cause: {}", noted("0.2.0"))));
    // A later `kubectl apply` by hand finds what it looks for on every object, and warns about none.
    for (name, object) in cluster.objects().as_object().unwrap() {
        let is_made_by_us = !["Pod", "ReplicaSet", "Namespace"].contains(&object["kind"].as_str().unwrap());
        assert!(!is_made_by_us || object["metadata"]["annotations"]["last-applied"] == "yes", "{name}");
    }
    // Without an image, it is the same again.
    cluster.ok("deploy");
    assert_eq!(cluster.cause(), noted("0.2.0"));
}

#[test]
fn an_image_that_git_and_cluster_disagree_about_is_a_persons_choice() {
    let cluster = with_releases(&["0.2.0"]);
    let home = fs::read_to_string(cluster.home()).unwrap();
    fs::write(cluster.home(), home.replace("0.2.0", "0.1.0")).unwrap();
    let refused = cluster.run("deploy");
    refused.refused(1, "say by --image which is meant");
    assert!(refused.text.contains(&image("0.1.0")) && refused.text.contains(&image("0.2.0")));
    cluster.ok(&format!("deploy --write --image {IMAGE}:0.2.0 --version 0.2.0"));
    cluster.ok("deploy");
    assert_eq!(fs::read_to_string(cluster.home()).unwrap(), home);
    fs::write(cluster.home(), "images: []").unwrap();
    cluster.run("deploy").refused(1, "not JSON");
}

#[test]
fn a_rollback_brings_todays_passwords_along() {
    let cluster = with_releases(&["0.2.0"]);
    let before = secret_of(&cluster.waybill()["spec"]["template"]["spec"]).to_owned();
    cluster.set_passwords("second");
    cluster
        .run(&format!("deploy --track canary --image {IMAGE}:0.2.0"))
        .refused(1, "does not have the passwords");
    cluster.ok("deploy");
    assert_eq!(cluster.cause(), noted("0.2.0"));
    cluster.ok("rollback");
    assert_eq!(cluster.cause(), noted("0.1.0"));
    assert_eq!(cluster.written("waybill"), Some(image("0.1.0")));
    let waybill = cluster.waybill();
    assert_ne!(secret_of(&waybill["spec"]["template"]["spec"]), before);
    assert_eq!(waybill["status"]["readyReplicas"], 3);
    // The revision of before the change is the very release that was left.
    cluster.run("rollback").refused(1, "no earlier release");
    cluster.ok("rollback --to-version 0.2.0");
    assert_eq!(cluster.cause(), noted("0.2.0"));
}

#[test]
fn a_release_with_new_passwords_that_fails_is_taken_back_to_pods_that_can_log_in() {
    let cluster = with_releases(&["0.2.0"]);
    cluster.set_passwords("second");
    cluster.world(&json!({"broken": [image("0.3.0")]}));
    cluster
        .run(&format!("deploy --image {IMAGE}:0.3.0 --version 0.3.0"))
        .refused(1, "returning to revision 2");
    assert_eq!(cluster.cause(), noted("0.2.0"));
    assert_eq!(cluster.waybill()["status"]["readyReplicas"], 3);
    assert_eq!(cluster.written("waybill"), Some(image("0.2.0")));
}

#[test]
fn a_canary_that_is_promoted_by_hand_keeps_its_version() {
    let cluster = with_releases(&[]);
    cluster.ok(&format!("deploy --track canary --image {IMAGE}:0.2.0 --version 0.2.0"));
    assert_eq!(cluster.written("waybill-canary"), Some(image("0.2.0")));
    cluster.ok("deploy --promote canary");
    assert_eq!(cluster.cause(), noted("0.2.0"));
    assert_eq!(cluster.written("waybill-canary"), None);
    cluster.ok("rollback --to-version 0.1.0");
    cluster.ok("rollback --to-version 0.2.0");
    assert_eq!(cluster.cause(), noted("0.2.0"));
}

#[test]
fn a_canary_comes_after_a_preview_that_failed_and_otherwise_by_the_advice_that_is_given() {
    let cluster = with_releases(&[]);
    cluster.world(&json!({"missing": [image("0.2.0")]}));
    cluster.run(&format!("deploy --track preview --image {IMAGE}:0.2.0")).refused(1, "not found");
    let selected =
        |cluster: &Cluster| cluster.objects()["service/waybill"]["spec"]["selector"]["track"].take();
    assert_eq!(selected(&cluster), "stable");
    cluster.ok(&format!("deploy --track canary --image {IMAGE}:0.3.0"));
    assert_eq!(selected(&cluster), Value::Null);
    cluster.ok("rollback --track canary");
    cluster.ok(&format!("deploy --track preview --image {IMAGE}:0.3.0"));
    let canary = format!("deploy --track canary --image {IMAGE}:0.4.0");
    cluster.run(&canary).refused(1, "pods of blue");
    cluster.ok("deploy --promote preview");
    cluster.run(&canary).refused(1, "--track stable --image IMAGE, --promote stable, --retire blue");
    cluster.ok(&format!("deploy --track stable --image {IMAGE}:0.3.0"));
    cluster.ok("deploy --promote stable");
    cluster.ok("deploy --retire blue");
    cluster.ok(&canary);
    assert_eq!(selected(&cluster), Value::Null);
}

#[test]
fn a_release_that_worked_once_and_fails_now_stays_one_to_return_to() {
    let cluster = with_releases(&["0.2.0"]);
    cluster.world(&json!({"broken": [image("0.1.0")]}));
    cluster
        .run(&format!("deploy --image {IMAGE}:0.1.0 --version 0.1.0"))
        .refused(1, "returning to revision 2");
    cluster.world(&json!({}));
    cluster.ok("rollback");
    assert_eq!(cluster.cause(), noted("0.1.0"));
    // One that never worked is none.
    cluster.world(&json!({"broken": [image("0.3.0")]}));
    cluster.run(&format!("deploy --image {IMAGE}:0.3.0 --version 0.3.0")).refused(1, "failed");
    assert!(cluster.ok("rollback --list").contains(&format!("{} (failed)", noted("0.3.0"))));
    cluster.run("rollback").refused(1, "no earlier release");
}

#[test]
fn an_image_that_does_not_exist_is_not_waited_for() {
    let cluster = with_releases(&[]);
    let old = json!({"metadata": {"uid": "old", "resourceVersion": "1"}, "lastTimestamp": "2026-11-21T08:00:00Z",
        "involvedObject": {"kind": "Pod", "name": "gone"}, "reason": "BackOff", "message": "of last week"});
    cluster.world(&json!({"missing": [image("0.2.0")], "events": [old]}));
    let began = Instant::now();
    let outcome = cluster.run(&format!("DEPLOY_TIMEOUT=300s deploy --image {IMAGE}:0.2.0"));
    outcome.refused(1, &format!("ErrImagePull: failed to resolve reference \"{}\"", image("0.2.0")));
    assert!(outcome.text.contains("not found") && !outcome.text.contains("last week"), "{}", outcome.text);
    assert!(began.elapsed().as_secs() < 200, "it waited for what cannot come");
    assert_eq!(cluster.cause(), noted("0.1.0"));
}

#[test]
fn an_empty_database_is_made_for_a_server_that_rests() {
    let cluster = with_releases(&["0.2.0"]);
    cluster.world(&json!({"lost": true}));
    cluster.ok("kubectl scale deployment/waybill --replicas=0");
    let said = cluster.ok("deploy");
    assert!(said.contains("nobody was asked"), "{said}");
    assert_eq!(cluster.waybill()["spec"]["replicas"], 0);
    cluster.ok("kubectl scale deployment/waybill --replicas=3");
    assert_eq!(cluster.waybill()["status"]["readyReplicas"], 3, "the pods that start migrate it");
}
