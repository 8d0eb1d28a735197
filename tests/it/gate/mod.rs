//! The gate: against an independent model of its rules, under races, and replayed from its record.

pub mod model;
mod races;
pub mod replay;
