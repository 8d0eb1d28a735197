//! What the server tells Prometheus about itself.
//!
//! Every instance has a registry of its own. No label takes a value that a caller can invent without bound, but for those of
//! the last deployments, which somebody has to ask for (`metrics.deployments`) and which are bounded in number.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use poem::http::Method;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector, process_collector::ProcessCollector,
};

use crate::domain::{
    deployment::NamedDeployment,
    gate::Decision,
    vocabulary::{CheckOutcome, Mode, Rule, Status},
};

const NAMESPACE: &str = "waybill";

/// So many services are counted by name; the others together as `other`.
const MAX_SERVICES: usize = 500;

/// So many environments are counted by name; the others together as `other`.
pub const MAX_ENVIRONMENTS: usize = 50;

const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const DEPLOYMENT_SECONDS: &[f64] =
    &[5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0];

/// The labels of what is told about the last deployment of a target.
const LAST_DEPLOYMENT: [&str; 6] = ["service", "environment", "version", "kind", "status", "actor"];

/// The metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    rate_limited: IntCounter,
    deployments: IntCounterVec,
    deployment_seconds: HistogramVec,
    deployments_running: IntGauge,
    deployments_current: IntGauge,
    gate_decisions: IntCounterVec,
    gate_checks: IntCounterVec,
    gate_overrides: IntCounterVec,
    events_unsealed: IntGauge,
    events_unsealed_age: IntGauge,
    public_url: IntGaugeVec,
    last_deployment: IntGaugeVec,
    shown: Mutex<BTreeSet<[String; LAST_DEPLOYMENT.len()]>>,
    database_connections: IntGaugeVec,
    services: Mutex<HashSet<String>>,
    environments: Mutex<HashSet<String>>,
}

impl Metrics {
    /// A new registry with everything at zero.
    pub fn new(version: &str, commit: &str) -> prometheus::Result<Self> {
        let r = Registry::new();
        let build = gauges(&r, "build_info", "The build that runs; always 1.", &["version", "commit"])?;
        build.with_label_values(&[version, commit]).set(1);
        r.register(Box::new(ProcessCollector::for_self()))?;
        let help = "Requests by operation and status; 499 if the client went away.";
        let requests = counters(&r, "http_requests_total", help, &["method", "operation", "status"])?;
        let (name, help) = ("http_request_duration_seconds", "Time from a request's head to its response.");
        let request_seconds = histograms(&r, name, help, &["method", "operation"], REQUEST_SECONDS)?;
        let help = "Deployments that reached an end, by their status.";
        let deployments = counters(&r, "deployments_total", help, &["service", "environment", "status"])?;
        let (name, help) = ("deployment_duration_seconds", "Time from the start of a deployment to its end.");
        let deployment_seconds = histograms(&r, name, help, &["environment", "status"], DEPLOYMENT_SECONDS)?;
        let (name, help) = (
            "last_deployment_timestamp_seconds",
            "When the last deployment of a target that has ended did so.",
        );
        let last_deployment = gauges(&r, name, help, &LAST_DEPLOYMENT)?;
        let (name, help) =
            ("events_unsealed_age_seconds", "Age of the oldest event that waits for its place; 0 if none.");
        let events_unsealed_age = gauge(&r, name, help)?;
        let help = "What the addresses of pages begin with, as the server was told; always 1.";
        let public_url = gauges(&r, "public_url_info", help, &["url"])?;
        let help = "Decisions of the gate about starts.";
        let gate_decisions = counters(&r, "gate_decisions_total", help, &["allowed"])?;
        let help = "What the gate's rules found about starts.";
        let gate_checks = counters(&r, "gate_checks_total", help, &["rule", "mode", "outcome"])?;
        let help = "Starts under an override.";
        let gate_overrides = counters(&r, "gate_overrides_total", help, &["environment"])?;
        let help = "Events that wait for their place in the hash chain.";
        let events_unsealed = gauge(&r, "events_unsealed", help)?;
        let new = Self {
            requests,
            request_seconds,
            rate_limited: counter(&r, "rate_limited_total", "Requests refused by the rate limit.")?,
            deployments,
            deployment_seconds,
            deployments_running: gauge(&r, "deployments_running", "Deployments that run now.")?,
            deployments_current: gauge(&r, "deployments_current", "Targets with a current deployment.")?,
            public_url,
            last_deployment,
            shown: Mutex::default(),
            gate_decisions,
            gate_checks,
            gate_overrides,
            events_unsealed,
            events_unsealed_age,
            database_connections: gauges(
                &r,
                "database_connections",
                "Connections of the database pool.",
                &["state"],
            )?,
            services: Mutex::default(),
            environments: Mutex::default(),
            registry: r,
        };
        new.know_the_gate();
        Ok(new)
    }

