//! The command line: the real binary against a real server.

mod archive;
mod breaker;
mod commands;
mod connection;
mod freeze;
mod gate;
mod identity;
mod links;
mod log;
mod login;
mod pages;
mod people;
mod report;
mod rollback;
mod running;
mod scan;
