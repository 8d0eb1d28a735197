//! The integration tests: one binary, so that it links once and shares one PostgreSQL.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod process;
#[cfg(test)]
mod support;
