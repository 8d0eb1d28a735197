//! Who may talk to whom: evaluates the NetworkPolicies of each overlay for every pair of pods and every port, and compares
//! what is allowed with the edges that were meant.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::manifests::{Kustomize, Manifests, items, text};

/// A pod, or an address outside of the cluster when it has no namespace.
#[derive(Debug, Clone)]
struct Peer {
    name: String,
    namespace: Option<String>,
    labels: Value,
    ports: Vec<(String, u64)>,
}

/// Ports that nobody declares, and that pods might be asked on all the same.
const OTHER_PORTS: [u64; 4] = [22, 53, 443, 10250];

impl Peer {
    fn pod(name: &str, namespace: &str, labels: Value) -> Self {
        Self { name: name.to_owned(), namespace: Some(namespace.to_owned()), labels, ports: Vec::new() }
    }

    /// The pods of an environment, by workload.
    fn all_of(manifests: &Manifests, namespace: &str) -> Vec<Self> {
        let workloads = manifests.workloads().into_iter().map(|workload| {
            let ports = workload.containers().flat_map(|container| items(&container["ports"]));
            let ports =
                ports.map(|port| (text(&port["name"]).to_owned(), port["containerPort"].as_u64().unwrap()));
            let name = workload.name.split_once('/').unwrap().1;
            Self { ports: ports.collect(), ..Self::pod(name, namespace, workload.labels().clone()) }
        });
        workloads.collect()
    }

    /// Those around it. They have no policies, so that what is allowed depends on ours.
    fn neighbours(manifests: &Manifests) -> Vec<Self> {
        let dns = Self::pod("dns", "kube-system", json!({"k8s-app": "kube-dns"}));
        let internet = Self { namespace: None, ..Self::pod("internet", "", json!({})) };
        let others = ["kube-system", "traefik", "monitoring", "default"]
            .map(|namespace| Self::pod(namespace, namespace, json!({"app": "any"})));
        // The same software in another environment.
        let twins = Self::all_of(manifests, "waybill-other").into_iter();
        let twins = twins.map(|twin| Self { name: format!("other/{}", twin.name), ..twin });
        [dns, internet].into_iter().chain(others).chain(twins).collect()
    }

    fn namespace_labels(&self) -> Value {
        json!({"kubernetes.io/metadata.name": self.namespace})
    }
}

/// The objects of kind NetworkPolicy, and the namespace in which they are.
struct Policies<'a> {
    namespace: &'a str,
    specs: Vec<&'a Value>,
}

impl Policies<'_> {
    /// A connection needs the consent of both ends; an end to which no policy applies consents to all.
    fn allow(&self, from: &Peer, to: &Peer, port: u64, protocol: &str) -> bool {
        let leaves = self.consents("Egress", from, to, to, port, protocol);
        leaves && self.consents("Ingress", to, from, to, port, protocol)
    }

    fn consents(&self, way: &str, at: &Peer, other: &Peer, target: &Peer, port: u64, protocol: &str) -> bool {
        if at.namespace.as_deref() != Some(self.namespace) {
            return true;
        }
        let applies = |spec: &&&Value| selects(&spec["podSelector"], &at.labels) && has_type(spec, way);
        let mut applying = self.specs.iter().filter(applies).peekable();
        let (rules, peers) = if way == "Egress" { ("egress", "to") } else { ("ingress", "from") };
        applying.peek().is_none()
            || applying.flat_map(|spec| items(&spec[rules])).any(|rule| {
                known_keys(rule, &[peers, "ports"]);
                let peers = items(&rule[peers]);
                let ports = items(&rule["ports"]);
                (peers.is_empty() || peers.iter().any(|peer| self.names(peer, other)))
                    && (ports.is_empty() || ports.iter().any(|rule| opens(rule, target, port, protocol)))
            })
    }

    fn names(&self, rule: &Value, peer: &Peer) -> bool {
        known_keys(rule, &["podSelector", "namespaceSelector"]);
        let selector = &rule["namespaceSelector"];
        let namespace_fits = if selector.is_null() {
            peer.namespace.as_deref() == Some(self.namespace)
        } else {
            peer.namespace.is_some() && selects(selector, &peer.namespace_labels())
        };
        namespace_fits && (rule["podSelector"].is_null() || selects(&rule["podSelector"], &peer.labels))
    }
}

