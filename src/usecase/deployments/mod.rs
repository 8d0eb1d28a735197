//! The life of deployments: starting, keeping alive, finishing, putting on record, reading.

pub mod finish;
pub mod heartbeat;
pub mod held;
pub mod read;
pub mod record;
pub mod start;
