//! The Kubernetes manifests as a whole: they build, their parts find each other, and what can never be changed on a running
//! cluster stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;

use crate::support::manifests::{
    BY_HAND, ENVIRONMENTS, Kustomize, Manifests, combinations, items, text, title,
};

/// Labels that stay the same for as long as an object lives.
const IMMUTABLE_LABELS: [&str; 4] =
    ["app.kubernetes.io/component", "app.kubernetes.io/name", "app.kubernetes.io/part-of", "track"];

/// The selectors of the first release. Kubernetes refuses to change those of a Deployment or StatefulSet, and pods that a
/// Service loses are an outage.
const SELECTORS: &str = "
Deployment/waybill: component=server name=waybill track=stable
Deployment/waybill-blue: component=server name=waybill track=blue
Deployment/waybill-canary: component=server name=waybill track=canary
Deployment/waybill-green: component=server name=waybill track=green
PodDisruptionBudget/waybill: component=server name=waybill track=stable
PodDisruptionBudget/waybill-blue: component=server name=waybill track=blue
PodDisruptionBudget/waybill-green: component=server name=waybill track=green
PodDisruptionBudget/waybill-postgres: component=postgres name=waybill
Service/waybill: component=server name=waybill
Service/waybill-canary: component=server name=waybill track=canary
Service/waybill-metrics: component=server name=waybill
Service/waybill-postgres: component=postgres name=waybill
Service/waybill-stable: component=server name=waybill track=stable
StatefulSet/waybill: component=server name=waybill track=stable
StatefulSet/waybill-postgres: component=postgres name=waybill
";

/// The only custom resources, by environment; dev has none, so that it runs on a bare cluster.
const CUSTOM: [(&str, &[&str]); 3] =
    [("dev", &[]), ("staging", &[]), ("prod", &["ServiceMonitor", "PrometheusRule"])];

fn selector(object: &Value) -> Option<&Value> {
    match text(&object["kind"]) {
        "Service" => Some(&object["spec"]["selector"]),
        "Deployment" | "StatefulSet" | "PodDisruptionBudget" => {
            Some(&object["spec"]["selector"]["matchLabels"])
        }
        _ => None,
    }
}

fn fits(selector: &Value, labels: &Value) -> bool {
    selector.as_object().unwrap().iter().all(|(key, value)| &labels[key] == value)
}

/// Every environment and combination, built.
fn all() -> Vec<(String, Manifests)> {
    let kustomize = Kustomize::new();
    let overlays = ENVIRONMENTS.map(|name| (name.to_owned(), kustomize.overlay(name)));
    let combined = combinations();
    let combined =
        combined.iter().map(|components| (components.join("+"), kustomize.combination(components)));
    overlays.into_iter().chain(combined).collect()
}

#[test]
fn everything_builds_without_a_warning_and_every_object_is_labelled() {
    assert!(ENVIRONMENTS.len() + combinations().len() <= 20, "more than anybody can look after");
    for (name, manifests) in all() {
        assert!(!manifests.servers().is_empty(), "{name}");
        for object in &manifests.0 {
            let labels = &object["metadata"]["labels"];
            for label in &IMMUTABLE_LABELS[1..3] {
                let is_generated_here = object["kind"] == "Secret" && !ENVIRONMENTS.contains(&name.as_str());
                assert!(
                    labels[label] == "waybill" || is_generated_here,
                    "{name}: {} lacks {label}",
                    title(object)
                );
            }
        }
        let titles: BTreeSet<String> = manifests.0.iter().map(title).collect();
        assert_eq!(titles.len(), manifests.0.len(), "{name}: two objects have one name");
    }
}

#[test]
fn without_secrets_nothing_is_built() {
    let kustomize = Kustomize::new();
    for environment in ENVIRONMENTS {
        let folder = format!("overlays/{environment}");
        fs::remove_file(kustomize.path(&folder).join("secret.env")).unwrap();
        let refusal = kustomize.build(&folder).unwrap_err();
        assert!(refusal.contains("secret.env") && refusal.contains("no such file"), "{refusal}");
    }
}

