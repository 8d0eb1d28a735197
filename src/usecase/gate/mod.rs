//! Asking the gate: gathering the facts, whether for a start or just to know, and reading what it said before.

pub mod check;
pub mod decide;
pub mod decisions;
pub mod wait;
