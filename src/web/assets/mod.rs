//! What pages are made of besides their HTML. Each is named by its hash, so that a browser keeps it for ever and still never
//! shows an old one.

use std::sync::LazyLock;

use poem::{
    Request, Response, Result,
    http::{StatusCode, header},
};
use sha2::{Digest as _, Sha256};

use crate::http::problem::{Code, Problem};

const STYLE: &str = include_str!("style.css");

static STYLE_PATH: LazyLock<String> = LazyLock::new(|| {
    let hash: String = hex::encode(Sha256::digest(STYLE)).chars().take(16).collect();
    format!("/assets/style.{hash}.css")
});

/// Where the style is.
pub fn style_path() -> &'static str {
    &STYLE_PATH
}

/// The endpoint for them all.
pub async fn serve(request: Request) -> Result<Response> {
    if request.uri().path() != style_path() {
        return Err(Problem::new(Code::NotFound, "There is no such asset; load the page again.").into());
    }
    Ok(Response::builder()
        .status(StatusCode::OK)
        .content_type("text/css; charset=utf-8")
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .body(STYLE))
}
