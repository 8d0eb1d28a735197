//! What is served: whether the server lives and what it waits for, and everything once it can do its work.

use std::sync::OnceLock;

use poem::{Endpoint, Request, Response, Result, endpoint::BoxEndpoint};

use crate::http::routes::{Shell, waiting_routes};

/// The one endpoint of a listener; it opens once.
pub(super) struct Door {
    shut: BoxEndpoint<'static, Response>,
    open: OnceLock<BoxEndpoint<'static, Response>>,
}

impl Door {
    /// A shut one, which says by its shell's readiness what is waited for.
    pub(super) fn shut(shell: &Shell) -> Self {
        Self { shut: waiting_routes(shell), open: OnceLock::new() }
    }

    /// Serves this from now on.
    pub(super) fn open(&self, endpoint: BoxEndpoint<'static, Response>) {
        drop(self.open.set(endpoint));
    }
}

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        self.open.get().unwrap_or(&self.shut).call(request).await
    }
}
