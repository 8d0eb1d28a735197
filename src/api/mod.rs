//! The HTTP API: extracts what a request asks, calls a use case and renders what it answers.

pub mod docs;
pub mod framework;
pub mod ops;
pub mod problem;
pub mod problems;
pub mod routes;
pub mod schema;
pub mod spec;