    /// Makes the gate's work countable from zero: what first appears with a value of one has not increased, as Prometheus
    /// sees it.
    fn know_the_gate(&self) {
        for allowed in ["true", "false"] {
            drop(self.gate_decisions.with_label_values(&[allowed]));
        }
        for rule in Rule::ALL {
            for mode in [Mode::Enforce, Mode::Report] {
                for outcome in CheckOutcome::ALL {
                    let labels = [rule.as_str(), mode.as_str(), outcome.as_str()];
                    drop(self.gate_checks.with_label_values(&labels));
                }
            }
        }
    }

    /// Tells what the addresses of pages begin with, of which alerts and dashboards make links.
    pub fn know_public_url(&self, url: &str) {
        self.public_url.with_label_values(&[url]).set(1);
    }

    /// Counts a request that was answered, or given up by its client.
    pub fn observe_request(&self, method: &Method, operation: &str, status: u16, elapsed: Duration) {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        self.requests.with_label_values(&[method, operation, &status.to_string()]).inc();
        self.request_seconds.with_label_values(&[method, operation]).observe(elapsed.as_secs_f64());
    }

    /// Counts a request that the rate limit refused.
    pub fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// Counts a deployment that reached an end.
    pub fn deployment_finished(&self, service: &str, environment: &str, status: &str, took: Duration) {
        let service = counted(&self.services, MAX_SERVICES, service);
        let environment = counted(&self.environments, MAX_ENVIRONMENTS, environment);
        self.deployments.with_label_values(&[service, environment, status]).inc();
        self.deployment_seconds.with_label_values(&[environment, status]).observe(took.as_secs_f64());
    }

    /// Sets how many deployments run, and how many targets have a current one.
    pub fn set_deployments(&self, running: u64, current: u64) {
        self.deployments_running.set(saturate(running));
        self.deployments_current.set(saturate(current));
    }

    /// Counts a decision of the gate about a start.
    pub fn gate_decided(&self, environment: &str, decision: &Decision) {
        let verdict = &decision.verdict;
        self.gate_decisions.with_label_values(&[if verdict.allowed { "true" } else { "false" }]).inc();
        for check in verdict.checks.iter().filter(|check| check.mode != Mode::Off) {
            let labels = [check.rule.as_str(), check.mode.as_str(), check.outcome.as_str()];
            self.gate_checks.with_label_values(&labels).inc();
        }
        if verdict.allowed && decision.override_reason.is_some() {
            let environment = counted(&self.environments, MAX_ENVIRONMENTS, environment);
            self.gate_overrides.with_label_values(&[environment]).inc();
        }
    }

    /// Sets how many events the relay has not sealed yet, and how long the oldest of them has waited.
    pub fn set_relay_backlog(&self, events: u64, oldest: Duration) {
        self.events_unsealed.set(saturate(events));
        self.events_unsealed_age.set(saturate(oldest.as_secs()));
    }

    /// Makes the ends of deployments into these environments countable from zero, for the same reason.
    pub fn know_environments<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let environment = counted(&self.environments, MAX_ENVIRONMENTS, name);
            drop(self.gate_overrides.with_label_values(&[environment]));
            for status in Status::ALL.iter().filter(|status| **status != Status::Running) {
                drop(self.deployment_seconds.with_label_values(&[environment, status.as_str()]));
            }
        }
    }

    /// Shows these as the last deployments of their targets, and no others.
    pub fn set_last_deployments(&self, ended: &[NamedDeployment]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeSet::new();
        for NamedDeployment { deployment, service, environment, release } in ended {
            let Some(finished_at) = deployment.times.finished_at else { continue };
            let (kind, status) = (deployment.kind.as_str(), deployment.status.as_str());
            let labels =
                [service, environment, release.version.as_str(), kind, status, &deployment.actor.subject]
                    .map(ToOwned::to_owned);
            self.last_deployment.with_label_values(&labels).set(finished_at.timestamp());
            now.insert(labels);
        }
        for gone in shown.difference(&now) {
            // It is there, because it was shown.
            drop(self.last_deployment.remove_label_values(gone));
        }
        *shown = now;
    }

    /// Sets the state of the database pool.
    pub fn set_database_connections(&self, idle: u64, in_use: u64, max: u64) {
        for (state, count) in [("idle", idle), ("in_use", in_use), ("max", max)] {
            self.database_connections.with_label_values(&[state]).set(saturate(count));
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The label of a name: itself for the first `max` names, `other` for all that come later.
fn counted<'a>(known: &Mutex<HashSet<String>>, max: usize, name: &'a str) -> &'a str {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let is_known = known.contains(name) || (known.len() < max && known.insert(name.to_owned()));
    if is_known { name } else { "other" }
}

