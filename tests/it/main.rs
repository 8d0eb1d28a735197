//! The integration tests: one binary, so that it links once and shares one PostgreSQL.

#[cfg(test)]
mod http_server;
#[cfg(test)]
mod http_shell;
#[cfg(test)]
mod toy;
