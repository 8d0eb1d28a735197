//! What can be done with the ledger, one function for each command and query. A use case owns its transaction: it reads
//! through the store, lets the domain decide, and writes the change with its events.

pub mod access;
pub mod app;
pub mod approvals;
pub mod audit;
pub mod context;
pub mod copy;
pub mod deployments;
pub mod environments;
pub mod error;
pub mod events;
pub mod exchange;
pub mod freezes;
pub mod gate;
pub mod lanes;
pub mod lockdown;
pub mod matrix;
mod named;
pub mod people;
pub mod policies;
pub mod register;
pub mod releases;
pub mod scans;
pub mod search;
mod seen;
pub mod services;
pub mod sessions;
pub mod sign_in;
pub mod tokens;
pub mod trusts;
pub mod upkeep;
pub mod waivers;
pub mod work;
