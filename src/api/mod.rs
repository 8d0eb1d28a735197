//! The resources of the API: each extracts what a request asks, calls a use case and renders what it answers. The room
//! they are served in is [`crate::http`].

#![warn(missing_docs)]

pub mod approvals;
pub mod auth;
pub mod body;
pub mod decisions;
pub mod deployments;
mod document;
pub mod environments;
pub mod etag;
pub mod event_stream;
pub mod events;
pub mod freezes;
pub mod gate;
pub mod gate_wait;
pub mod identity;
pub mod lockdown;
pub mod matrix;
pub mod page;
pub mod people;
pub mod policies;
mod problem;
pub mod releases;
pub mod reply;
pub mod scans;
pub mod services;
pub mod sessions;
pub mod tokens;
pub mod trusts;
pub mod types;
pub mod view;
pub mod vulnerabilities;
pub mod waivers;
mod who;

use poem_openapi::{LicenseObject, OpenApi, OpenApiService};

use self::document::Completed;
use crate::http::routes::API_PREFIX;

/// The chapters of the API's document.
#[derive(poem_openapi::Tags)]
pub enum Tags {
    /// Starting, keeping alive, finishing and reading deployments.
    Deployments,
    /// May this release go there now: policies, freeze windows, lockdowns, approvals, scans and decisions.
    Gate,
    /// What runs where, now and at any moment of the past.
    Matrix,
    /// Services, environments and releases.
    Registry,
    /// Who may do what.
    Tokens,
    /// Everything that happened, in order.
    Audit,
}

const DESCRIPTION: &str = "Waybill records releases and deployments, and answers what runs where and since when, and \
    whether a release may go there now. Every error is `application/problem+json` (RFC 9457) with a `type` that says more when it is opened. \
    Lists are pages: send `next_cursor` back as `cursor`. Every POST takes an `Idempotency-Key`.";

/// The API and its document. It holds nothing: operations find the server in their request.
pub fn service() -> OpenApiService<impl OpenApi + 'static, ()> {
    let operations = (
        deployments::DeploymentsApi,
        freezes::FreezesApi,
        (gate::GateApi, gate_wait::GateWaitApi),
        decisions::DecisionsApi,
        matrix::MatrixApi,
        services::ServicesApi,
        environments::EnvironmentsApi,
        releases::ReleasesApi,
        scans::ScansApi,
        (vulnerabilities::VulnerabilitiesApi, waivers::WaiversApi),
        (tokens::TokensApi, sessions::SessionsApi, people::PeopleApi),
        (trusts::TrustsApi, identity::IdentityApi),
        (events::EventsApi, event_stream::EventStreamApi),
        approvals::ApprovalsApi,
        lockdown::LockdownApi,
        policies::PoliciesApi,
    );
    OpenApiService::new(Completed(operations), "Waybill", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
        .server(API_PREFIX)
}

/// The API's OpenAPI document, which needs no server to be made.
pub fn document() -> String {
    service().spec()
}
