//! Signing in: at an issuer, with a token (which is [`super::sessions::begin_with_token`]), and letting command lines in.

pub mod at_issuer;
pub mod command_line;