fn has_type(spec: &Value, way: &str) -> bool {
    known_keys(spec, &["podSelector", "policyTypes", "ingress", "egress"]);
    assert!(spec["policyTypes"].is_array(), "policyTypes is to be written down: {spec}");
    items(&spec["policyTypes"]).contains(&json!(way))
}

fn opens(rule: &Value, target: &Peer, port: u64, protocol: &str) -> bool {
    known_keys(rule, &["port", "protocol"]);
    let wanted = &rule["port"];
    let name_fits = target.ports.iter().any(|(name, number)| wanted == name && *number == port);
    let number_fits = name_fits || wanted.as_u64() == Some(port);
    number_fits && text(&rule["protocol"]) == protocol
}

fn selects(selector: &Value, labels: &Value) -> bool {
    known_keys(selector, &["matchLabels", "matchExpressions"]);
    let empty = serde_json::Map::new();
    let wanted = selector["matchLabels"].as_object().unwrap_or(&empty);
    let matches = |expression: &Value| {
        let value = &labels[text(&expression["key"])];
        match text(&expression["operator"]) {
            "In" => items(&expression["values"]).contains(value),
            "NotIn" => !items(&expression["values"]).contains(value),
            "Exists" => !value.is_null(),
            "DoesNotExist" => value.is_null(),
            other => panic!("unknown operator {other}"),
        }
    };
    wanted.iter().all(|(key, value)| &labels[key] == value)
        && items(&selector["matchExpressions"]).iter().all(matches)
}

/// What is not understood here must not be taken for nothing.
fn known_keys(value: &Value, known: &[&str]) {
    let unknown = value.as_object().unwrap().keys().find(|key| !known.contains(&key.as_str()));
    assert!(unknown.is_none(), "this test does not know {unknown:?} of {value}");
}

/// Every edge with at least one end in the environment, as `from -> to:port/PROTOCOL`.
fn edges(manifests: &Manifests) -> BTreeSet<String> {
    let policies: Vec<&Value> = manifests.of_kind("NetworkPolicy").collect();
    let namespace = text(&manifests.servers()[0]["metadata"]["namespace"]);
    assert!(policies.iter().all(|policy| policy["metadata"]["namespace"] == namespace));
    let policies = Policies { namespace, specs: policies.iter().map(|policy| &policy["spec"]).collect() };
    // A pod that somebody starts here, such as to look around, is given nothing.
    let stray = Peer::pod("stray", namespace, json!({}));
    let own: Vec<Peer> = Peer::all_of(manifests, namespace).into_iter().chain([stray]).collect();
    let all: Vec<Peer> = own.iter().cloned().chain(Peer::neighbours(manifests)).collect();
    let mut edges = BTreeSet::new();
    for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (from, to))) {
        let inside = [from, to].into_iter().any(|peer| peer.namespace.as_deref() == Some(namespace));
        let ports = to.ports.iter().map(|(_, number)| *number).chain(OTHER_PORTS);
        for (port, protocol) in ports.flat_map(|port| [(port, "TCP"), (port, "UDP")]) {
            if inside && policies.allow(from, to, port, protocol) {
                edges.insert(format!("{} -> {}:{port}/{protocol}", from.name, to.name));
            }
        }
    }
    edges
}

const DEV: [&str; 3] =
    ["waybill -> dns:53/TCP", "waybill -> dns:53/UDP", "waybill -> waybill-postgres:5432/TCP"];
