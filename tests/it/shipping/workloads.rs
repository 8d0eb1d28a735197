//! What runs in the cluster: restricted, bounded, asked the right questions, ended with patience, and together no more than
//! the database and the quota have room for.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    db::TestDb,
    manifests::{ENVIRONMENTS, Kustomize, Manifests, Workload, combinations, items, repository, text},
    process::ServerProcess,
};

/// PostgreSQL's image knows this user; everybody else has a number that no host uses.
const POSTGRES_USER: u64 = 999;

/// Volumes that Pod Security's `restricted` admits, as far as they are used here.
const VOLUMES: [&str; 5] = ["configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"];

fn all() -> Vec<(String, Manifests)> {
    let kustomize = Kustomize::new();
    let overlays = ENVIRONMENTS.map(|name| (name.to_owned(), kustomize.overlay(name)));
    let combined = combinations();
    let combined =
        combined.iter().map(|components| (components.join("+"), kustomize.combination(components)));
    overlays.into_iter().chain(combined).collect()
}

fn check_pod(workload: &Workload, at: &str) {
    let pod = workload.pod();
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true, "{at}");
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{at}");
    let uses_postgres =
        workload.containers().any(|container| text(&container["image"]).starts_with("postgres"));
    let user = context["runAsUser"].as_u64().unwrap();
    assert!(user >= 10_000 || (uses_postgres && user == POSTGRES_USER), "{at}: user {user}");
    assert_eq!(pod["automountServiceAccountToken"], false, "{at}");
    assert_ne!(pod["serviceAccountName"], "default", "{at}");
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null(), "{at}: {host}");
    }
    for volume in items(&pod["volumes"]) {
        let kind = volume.as_object().unwrap().keys().find(|key| *key != "name").unwrap();
        assert!(VOLUMES.contains(&kind.as_str()), "{at}: {volume}");
        assert!(kind != "emptyDir" || volume["emptyDir"]["sizeLimit"].is_string(), "{at}: {volume}");
    }
}

fn check_container(container: &Value, at: &str) {
    let context = &container["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false, "{at}");
    assert_eq!(context["readOnlyRootFilesystem"], true, "{at}");
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{at}");
    for forbidden in ["privileged", "procMount"] {
        assert!(context[forbidden].is_null(), "{at}: {forbidden}");
    }
    assert!(context["runAsUser"].is_null() || context["runAsUser"].as_u64() >= Some(10_000), "{at}");
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let amounts = ["requests", "limits"].map(|bound| amount(&container["resources"][bound][resource]));
        assert!(0.0 < amounts[0] && amounts[0] <= amounts[1], "{at}: {resource} {amounts:?}");
    }
    let image = text(&container["image"]);
    let tag = image.rsplit('/').next().unwrap().split_once([':', '@']);
    assert!(tag.is_some_and(|(_, tag)| tag != "latest"), "{at}: {image}");
    for port in items(&container["ports"]) {
        assert!(port["hostPort"].is_null() && port["name"].is_string(), "{at}: {port}");
    }
}

/// A dump needs a client that is not older than the server, and a restart must not bring another version.
#[test]
fn there_is_one_version_of_postgres_to_the_minor() {
    let mut images = BTreeSet::new();
    for (_, manifests) in all() {
        for workload in manifests.workloads() {
            for container in workload.containers() {
                assert_eq!(container["imagePullPolicy"], "IfNotPresent", "{}", workload.name);
                images.extend(container["image"].as_str().map(str::to_owned));
            }
        }
    }
    let by_hand = std::fs::read_to_string(repository("kustomize/components/backup/hand/pod.yaml")).unwrap();
    let by_hand: Value = serde_saphyr::from_str(&by_hand).unwrap();
    images.insert(text(&by_hand["spec"]["containers"][0]["image"]).to_owned());
    check_pod(&Workload { name: "Pod/by-hand".to_owned(), template: by_hand.clone() }, "by hand");
    check_container(&by_hand["spec"]["containers"][0], "by hand");
    let images: Vec<_> = images.iter().filter(|image| image.starts_with("postgres")).collect();
    assert_eq!(images.len(), 1, "{images:?}");
    assert!(images[0].trim_start_matches("postgres:").split('-').next().unwrap().contains('.'), "{images:?}");
}

#[test]
fn every_container_is_restricted_and_bounded() {
    for (name, manifests) in all() {
        for workload in manifests.workloads() {
            check_pod(&workload, &format!("{name}: {}", workload.name));
            for container in workload.containers() {
                check_container(container, &format!("{name}: {} {}", workload.name, container["name"]));
            }
        }
        for account in manifests.of_kind("ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}: {account}");
        }
    }
}

/// The one server of an environment.
fn server(manifests: &Manifests) -> &Value {
    manifests.get("Deployment", "waybill")
}

fn server_container(server: &Value) -> &Value {
    &server["spec"]["template"]["spec"]["containers"][0]
}

