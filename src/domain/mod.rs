//! The rules of the ledger, as pure functions on plain types: no async, no I/O, no clock, no randomness.
//!
//! Everything a rule needs is an argument, `now` included, so that every decision can be made again a year later.

pub mod actor;
pub mod approval;
pub mod audit;
pub mod chain;
pub mod credential;
pub mod declared;
pub mod deployment;
pub mod descriptive;
pub mod environment;
pub mod event;
pub mod fault;
pub mod form;
pub mod freeze;
pub mod gate;
pub mod idempotency;
pub mod identity;
pub mod json;
pub mod matrix;
pub mod moment;
pub mod nearest;
pub mod page;
pub mod people;
pub mod person;
pub mod places;
pub mod platform;
pub mod policy;
pub mod release;
pub mod release_order;
pub mod repository;
pub mod revision;
pub mod role;
pub mod rollback;
pub mod scan;
pub mod scope;
pub mod service;
pub mod session;
pub mod sign_in;
pub mod span;
pub mod target;
pub mod text;
pub mod vocabulary;
pub mod waiver;
