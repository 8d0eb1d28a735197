//! The integration tests: one binary, so that it links once and shares one PostgreSQL.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http_server;
#[cfg(test)]
mod http_shell;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod process;
#[cfg(test)]
mod query_plan;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod support;
#[cfg(test)]
mod toy;