const FROM_INGRESS: &str = "traefik -> waybill:3000/TCP";
const FROM_MONITORING: &str = "monitoring -> waybill:9090/TCP";
/// The drill has a PostgreSQL of its own and talks to nobody.
const BACKUP: [&str; 6] = [
    "waybill-backup -> dns:53/TCP",
    "waybill-backup -> dns:53/UDP",
    "waybill-backup -> waybill-postgres:5432/TCP",
    "waybill-restore -> dns:53/TCP",
    "waybill-restore -> dns:53/UDP",
    "waybill-restore -> waybill-postgres:5432/TCP",
];

fn intended(more: &[&str]) -> BTreeSet<String> {
    DEV.iter().chain(more).map(|edge| (*edge).to_owned()).collect()
}

#[test]
fn exactly_the_intended_edges_exist() {
    let kustomize = Kustomize::new();
    assert_eq!(edges(&kustomize.overlay("dev")), intended(&[]));
    assert_eq!(edges(&kustomize.overlay("staging")), intended(&[&BACKUP[..], &[FROM_INGRESS]].concat()));
    let prod = [&BACKUP[..], &[FROM_INGRESS, FROM_MONITORING]].concat();
    assert_eq!(edges(&kustomize.overlay("prod")), intended(&prod));
}

#[test]
fn without_policies_everything_is_open_and_each_policy_counts() {
    let mut manifests = Kustomize::new().overlay("prod");
    let closed = edges(&manifests);
    let policies: Vec<Value> = manifests.of_kind("NetworkPolicy").cloned().collect();
    for policy in &policies {
        let others = manifests.0.iter().filter(|object| *object != policy).cloned().collect();
        assert_ne!(edges(&Manifests(others)), closed, "{policy} changes nothing");
    }
    manifests.0.retain(|object| object["kind"] != "NetworkPolicy");
    let open = edges(&manifests);
    assert!(
        open.contains("internet -> waybill-postgres:5432/TCP")
            && open.contains("waybill -> internet:443/TCP")
    );
}

#[test]
fn selectors_and_ports_are_understood_as_kubernetes_does() {
    let labels = json!({"a": "1", "b": "2"});
    assert!(selects(&json!({}), &labels), "an empty selector selects all");
    assert!(selects(&json!({"matchLabels": {"a": "1"}}), &labels));
    assert!(!selects(&json!({"matchLabels": {"a": "1", "c": "3"}}), &labels), "all must match");
    let expression = |operator, values: &[&str]| json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]});
    assert!(selects(&expression("In", &["0", "1"]), &labels) && !selects(&expression("In", &["0"]), &labels));
    assert!(
        !selects(&expression("NotIn", &["1"]), &labels) && selects(&expression("NotIn", &["1"]), &json!({}))
    );
    assert!(
        selects(&expression("Exists", &[]), &labels) && !selects(&expression("DoesNotExist", &[]), &labels)
    );

    let mut server = Peer::pod("server", "here", labels);
    server.ports.push(("http".to_owned(), 3000));
    let opened = |rule: Value, port, protocol| opens(&rule, &server, port, protocol);
    assert!(opened(json!({"port": "http", "protocol": "TCP"}), 3000, "TCP"));
    assert!(!opened(json!({"port": "http", "protocol": "TCP"}), 3000, "UDP"));
    assert!(!opened(json!({"port": "http", "protocol": "TCP"}), 9090, "TCP"));

    let policies = Policies { namespace: "here", specs: Vec::new() };
    let same_labels_elsewhere = Peer { namespace: Some("there".to_owned()), ..server.clone() };
    let rule = json!({"podSelector": {"matchLabels": {"a": "1"}}});
    assert!(policies.names(&rule, &server) && !policies.names(&rule, &same_labels_elsewhere));
    let everywhere = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "1"}}});
    assert!(policies.names(&everywhere, &same_labels_elsewhere));
}
