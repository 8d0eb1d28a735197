//! What pages are made of besides their HTML. Each is named by its hash, so that a browser keeps it for ever and still never
//! shows an old one.

use std::sync::LazyLock;

use poem::{
    Request, Response, Result,
    http::{StatusCode, header},
};
use sha2::{Digest as _, Sha256};

use crate::http::problem::{Code, Problem};

/// Something that pages load.
pub struct Asset {
    path: String,
    content_type: &'static str,
    text: &'static str,
}

/// How all pages look.
pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));

/// What keeps a page up to date while it is looked at.
pub static LIVE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript; charset=utf-8", include_str!("live.js")));

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let hash: String = hex::encode(Sha256::digest(text)).chars().take(16).collect();
        Self { path: format!("/assets/{name}.{hash}.{extension}"), content_type, text }
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The endpoint for them all.
pub async fn serve(request: Request) -> Result<Response> {
    let path = request.uri().path();
    let Some(asset) = [&*STYLE, &*LIVE].into_iter().find(|asset| asset.path == path) else {
        return Err(Problem::new(Code::NotFound, "There is no such asset; load the page again.").into());
    };
    Ok(Response::builder()
        .status(StatusCode::OK)
        .content_type(asset.content_type)
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .body(asset.text))
}
