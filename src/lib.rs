//! Waybill: a self-hosted deployment ledger and release gate.
//!
//! Data flows one way: `api, worker → usecase → {domain, store}`, `store → domain`, `domain → nothing`.
//! `docs/architecture.md` has the map.

pub mod cli;
pub mod config;