/// The keys of the Secret that pods mount.
fn mounted_keys(manifests: &Manifests) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for workload in manifests.workloads() {
        for container in workload.containers() {
            let from_secret = |source: &Value| !source["secretRef"].is_null();
            assert!(!items(&container["envFrom"]).iter().any(from_secret), "{}", workload.name);
            let is_secret = |entry: &Value| !entry["valueFrom"]["secretKeyRef"].is_null();
            assert!(!items(&container["env"]).iter().any(is_secret), "{}: secrets are files", workload.name);
        }
        for volume in items(&workload.pod()["volumes"]).iter().filter(|volume| !volume["secret"].is_null()) {
            let picked = items(&volume["secret"]["items"]);
            assert!(!picked.is_empty(), "{}: a pod mounts only the keys that it needs", workload.name);
            keys.extend(picked.iter().map(|item| text(&item["key"]).to_owned()));
        }
    }
    keys
}

#[test]
fn the_example_of_the_secrets_has_every_key_and_no_value() {
    let kustomize = Kustomize::new();
    for environment in ENVIRONMENTS {
        let example =
            fs::read_to_string(kustomize.path(&format!("overlays/{environment}/secret.env.example")))
                .unwrap();
        let lines = example.lines().filter(|line| !line.starts_with('#'));
        let keys: BTreeSet<String> =
            lines.map(|line| line.strip_suffix('=').expect("a key without a value").to_owned()).collect();
        assert_eq!(keys, mounted_keys(&kustomize.overlay(environment)), "{environment}");
    }
}

#[test]
fn selectors_are_those_of_the_first_release() {
    for (name, manifests) in all() {
        let mut known = BTreeMap::new();
        for line in SELECTORS.lines().filter(|line| !line.is_empty()) {
            let (title, labels) = line.split_once(": ").unwrap();
            known.insert(title.to_owned(), labels.to_owned());
        }
        if name.contains("blue-green") {
            let colours = if name.contains("green-active") { ["green", "blue"] } else { ["blue", "green"] };
            for (service, colour) in ["waybill", "waybill-preview"].into_iter().zip(colours) {
                let labels = format!("component=server name=waybill track={colour}");
                known.insert(format!("Service/{service}"), labels);
            }
        }
        for object in &manifests.0 {
            let Some(selector) = selector(object) else { continue };
            let labels = selector.as_object().unwrap().iter();
            let labels: Vec<String> = labels
                .map(|(key, value)| {
                    format!("{}={}", key.trim_start_matches("app.kubernetes.io/"), text(value))
                })
                .collect();
            let title = title(object);
            let expected = known.get(&title);
            assert_eq!(expected, Some(&labels.join(" ")), "{name}: the selector of {title}");
        }
    }
}

#[test]
fn no_label_that_may_change_is_where_it_can_never_be_changed() {
    for (name, manifests) in all() {
        for object in &manifests.0 {
            let mut labels = BTreeSet::new();
            let mut collect = |value: &Value| {
                labels.extend(value.as_object().into_iter().flat_map(|map| map.keys().cloned()));
            };
            if let Some(selector) = selector(object) {
                collect(selector);
            }
            for claim in items(&object["spec"]["volumeClaimTemplates"]) {
                collect(&claim["metadata"]["labels"]);
            }
            let mutable = labels.iter().find(|label| !IMMUTABLE_LABELS.contains(&label.as_str()));
            assert_eq!(mutable, None, "{name}: {}", title(object));
        }
    }
}

