//! The tables, one file each: columns and nothing else. What they mean lives in the domain.

pub mod approval;
pub mod decision;
pub mod deployment;
pub mod environment;
pub mod event;
pub mod freeze_window;
pub mod release;
pub mod service;
pub mod target;
pub mod token;
