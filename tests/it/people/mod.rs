//! People: how they sign in, what their sessions may do, and what nobody else may do with them.

mod acting;
mod auditor;
mod board;
mod browser;
mod command_line;
mod hostile;
mod issuer;
mod links;
mod names;
mod narrowed;
mod pages;
mod pages_browser;
mod past;
mod policies;
mod sessions;
mod settings;
mod stories;
pub mod visitor;