fn saturate(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    add(registry, IntCounter::with_opts(opts(name, help))?)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    add(registry, IntCounterVec::new(opts(name, help), labels)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    add(registry, IntGauge::with_opts(opts(name, help))?)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    add(registry, IntGaugeVec::new(opts(name, help), labels)?)
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(name, help).namespace(NAMESPACE).buckets(buckets.to_vec());
    add(registry, HistogramVec::new(opts, labels)?)
}

/// Registers a collector and hands it back.
fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gate::{Check, Verdict};

    /// A start in a locked environment, let through all the same.
    fn overridden() -> Decision {
        let check = Check {
            rule: Rule::Lockdown,
            mode: Mode::Enforce,
            outcome: CheckOutcome::Fail,
            code: "lockdown".to_owned(),
            message: String::new(),
            retry_at: None,
            details: serde_json::Value::Null,
            basis: serde_json::Value::Null,
        };
        Decision {
            id: uuid::Uuid::nil(),
            evaluated_at: chrono::DateTime::UNIX_EPOCH,
            verdict: Verdict { allowed: true, checks: vec![check], retry_at: None },
            policy_version: 0,
            override_reason: Some("the house burns".to_owned()),
        }
    }

    #[test]
    fn everything_is_rendered_under_its_name() {
        let metrics = Metrics::new("1.2.3", "abc").unwrap();
        metrics.observe_request(&Method::GET, "list_services", 200, Duration::from_millis(3));
        metrics.observe_request(&Method::from_bytes(b"BREW").unwrap(), "unmatched", 405, Duration::ZERO);
        metrics.deployment_finished("shop", "prod", "succeeded", Duration::from_secs(40));
        metrics.gate_decided("prod", &overridden());
        metrics.set_deployments(2, 7);
        metrics.set_relay_backlog(3, Duration::from_millis(7900));
        metrics.know_environments(["prod", "staging"]);
        metrics.set_database_connections(1, 2, 10);
        metrics.rate_limited();
        metrics.know_public_url("https://waybill.example");

        let text = metrics.render().unwrap();
        for line in [
            r#"waybill_build_info{commit="abc",version="1.2.3"} 1"#,
            r#"waybill_http_requests_total{method="GET",operation="list_services",status="200"} 1"#,
            r#"waybill_http_requests_total{method="other",operation="unmatched",status="405"} 1"#,
            r#"waybill_http_request_duration_seconds_bucket{method="GET",operation="list_services",le="0.005"} 1"#,
            r#"waybill_deployments_total{environment="prod",service="shop",status="succeeded"} 1"#,
            r#"waybill_deployment_duration_seconds_bucket{environment="prod",status="succeeded",le="60"} 1"#,
            r#"waybill_gate_decisions_total{allowed="true"} 1"#,
            r#"waybill_gate_checks_total{mode="enforce",outcome="fail",rule="lockdown"} 1"#,
            r#"waybill_gate_overrides_total{environment="prod"} 1"#,
            "waybill_deployments_running 2",
            "waybill_deployments_current 7",
            "waybill_events_unsealed 3",
            "waybill_events_unsealed_age_seconds 7",
            r#"waybill_deployment_duration_seconds_count{environment="staging",status="expired"} 0"#,
            r#"waybill_gate_decisions_total{allowed="false"} 0"#,
            r#"waybill_gate_checks_total{mode="report",outcome="fail",rule="outdated"} 0"#,
            r#"waybill_gate_overrides_total{environment="staging"} 0"#,
            r#"waybill_database_connections{state="in_use"} 2"#,
            "waybill_rate_limited_total 1",
            r#"waybill_public_url_info{url="https://waybill.example"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(cfg!(not(target_os = "linux")) || text.contains("\nprocess_resident_memory_bytes "));
    }

    #[test]
    fn services_past_the_limit_are_counted_together() {
        let metrics = Metrics::new("1", "a").unwrap();
        for number in 0..MAX_SERVICES + 3 {
            metrics.deployment_finished(&format!("s{number}"), "prod", "failed", Duration::ZERO);
        }
        let text = metrics.render().unwrap();
        assert!(text.contains(r#"service="s499""#) && !text.contains(r#"service="s500""#));
        assert!(text.contains(r#"service="other",status="failed"} 3"#));
    }
}
