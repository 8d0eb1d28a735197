//! Waybill: a self-hosted deployment ledger and release gate.
//!
//! Data flows one way: `api, worker → usecase → {domain, issuer, store}`, `{issuer, store} → domain`,
//! `domain → nothing`.
//! `docs/architecture.md` has the map.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod http;
pub mod issuer;
pub mod metrics;
pub mod pieces;
pub mod serve;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod usecase;
pub mod visible;
pub mod web;
pub mod worker;
