//! The integration tests: one binary, so that it links once and shares one PostgreSQL.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http_server;
#[cfg(test)]
mod http_shell;
#[cfg(test)]
mod process;
#[cfg(test)]
mod support;
#[cfg(test)]
mod toy;