#[test]
fn every_selector_finds_pods_and_every_port_is_one_of_theirs() {
    for (name, manifests) in all() {
        let workloads = manifests.workloads();
        for object in &manifests.0 {
            let Some(selector) = selector(object) else { continue };
            let selected: Vec<_> =
                workloads.iter().filter(|workload| fits(selector, workload.labels())).collect();
            assert!(!selected.is_empty(), "{name}: {} selects nothing", title(object));
            if object["kind"] == "Deployment" || object["kind"] == "StatefulSet" {
                let names: Vec<&str> = selected.iter().map(|workload| workload.name.as_str()).collect();
                assert_eq!(names, [title(object)], "{name}: a selector takes the pods of another");
            }
            for port in items(&object["spec"]["ports"]) {
                let declares = |container: &Value| {
                    items(&container["ports"]).iter().any(|declared| declared["name"] == port["targetPort"])
                };
                assert!(
                    selected.iter().all(|pod| pod.containers().any(declares)),
                    "{name}: {}",
                    title(object)
                );
            }
        }
    }
}

#[test]
fn what_is_referred_to_is_there() {
    for (name, manifests) in all() {
        let has = |kind: &str, wanted: &Value| {
            manifests.of_kind(kind).any(|object| &object["metadata"]["name"] == wanted)
        };
        for workload in manifests.workloads() {
            let pod = workload.pod();
            assert!(has("ServiceAccount", &pod["serviceAccountName"]), "{name}: {}", workload.name);
            for volume in items(&pod["volumes"]) {
                for (kind, wanted) in [
                    ("ConfigMap", &volume["configMap"]["name"]),
                    ("Secret", &volume["secret"]["secretName"]),
                    ("PersistentVolumeClaim", &volume["persistentVolumeClaim"]["claimName"]),
                ] {
                    let may_lack = wanted.is_null()
                        || volume["configMap"]["optional"] == true
                        || BY_HAND.iter().any(|by_hand| wanted == by_hand);
                    assert!(may_lack || has(kind, wanted), "{name}: {}: {volume}", workload.name);
                }
            }
            for source in workload.containers().flat_map(|container| items(&container["envFrom"])) {
                let wanted = &source["configMapRef"]["name"];
                assert!(has("ConfigMap", wanted), "{name}: {}: {source}", workload.name);
            }
        }
        for autoscaler in manifests.of_kind("HorizontalPodAutoscaler") {
            let target = &autoscaler["spec"]["scaleTargetRef"];
            assert!(has(text(&target["kind"]), &target["name"]), "{name}: {target}");
        }
        for rule in manifests.of_kind("Ingress").flat_map(|ingress| items(&ingress["spec"]["rules"])) {
            for path in items(&rule["http"]["paths"]) {
                assert!(has("Service", &path["backend"]["service"]["name"]), "{name}: {path}");
            }
        }
    }
}

#[test]
fn only_the_listed_custom_resources_are_needed() {
    let kustomize = Kustomize::new();
    for (environment, custom) in CUSTOM {
        for object in &kustomize.overlay(environment).0 {
            let group = text(&object["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
            let built_in = !group.contains('.') || group.ends_with(".k8s.io");
            assert!(built_in || custom.contains(&text(&object["kind"])), "{environment}: {}", title(object));
        }
    }
}

#[test]
fn namespaces_admit_only_restricted_pods() {
    let kustomize = Kustomize::new();
    for environment in ENVIRONMENTS {
        let manifests = kustomize.overlay(environment);
        let name = format!("waybill-{environment}");
        let labels = &manifests.get("Namespace", &name)["metadata"]["labels"];
        for mode in ["enforce", "audit", "warn"] {
            assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}")], "restricted", "{environment}");
            assert_eq!(
                labels[format!("pod-security.kubernetes.io/{mode}-version")],
                "v1.30",
                "{environment}"
            );
        }
        let elsewhere = manifests
            .0
            .iter()
            .find(|object| object["kind"] != "Namespace" && object["metadata"]["namespace"] != name.as_str());
        assert_eq!(elsewhere, None, "{environment}");
    }
    let prod = kustomize.overlay("prod");
    assert!(prod.find("ResourceQuota", "waybill").is_some() && prod.find("LimitRange", "waybill").is_some());
}
