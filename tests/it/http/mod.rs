//! The room that an API is served in, around a small API and around the real one.

mod server;
mod shell;
pub mod toy;