/// Every server of every environment and combination, with the name of the latter.
fn all_servers() -> Vec<(String, Manifests, Value)> {
    let mut servers = Vec::new();
    for (name, manifests) in all() {
        for server in manifests.servers() {
            servers.push((name.clone(), Manifests(manifests.0.clone()), server.clone()));
        }
    }
    servers
}

#[tokio::test]
async fn the_probes_ask_two_different_questions_that_the_server_answers() {
    let db = TestDb::sqlite().await;
    let running = ServerProcess::start(&db).await;
    let mut paths = BTreeSet::new();
    for (name, _, server) in all_servers() {
        let container = server_container(&server);
        let probes = ["readinessProbe", "livenessProbe"].map(|probe| &container[probe]["httpGet"]);
        let asked: BTreeSet<String> = probes.iter().map(|probe| text(&probe["path"]).to_owned()).collect();
        assert_eq!(asked.len(), 2, "{name}: {asked:?}");
        assert!(probes.iter().all(|probe| probe["port"] == "http"), "{name}");
        assert_eq!(probes[0]["path"], "/readyz", "{name}: only this one turns away while the server drains");
        paths.extend(asked);
    }
    for path in paths {
        assert_eq!(running.client().get(running.at(&path)).send().await.unwrap().status(), 200, "{path}");
    }
}

#[test]
fn a_pod_is_given_the_time_that_its_end_may_take() {
    for (name, manifests, server) in all_servers() {
        let setting = |key: &str| {
            let value = manifests.setting("waybill-config", key);
            humantime::parse_duration(value).unwrap()
        };
        let pre_stop = &server_container(&server)["lifecycle"]["preStop"]["sleep"]["seconds"];
        let pre_stop = Duration::from_secs(pre_stop.as_u64().unwrap());
        let end = setting("WAYBILL__SERVER__DRAIN_DELAY") + 2 * setting("WAYBILL__SERVER__DRAIN_TIMEOUT");
        let grace = &server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
        let grace = Duration::from_secs(grace.as_u64().unwrap());
        assert!(
            grace >= pre_stop + end + Duration::from_secs(5),
            "{name}: {pre_stop:?} + {end:?} > {grace:?}"
        );
    }
}

#[test]
fn an_update_takes_no_replica_away_before_there_is_another() {
    for (name, manifests, server) in all_servers() {
        let spec = &server["spec"];
        if manifests.setting("waybill-config", "DATABASE_URL").starts_with("sqlite:") {
            assert_eq!(spec["replicas"], 1, "{name}");
            // A StatefulSet lets go of the file before anybody else takes it.
            let is_set = server["kind"] == "StatefulSet" && spec["volumeClaimTemplates"][0].is_object();
            assert!(is_set || spec["strategy"]["type"] == "Recreate", "{name}");
            assert!(scaler(&manifests, &server).is_none(), "{name}");
            continue;
        }
        assert_eq!(spec["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": 1}), "{name}");
        assert!(spec["minReadySeconds"].as_u64() >= Some(1), "{name}");
        assert!(spec["revisionHistoryLimit"].as_u64() >= Some(5), "{name}");
        assert!(spec["progressDeadlineSeconds"].as_u64() >= Some(300), "{name}");
        let is_scaled = scaler(&manifests, &server).is_some();
        assert!(!is_scaled || spec["replicas"].is_null(), "{name}: the autoscaler owns the replicas");
    }
}

#[test]
fn each_environment_has_its_replicas_and_production_spreads_them() {
    let kustomize = Kustomize::new();
    let [dev, staging, prod] = ENVIRONMENTS.map(|name| kustomize.overlay(name));
    assert_eq!(server(&dev)["spec"]["replicas"], 1);
    assert_eq!(server(&staging)["spec"]["replicas"], 3);
    assert!(prod.get("HorizontalPodAutoscaler", "waybill")["spec"]["minReplicas"].as_u64() >= Some(3));
    let constraints = |manifests: &Manifests| {
        let template = &server(manifests)["spec"]["template"];
        let entry = |constraint: &Value| {
            format!("{} {}", text(&constraint["topologyKey"]), text(&constraint["whenUnsatisfiable"]))
        };
        items(&template["spec"]["topologySpreadConstraints"]).iter().map(entry).collect::<Vec<_>>()
    };
    let both = |action: &str| {
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| format!("{key} {action}"))
    };
    assert_eq!(constraints(&dev), both("ScheduleAnyway"));
    assert_eq!(constraints(&prod), both("DoNotSchedule"));
}

#[test]
fn a_node_can_be_drained_whatever_state_its_pods_are_in() {
    for (name, manifests) in all() {
        for budget in manifests.of_kind("PodDisruptionBudget") {
            assert_eq!(budget["spec"]["maxUnavailable"], 1, "{name}");
            assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow", "{name}");
        }
        assert!(manifests.of_kind("PodDisruptionBudget").next().is_some(), "{name}");
    }
}

