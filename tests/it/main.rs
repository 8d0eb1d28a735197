//! The integration tests: one binary, so that it links once and shares one PostgreSQL.

#[cfg(test)]
mod api;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod durable;
#[cfg(test)]
mod expand_contract;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod ledger_before;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod people;
#[cfg(test)]
mod process;
#[cfg(test)]
mod query_plan;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod shipping;
#[cfg(test)]
mod support;
