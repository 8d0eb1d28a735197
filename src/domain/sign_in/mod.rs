//! Signing in, as far as it is rules: where a browser goes back to, what it keeps while it is at the issuer, which page a
//! request comes from, and the codes by which a command line is let in.

pub mod back;
pub mod code;
pub mod cookie;
pub mod flow;
pub mod person;
pub mod site;
