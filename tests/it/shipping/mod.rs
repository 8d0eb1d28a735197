//! What ships the server: manifests, images, compose files, rules, backups and the configuration in them.

mod backup;
mod backup_sqlite;
mod compose;
mod config;
mod manifests;
mod metrics;
mod network;
mod nix;
mod releases;
mod workloads;
