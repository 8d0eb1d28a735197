//! Which scope an operation needs, so that a person whose roles reach differently far makes each request with the reach of
//! the right one. It lets nobody do anything: the use case decides whether the scope is held, and an operation that is not
//! here is done with the reach of `read`.

use crate::domain::vocabulary::Scope;

/// The scopes with one of which the operation is done. A page that does the same as an operation is called `page_` and
/// that, and is looked at with the same reach.
pub fn needs(operation: &str) -> &'static [Scope] {
    match operation.strip_prefix("page_").unwrap_or(operation) {
        // Its form is sent back whole: with the reach of `read` it would lose what that does not show.
        "get_freeze_window" if operation.starts_with("page_") => &[Scope::Freeze, Scope::Read],
        "start_deployment" | "heartbeat_deployment" | "finish_deployment" | "create_release" => {
            &[Scope::Deploy]
        }
        "record_deployment" => &[Scope::Record, Scope::Deploy],
        "create_approval" | "withdraw_approval" => &[Scope::Approve],
        "upload_scan" => &[Scope::Attest],
        "create_waiver" | "withdraw_waiver" => &[Scope::Override],
        "place_lockdown" | "lift_lockdown" => &[Scope::Override, Scope::Freeze],
        "create_freeze_window" | "update_freeze_window" | "delete_freeze_window" => &[Scope::Freeze],
        "set_policy" => &[Scope::Policy],
        "list_events" | "stream_events" | "list_event_seals" | "get_chain_head" => {
            &[Scope::Audit, Scope::Read]
        }
        "create_service"
        | "update_service"
        | "archive_service"
        | "create_environment"
        | "update_environment"
        | "archive_environment"
        | "create_token"
        | "list_tokens"
        | "revoke_token"
        | "list_sessions"
        | "end_session"
        | "create_trust"
        | "update_trust"
        | "delete_trust"
        | "list_trusts"
        | "get_trust"
        | "check_trusts" => &[Scope::Admin],
        "list_access" => &[Scope::Audit],
        _ => &[Scope::Read],
    }
}
