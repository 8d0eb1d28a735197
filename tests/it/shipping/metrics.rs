//! Rules and dashboard ask for what there is: every metric that they name is one that the server exports, or a named
//! exporter, with the labels that they match.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};

use crate::support::{
    api::start_body,
    db::TestDb,
    eventually,
    manifests::{Kustomize, items, repository, text},
    process::ServerProcess,
    promql::{Query, read},
};

const RULE: &str = "kustomize/components/monitoring/prometheusrule.yaml";
const DASHBOARD: &str = "kustomize/components/monitoring/dashboard.json";
const RUNBOOKS: &str = "https://git.example.com/waybill/-/blob/main/docs/runbooks.md#runbook-";

/// What Prometheus gives every series that it scrapes from us.
const OF_TARGETS: [&str; 5] = ["instance", "job", "namespace", "pod", "track"];

/// The metrics of others: kube-state-metrics, the kubelet with its cAdvisor, cert-manager, and Prometheus itself.
const OF_OTHERS: [(&str, &[&str]); 24] = [
    ("ALERTS", &["alertname", "alertstate", "severity", "namespace", "persistentvolumeclaim"]),
    ("up", &OF_TARGETS),
    ("certmanager_certificate_expiration_timestamp_seconds", &["name", "namespace", "exported_namespace"]),
    ("container_cpu_cfs_periods_total", &["namespace", "pod", "container"]),
    ("container_cpu_cfs_throttled_periods_total", &["namespace", "pod", "container"]),
    ("container_memory_working_set_bytes", &["namespace", "pod", "container"]),
    ("kube_cronjob_created", &["namespace", "cronjob"]),
    ("kube_cronjob_spec_suspend", &["namespace", "cronjob"]),
    ("kube_cronjob_status_last_successful_time", &["namespace", "cronjob"]),
    ("kube_deployment_spec_replicas", &["namespace", "deployment"]),
    ("kube_deployment_status_replicas_available", &["namespace", "deployment"]),
    ("kube_horizontalpodautoscaler_spec_max_replicas", &["namespace", "horizontalpodautoscaler"]),
    ("kube_horizontalpodautoscaler_status_desired_replicas", &["namespace", "horizontalpodautoscaler"]),
    ("kube_pod_container_resource_limits", &["namespace", "pod", "container", "resource", "unit"]),
    ("kube_pod_container_status_restarts_total", &["namespace", "pod", "container"]),
    ("kube_pod_container_status_waiting_reason", &["namespace", "pod", "container", "reason"]),
    ("kube_pod_init_container_status_waiting_reason", &["namespace", "pod", "container", "reason"]),
    ("kube_pod_status_ready", &["namespace", "pod", "condition"]),
    ("kube_statefulset_replicas", &["namespace", "statefulset"]),
    ("kube_statefulset_status_replicas_ready", &["namespace", "statefulset"]),
    ("kubelet_volume_stats_available_bytes", &["namespace", "persistentvolumeclaim"]),
    ("kubelet_volume_stats_capacity_bytes", &["namespace", "persistentvolumeclaim"]),
    // Recorded from the metrics of one namespace.
    ("waybill:installed", &["namespace"]),
    ("namespace:", &["namespace"]),
];

fn of_rule() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(repository(RULE)).unwrap()).unwrap()
}

fn rules(rule: &Value) -> impl Iterator<Item = &Value> {
    items(&rule["spec"]["groups"]).iter().flat_map(|group| items(&group["rules"]))
}

fn alerts(rule: &Value) -> impl Iterator<Item = &Value> {
    rules(rule).filter(|rule| rule["alert"].is_string())
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(repository(DASHBOARD)).unwrap()).unwrap()
}

/// The words that follow this mark.
fn marked(text: &str, mark: &str) -> Vec<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    text.split(mark).skip(1).map(word).collect()
}

