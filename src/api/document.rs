//! What the document says of many operations alike, said once: how they fail, what their parameters look like, and that a
//! POST may be sent with an idempotency key.

use std::{collections::HashMap, ops::RangeInclusive};

use poem::{endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    OpenApi,
    registry::{
        MetaApi, MetaOperation, MetaOperationParam, MetaParamIn, MetaSchema, MetaSchemaRef, Registry,
    },
};

use crate::{
    api::{auth, gate_wait, types::form_schema},
    domain::{
        form::{Formed as _, Short, TellingShort},
        page::LIMIT_MAX,
        policy::limits::{
            APPROVAL, KINDS_MAX, NAMES_MAX, REPOSITORIES_MAX, REQUIRED, ROOM, RULES_MAX, SCAN_AGE, SOAK,
        },
        repository::REPOSITORY_MAX,
        text::{Name, Version},
        vocabulary::Severity,
    },
    http::problem::{Code, Problem},
    usecase::gate::wait::LONGEST,
};

/// Operations whose document is completed.
pub struct Completed<T>(pub T);

impl<T: OpenApi> OpenApi for Completed<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            for operation in &mut path.operations {
                complete(&path.path, operation);
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        for (object, field, bounds) in policy_bounds() {
            let properties = registry.schemas.get_mut(object).map(|schema| &mut schema.properties);
            for (_, property) in properties.into_iter().flatten().filter(|(name, _)| *name == field) {
                *property = property.clone().merge(bounds.clone());
            }
        }
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(routes);
    }
}

fn complete(path: &str, operation: &mut MetaOperation) {
    for parameter in &mut operation.params {
        if let Some(known) = known(parameter, path) {
            parameter.schema = parameter.schema.clone().merge(known);
        }
    }
    // What it answers is a secret, which is not kept.
    if operation.method == Method::POST && !OPEN.contains(&path) {
        operation.params.push(auth::key_parameter());
    }
    let failures = failures(path, operation).into_iter().map(Problem::response);
    operation.responses.responses.extend(failures);
}

/// A policy is one shape for the API, the store and the gate, so that its fields carry no bounds of their own.
fn policy_bounds() -> Vec<(&'static str, &'static str, MetaSchema)> {
    let items = |max| MetaSchema { max_items: Some(max), ..MetaSchema::ANY };
    let of =
        |max, each| MetaSchema { items: Some(Box::new(MetaSchemaRef::Inline(Box::new(each)))), ..items(max) };
    let names = || of(NAMES_MAX, form_schema(Name::FORM));
    let groups = || of(NAMES_MAX, form_schema(TellingShort::FORM));
    let repository = MetaSchema { max_length: Some(REPOSITORY_MAX), ..MetaSchema::new("string") };
    let severities = Severity::ALL.iter().map(|severity| ("Budget", severity.as_str(), between(&ROOM)));
    let mut bounds = vec![
        ("FreezeRule", "exempt_kinds", items(KINDS_MAX)),
        ("PromotionRule", "from", names()),
        ("PromotionRule", "soak_seconds", between(&SOAK)),
        ("ApprovalRule", "required", between(&REQUIRED)),
        ("ApprovalRule", "groups", groups()),
        ("ApprovalRule", "rules", items(RULES_MAX)),
        ("ApprovalRule", "expires_after_seconds", between(&APPROVAL)),
        ("GroupRule", "groups", groups()),
        ("GroupRule", "required", between(&REQUIRED)),
        ("VulnerabilitiesRule", "scanners", names()),
        ("VulnerabilitiesRule", "max_scan_age_seconds", between(&SCAN_AGE)),
        ("ImageRule", "allowed_repositories", of(REPOSITORIES_MAX, repository)),
    ];
    bounds.extend(severities);
    bounds
}

fn between(range: &RangeInclusive<i64>) -> MetaSchema {
    #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
    let (minimum, maximum) = (Some(*range.start() as f64), Some(*range.end() as f64));
    MetaSchema { minimum, maximum, ..MetaSchema::ANY }
}

/// What a parameter must be, where its name says it. What a list is narrowed by may be anything: there is nothing of that name.
fn known(parameter: &MetaOperationParam, path: &str) -> Option<MetaSchema> {
    let narrows = parameter.in_type == MetaParamIn::Query && path != "/gate/wait";
    Some(match parameter.name.as_str() {
        "limit" => between(&(1..=LIMIT_MAX.cast_signed())),
        "timeout" => between(&(1..=LONGEST.as_secs().cast_signed())),
        _ if narrows => return None,
        "service" | "environment" => form_schema(Name::FORM),
        "version" => form_schema(Version::FORM),
        "initiated_by" => form_schema(Short::FORM),
        "deployer" => form_schema(TellingShort::FORM),
        "seen" => form_schema(gate_wait::SEEN),
        _ => return None,
    })
}

/// The operations that need no token, because whoever asks wants to be given one.
const OPEN: [&str; 3] = [EXCHANGE, "/auth/code", "/auth/device"];

/// The one by which pipelines are let in.
const EXCHANGE: &str = "/auth/exchange";

/// How an exchange may fail.
const OF_EXCHANGE: [Code; 10] = [
    Code::InvalidRequest,
    Code::IdentityInvalid,
    Code::IdentityUntrusted,
    Code::IdentityAmbiguous,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
    Code::InvalidInput,
    Code::RateLimited,
    Code::Internal,
    Code::IssuerUnreachable,
];

/// How an operation may fail. That it may not be asked at all, as with another method, is no failure of its own.
fn failures(path: &str, operation: &MetaOperation) -> Vec<Code> {
    if path == EXCHANGE {
        return OF_EXCHANGE.to_vec();
    }
    let takes = |name: &str| operation.params.iter().any(|param| param.name == name);
    let (changes, has_body) = (operation.method != Method::GET, operation.request.is_some());
    // Nothing is on record about most of them; what cannot be the id of one is refused.
    let is_vulnerability = path.starts_with("/vulnerabilities/");
    let names_something = path.contains('{') && !is_vulnerability;
    // These name in their body or query what others name in their path, and may find a release that fits no target.
    let asks_gate = path.starts_with("/gate/");
    // Only what is on record can be removed.
    let removes = changes && ["/deployments", "/deployments/record"].contains(&path);
    let judges = takes("If-Match") || (changes && path.ends_with("/approvals"));
    let mut codes = vec![Code::InvalidRequest, Code::Unauthenticated, Code::Forbidden];
    let may = [
        (names_something || asks_gate || removes || takes("service") || takes("environment"), Code::NotFound),
        (changes || asks_gate || takes("preset"), Code::Conflict),
        (judges, Code::Stale),
        (has_body, Code::PayloadTooLarge),
        (has_body, Code::UnsupportedMediaType),
        (has_body || is_vulnerability, Code::InvalidInput),
    ];
    codes.extend(may.into_iter().filter_map(|(may, code)| may.then_some(code)));
    codes.extend([Code::RateLimited, Code::Internal, Code::Unavailable]);
    codes
}
