//! The integration tests: one binary, so that it links once and shares one PostgreSQL.

#[cfg(test)]
mod api_approvals;
#[cfg(test)]
mod api_approved_image;
#[cfg(test)]
mod api_audit;
#[cfg(test)]
mod api_audit_deep;
#[cfg(test)]
mod api_clock;
#[cfg(test)]
mod api_edges;
#[cfg(test)]
mod api_finish;
#[cfg(test)]
mod api_freeze;
#[cfg(test)]
mod api_gate;
#[cfg(test)]
mod api_hostile;
#[cfg(test)]
mod api_idempotency;
#[cfg(test)]
mod api_lockdown;
#[cfg(test)]
mod api_lookalikes;
#[cfg(test)]
mod api_matrix;
#[cfg(test)]
mod api_model;
#[cfg(test)]
mod api_narrowing;
#[cfg(test)]
mod api_order;
#[cfg(test)]
mod api_pages;
#[cfg(test)]
mod api_pending;
#[cfg(test)]
mod api_policy;
#[cfg(test)]
mod api_protocol;
#[cfg(test)]
mod api_races;
#[cfg(test)]
mod api_record;
#[cfg(test)]
mod api_registry;
#[cfg(test)]
mod api_resume;
#[cfg(test)]
mod api_rights;
#[cfg(test)]
mod api_rollback;
#[cfg(test)]
mod api_rollback_releases;
#[cfg(test)]
mod api_scan_parts;
#[cfg(test)]
mod api_scans;
#[cfg(test)]
mod api_start;
#[cfg(test)]
mod api_tokens;
#[cfg(test)]
mod api_upkeep;
#[cfg(test)]
mod api_voices;
#[cfg(test)]
mod api_vulnerabilities;
#[cfg(test)]
mod api_wait;
#[cfg(test)]
mod api_words;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cli_connection;
#[cfg(test)]
mod cli_freeze;
#[cfg(test)]
mod cli_gate;
#[cfg(test)]
mod cli_people;
#[cfg(test)]
mod cli_rollback;
#[cfg(test)]
mod cli_running;
#[cfg(test)]
mod cli_scan;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod copy_process;
#[cfg(test)]
mod durable;
#[cfg(test)]
mod expand_contract;
#[cfg(test)]
mod gate_model;
#[cfg(test)]
mod gate_races;
#[cfg(test)]
mod gate_replay;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http_server;
#[cfg(test)]
mod http_shell;
#[cfg(test)]
mod ledger_before;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod process;
#[cfg(test)]
mod process_crash;
#[cfg(test)]
mod process_outage;
#[cfg(test)]
mod process_race;
#[cfg(test)]
mod process_start;
#[cfg(test)]
mod query_plan;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod shipping_backup;
#[cfg(test)]
mod shipping_backup_sqlite;
#[cfg(test)]
mod shipping_compose;
#[cfg(test)]
mod shipping_config;
#[cfg(test)]
mod shipping_manifests;
#[cfg(test)]
mod shipping_metrics;
#[cfg(test)]
mod shipping_network;
#[cfg(test)]
mod shipping_nix;
#[cfg(test)]
mod shipping_workloads;
#[cfg(test)]
mod support;
#[cfg(test)]
mod toy;