/// Everything that asks Prometheus: its name, its query, and which labels of the answer it shows.
fn queries() -> Vec<(String, Query, Vec<String>)> {
    let rule = of_rule();
    let of_rules = rules(&rule).map(|rule| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        let shown = marked(&rule["annotations"].to_string(), "$labels.");
        (name.to_owned(), read(text(&rule["expr"])), shown)
    });
    // What an annotation asks for itself, for a link to a page.
    let of_links = alerts(&rule).filter_map(|alert| {
        let link = alert["annotations"]["page_url"].as_str()?;
        let (_, rest) = link.split_once("printf \"").expect("a link asks where the server is");
        let query = rest.split_once('"').unwrap().0.replace("%q", "\"\"");
        Some((format!("the link of {}", text(&alert["alert"])), read(&query), marked(link, "label \"")))
    });
    let dashboard = dashboard();
    let of_panels = items(&dashboard["panels"]).iter().flat_map(|panel| {
        items(&panel["targets"]).iter().map(|target| {
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            (text(&panel["title"]).to_owned(), read(text(&target["expr"])), marked(legend, "{{"))
        })
    });
    let annotations = items(&dashboard["annotations"]["list"]).iter().filter(|one| one["expr"].is_string());
    let of_annotations = annotations.map(|one| {
        let shown = format!("{}{}", text(&one["titleFormat"]), text(&one["textFormat"]));
        (text(&one["name"]).to_owned(), read(text(&one["expr"])), marked(&shown, "{{"))
    });
    of_rules.chain(of_links).chain(of_panels).chain(of_annotations).collect()
}

/// The metrics of the real server after some traffic, each with its labels.
async fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let db = TestDb::postgres().await;
    let env =
        [("WAYBILL__METRICS__DEPLOYMENTS", "true"), ("WAYBILL__SERVER__PUBLIC_URL", "https://waybill.test")];
    let first = ServerProcess::start_with(&db, &env).await;
    let post = async |path: &str, body: Value| {
        let answer = first.client().post(first.at(path)).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let started = post("/api/v1/deployments", start_body("shop/prod", "1")).await;
    post("/api/v1/deployments", start_body("shop/prod", "2")).await;
    let finish = format!("/api/v1/deployments/{}/finish", text(&started["deployment"]["id"]));
    post(&finish, json!({"status": "succeeded"})).await;
    // Another replica measures what is there as soon as it starts.
    let second = ServerProcess::start_with(&db, &env).await;
    let scrape = async |server: &ServerProcess| {
        server.client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap()
    };
    let later = eventually("the gauges", async || {
        let found = scrape(&second).await;
        found.contains("waybill_last_deployment").then_some(found)
    })
    .await;
    let mut metrics = BTreeMap::<String, BTreeSet<String>>::new();
    for line in [scrape(&first).await, later].iter().flat_map(|text| text.lines()) {
        if let Some((series, _)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) {
            let selector = read(series).selectors.remove(0);
            let labels = selector.labels.into_iter().chain(OF_TARGETS.map(str::to_owned));
            metrics.entry(selector.metric).or_default().extend(labels);
        }
    }
    metrics
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_and_label_that_is_asked_for_exists() {
    let mut metrics = exported().await;
    for (name, labels) in OF_OTHERS {
        metrics.insert(name.to_owned(), labels.iter().map(|label| (*label).to_owned()).collect());
    }
    let rule = of_rule();
    let recorded: BTreeSet<_> = rules(&rule).filter_map(|rule| rule["record"].as_str()).collect();
    let labels_of = |metric: &str, at: &str| {
        assert!(!metric.contains(':') || recorded.contains(metric), "{at}: {metric} is recorded nowhere");
        let name = if metric.starts_with("namespace:") { "namespace:" } else { metric };
        metrics.get(name).unwrap_or_else(|| panic!("{at}: {metric} is exported nowhere"))
    };
    for (at, query, shown) in queries() {
        let known: Vec<_> = query.selectors.iter().map(|selector| labels_of(&selector.metric, &at)).collect();
        for (selector, known) in query.selectors.iter().zip(&known) {
            let missing: Vec<_> = selector.labels.difference(known).collect();
            assert!(missing.is_empty(), "{at}: {} has no {missing:?}", selector.metric);
        }
        for grouping in &query.groupings {
            for label in &grouping.labels {
                let lacking = grouping.inside.iter().find(|&&place| !known[place].contains(label));
                assert_eq!(lacking, None, "{at}: {} ({label})", grouping.word);
                let having = known.iter().filter(|labels| labels.contains(label)).count();
                // What is joined by is on both sides; what a join brings along is on one.
                let needed = match grouping.word.as_str() {
                    _ if !grouping.inside.is_empty() => 0,
                    "group_left" | "group_right" => 1,
                    _ => 2,
                };
                assert!(having >= needed, "{at}: {} ({label}) joins nothing", grouping.word);
            }
        }
        for label in shown {
            let is_label = known.iter().any(|labels| labels.contains(&label));
            assert!(is_label, "{at} shows {label}, which is no label");
        }
    }
}

#[test]
fn every_alert_says_what_to_do_and_is_tested() {
    let rule = of_rule();
    let folder = fs::read_dir(repository("tests/prometheus")).unwrap();
    let tests: String = folder.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let mut names = BTreeSet::new();
    for alert in alerts(&rule) {
        let name = text(&alert["alert"]);
        assert!(names.insert(name), "{name} is there twice");
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"])), "{name}");
        let annotations = &alert["annotations"];
        assert!(text(&annotations["summary"]).contains("$labels.namespace"), "{name}");
        assert!(text(&annotations["description"]).ends_with('.'), "{name}");
        assert_eq!(annotations["runbook_url"], format!("{RUNBOOKS}{}", name.to_lowercase()));
        let fires = [
            format!("- alertname: {name}\n        eval_time"),
            format!("- labels: '{{alertname=\"{name}\""),
            format!("- labels: ALERTS{{alertname=\"{name}\""),
        ];
        assert!(fires.iter().any(|line| tests.contains(line)), "{name} is not tested in tests/prometheus");
    }
}

#[test]
fn every_alert_has_its_runbook() {
    let rule = of_rule();
    let runbooks = fs::read_to_string(repository("docs/runbooks.md")).unwrap();
    for alert in alerts(&rule) {
        let heading = format!("\n## Runbook: {}\n", text(&alert["alert"]));
        assert!(runbooks.contains(&heading), "{heading}");
    }
}

#[test]
fn prometheus_alone_has_the_same_rules() {
    let rule = fs::read_to_string(repository(RULE)).unwrap();
    let spec = rule.split_once("\nspec:\n").unwrap().1;
    let lines = spec.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned() + "\n");
    let copy = fs::read_to_string(repository("monitoring/prometheus/rules.yaml")).unwrap();
    let rules = copy.split_once('\n').unwrap().1;
    assert!(rules == lines.collect::<String>(), "they differ: scripts/check-rules --write");
}

