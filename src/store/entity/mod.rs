//! The tables, one file each: columns, and the joins that queries make. What they mean lives in the domain.

pub mod approval;
pub mod chain_head;
pub mod column;
pub mod decision;
pub mod deployment;
pub mod environment;
pub mod event;
pub mod finding;
pub mod freeze_window;
pub mod idempotency_key;
pub mod person;
pub mod release;
pub mod scan;
pub mod scan_part;
pub mod service;
pub mod sign_in_code;
pub mod target;
pub mod token;
pub mod trust;
pub mod vulnerability_alias;
pub mod waiver;
