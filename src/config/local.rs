//! The local credentials file: where a server that made its own first token leaves it for the client.

use std::{env, path::PathBuf};

/// `$XDG_STATE_HOME/waybill/local.json`, by default below `~/.local/state` (XDG Base Directory Specification 0.8).
#[expect(clippy::disallowed_methods, reason = "the configuration reads the environment")]
pub fn path() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| env::home_dir().map(|home| home.join(".local/state")))?;
    Some(state.join("waybill/local.json"))
}
