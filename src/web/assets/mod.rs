//! What pages are made of besides their HTML. Each is named by its hash, so that a browser keeps it for ever and still never
//! shows an old one.

use std::sync::LazyLock;

use poem::{
    Request, Response, Result,
    http::{StatusCode, header},
};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::matrix::Production,
    http::problem::{Code, Problem},
};

/// Something that pages load.
pub struct Asset {
    path: String,
    content_type: &'static str,
    text: &'static str,
}

/// How all pages look.
pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));

/// The one script, behind the library that it keeps pages up to date with.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let text = concat!(
        include_str!("vendor/idiomorph-0.8.0.min.js"),
        "\n",
        include_str!("zone.js"),
        include_str!("live.js")
    );
    Asset::new("script", "js", "text/javascript; charset=utf-8", text)
});

/// A waybill, in the colour of how production is.
static CALM: LazyLock<Asset> = LazyLock::new(|| Asset::icon("calm", include_str!("icon-calm.svg")));
static MOVING: LazyLock<Asset> = LazyLock::new(|| Asset::icon("moving", include_str!("icon-moving.svg")));
static LOCKED: LazyLock<Asset> = LazyLock::new(|| Asset::icon("locked", include_str!("icon-locked.svg")));

/// The icon that shows how production is.
pub fn icon(production: Production) -> &'static Asset {
    match production {
        Production::Calm => &CALM,
        Production::Moving => &MOVING,
        Production::Locked => &LOCKED,
    }
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let hash: String = hex::encode(Sha256::digest(text)).chars().take(16).collect();
        Self { path: format!("/assets/{name}.{hash}.{extension}"), content_type, text }
    }

    fn icon(name: &str, text: &'static str) -> Self {
        Self::new(name, "svg", "image/svg+xml", text)
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The endpoint for them all.
pub async fn serve(request: Request) -> Result<Response> {
    let path = request.uri().path();
    let Some(asset) =
        [&*STYLE, &*SCRIPT, &*CALM, &*MOVING, &*LOCKED].into_iter().find(|asset| asset.path == path)
    else {
        return Err(Problem::new(Code::NotFound, "There is no such asset; load the page again.").into());
    };
    Ok(Response::builder()
        .status(StatusCode::OK)
        .content_type(asset.content_type)
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .body(asset.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_as_they_published_it() {
        let vendored = include_bytes!("vendor/idiomorph-0.8.0.min.js");
        let notice = include_str!("../../../NOTICE");
        assert!(notice.contains(&hex::encode(Sha256::digest(vendored))));
    }

    #[test]
    fn the_script_stays_small() {
        assert!(SCRIPT.text.len() < 20 * 1024);
    }
}