#[test]
fn the_dashboard_is_one_that_grafana_can_show() {
    let dashboard = dashboard();
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let variables = items(&dashboard["templating"]["list"]);
    assert_eq!(variables[0]["type"], "datasource");
    let names: BTreeSet<_> = variables.iter().map(|variable| text(&variable["name"])).collect();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in items(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is there twice");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is out of the grid");
        for place in (side("x")..side("x") + side("w"))
            .flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert(place), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(!text(&panel["description"]).is_empty(), "{title} has no description");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert!(panel["fieldConfig"]["defaults"]["thresholds"]["steps"].is_array(), "{title}");
        let targets = items(&panel["targets"]);
        assert!(!targets.is_empty(), "{title} asks for nothing");
        let references: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert_eq!(references.len(), targets.len(), "{title}");
        for target in targets {
            assert_eq!((&panel["datasource"], &target["datasource"]), (&source, &source), "{title}");
            for variable in marked(text(&target["expr"]), "$") {
                let of_grafana = ["__rate_interval", "__range"].contains(&&*variable);
                assert!(of_grafana || names.contains(&*variable), "{title}: ${variable}");
            }
        }
    }
    let rest = dashboard.to_string().replace(&source.to_string(), "");
    let uids: BTreeSet<_> =
        rest.split("\"uid\":").skip(1).map(|rest| rest.split('"').nth(1).unwrap()).collect();
    assert_eq!(uids, BTreeSet::from(["-- Grafana --", "waybill"]), "no data source but the variable");
}

#[test]
fn production_is_scraped_and_its_rules_are_its_own() {
    let manifests = Kustomize::new().overlay("prod");
    let monitor = &manifests.get("ServiceMonitor", "waybill")["spec"];
    let services: Vec<&Value> = manifests
        .of_kind("Service")
        .filter(|service| {
            let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
            wanted.iter().all(|(label, value)| service["metadata"]["labels"][label] == *value)
                && items(&service["spec"]["ports"])
                    .iter()
                    .any(|port| port["name"] == monitor["endpoints"][0]["port"])
        })
        .collect();
    assert_eq!(services.len(), 1);
    assert_eq!(services[0]["metadata"]["name"], "waybill-metrics");
    let interval = text(&monitor["endpoints"][0]["interval"]).strip_suffix('s').unwrap();
    assert!(interval.parse::<u32>().unwrap() <= 30);
    assert_eq!(services[0]["metadata"]["labels"][text(&monitor["jobLabel"])], "waybill", "as the rules ask");
    let rule = manifests.get("PrometheusRule", "waybill");
    let installed = rules(rule).find(|rule| rule["record"] == "waybill:installed").unwrap();
    assert_eq!(installed["labels"]["namespace"], "waybill-prod");
    let dashboard = manifests.get("ConfigMap", "waybill-dashboard");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    assert!(dashboard["data"]["waybill.json"].is_string());
}
