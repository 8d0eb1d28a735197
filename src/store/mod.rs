//! Statements, and nothing but statements. [`db`] alone begins and commits; every other function is handed a connection.
//!
//! What a caller may see is filtered here, by its narrowing, so that no caller can forget it.

pub mod approval;
pub mod audit;
pub mod copy;
pub mod db;
pub mod decision;
pub mod deployment;
pub mod entity;
pub mod environment;
pub mod error;
pub mod event;
pub mod evidence;
pub mod freeze;
pub mod history;
pub mod idempotency;
pub mod matrix;
pub mod moved;
pub mod person;
pub mod policy;
mod prelude;
mod query;
pub mod release;
pub mod scan;
pub mod schema;
pub mod search;
pub mod service;
pub mod session;
pub mod sign_in;
mod sql;
pub mod target;
pub mod token;
pub mod trust;
pub mod vulnerability;
pub mod waiver;
