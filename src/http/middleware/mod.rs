//! What every request passes on its way to an operation and every response on its way back.
//!
//! The order, from outside to inside, and why: the request id (the others name it), the operation that is asked for (most of
//! the others ask for it), the access log (it must see the final status), the security headers, compression, the error roof (everything
//! below may fail with `poem::Error`), the panic catcher, the time limit, the body limit (reading the body counts against
//! the time), the head, the query, the methods.

pub mod access_log;
pub mod body_limit;
pub mod compress;
pub mod error_roof;
pub mod guard;
pub mod headers;
pub mod heads;
pub mod methods;
pub mod queries;
pub mod rate_limit;
pub mod request_id;