/// The autoscaler of a server.
fn scaler<'a>(manifests: &'a Manifests, server: &Value) -> Option<&'a Value> {
    let scales = |scaler: &&Value| scaler["spec"]["scaleTargetRef"]["name"] == server["metadata"]["name"];
    manifests.of_kind("HorizontalPodAutoscaler").find(scales)
}

/// As many servers as there can ever be: two colours with all their replicas, and one more of an update.
fn most_servers(manifests: &Manifests) -> u64 {
    let servers = manifests.servers();
    let replicas = servers.iter().map(|server| {
        let scaled = scaler(manifests, server).map(|scaler| &scaler["spec"]["maxReplicas"]);
        scaled.unwrap_or(&server["spec"]["replicas"]).as_u64().unwrap_or(1)
    });
    let replicas: Vec<u64> = replicas.collect();
    let largest = replicas.iter().max().copied().unwrap_or_default();
    replicas.iter().sum::<u64>().max(2 * largest) + 1
}

#[test]
fn postgres_has_a_connection_for_everybody() {
    const JOBS: u64 = 10;
    for (name, manifests) in all() {
        let Some(config) = manifests.find("ConfigMap", "waybill-postgres-config") else { continue };
        let setting = |key: &str| {
            let lines = text(&config["data"]["postgresql.conf"]).lines();
            let value = lines.filter_map(|line| line.strip_prefix(key)?.trim().strip_prefix('=')).next_back();
            value.unwrap_or_else(|| panic!("{key} is not set")).trim().parse::<u64>().unwrap()
        };
        let pool =
            manifests.setting("waybill-config", "WAYBILL__DATABASE__MAX_CONNECTIONS").parse::<u64>().unwrap();
        let jobs = manifests.workloads().iter().filter(|workload| workload.name.contains("Job/")).count();
        assert!(2 * jobs as u64 <= JOBS, "{name}: {jobs} jobs");
        let needed = most_servers(&manifests) * pool + JOBS + setting("superuser_reserved_connections");
        let offered = setting("max_connections");
        assert!(needed <= offered, "{name}: {needed} connections are needed, {offered} are offered");
    }
}

/// A quantity of Kubernetes: `100m`, `64Mi`, `2`.
fn amount(quantity: &Value) -> f64 {
    let quantity = quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned);
    let digits = quantity.trim_end_matches(char::is_alphabetic);
    let factor = match &quantity[digits.len()..] {
        "" => 1.0,
        "m" => 0.001,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        other => panic!("unknown suffix {other}"),
    };
    digits.parse::<f64>().unwrap() * factor
}

/// What the scheduler counts for a pod: its containers, or the largest of those that come before them, and the sidecars.
fn pod_amount(workload: &Workload, bound: &str, resource: &str) -> f64 {
    let (mut together, mut before, mut beside) = (0.0, 0.0_f64, 0.0);
    for container in items(&workload.pod()["initContainers"]) {
        let amount = amount(&container["resources"][bound][resource]);
        if container["restartPolicy"] == "Always" {
            beside += amount;
        } else {
            before = before.max(amount);
        }
    }
    for container in items(&workload.pod()["containers"]) {
        together += amount(&container["resources"][bound][resource]);
    }
    before.max(together) + beside
}

#[test]
fn the_quota_of_production_has_room_for_everything_at_once() {
    let prod = Kustomize::new().overlay("prod");
    let quota = &prod.get("ResourceQuota", "waybill")["spec"]["hard"];
    let pods_of = |workload: &Workload| {
        if workload.name == "Deployment/waybill" {
            f64::from(u32::try_from(most_servers(&prod)).unwrap())
        } else {
            1.0
        }
    };
    for (bound, resource) in ["requests", "limits"]
        .into_iter()
        .flat_map(|bound| ["cpu", "memory", "ephemeral-storage"].map(|resource| (bound, resource)))
    {
        let needed: f64 = prod
            .workloads()
            .iter()
            .map(|workload| pods_of(workload) * pod_amount(workload, bound, resource))
            .sum();
        let offered = amount(&quota[format!("{bound}.{resource}")]);
        assert!(needed <= offered, "{bound} of {resource}: {needed} are needed, {offered} offered");
    }
    let pods: f64 = prod.workloads().iter().map(pods_of).sum();
    assert!(pods <= amount(&quota["pods"]), "{pods} pods");
    let claims = prod.of_kind("PersistentVolumeClaim").map(|claim| &claim["spec"]);
    let templates = prod.of_kind("StatefulSet").flat_map(|set| items(&set["spec"]["volumeClaimTemplates"]));
    let claims: Vec<&Value> = claims.chain(templates.map(|claim| &claim["spec"])).collect();
    let storage: f64 = claims.iter().map(|claim| amount(&claim["resources"]["requests"]["storage"])).sum();
    assert!(storage <= amount(&quota["requests.storage"]), "{storage} bytes of volumes");
    assert!(claims.len() as u64 <= text(&quota["persistentvolumeclaims"]).parse().unwrap());
}
