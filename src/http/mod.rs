//! The room that an API is served in: the server, what surrounds every request, the problems that requests end in, and the
//! pages beside the API. It knows no resource; whoever puts the server together hands it the API.

pub mod docs;
mod icon;
pub mod middleware;
pub mod ops;
pub mod peer;
pub mod pieces;
pub mod problem;
pub mod routes;
pub mod server;
pub mod spec;
