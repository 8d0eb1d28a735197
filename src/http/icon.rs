//! The icon that browsers show beside the pages: a waybill.

use poem::{Endpoint, Response, endpoint::make_sync, http::header};

const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect x="2" y="1" width="12" height="14" rx="1.5" fill="#1f6feb"/>
<path d="M5 5h6M5 8h6M5 11h3" fill="none" stroke="#fff" stroke-width="1.5" stroke-linecap="round"/>
</svg>
"##;

/// The endpoint for `/favicon.ico`, by which every browser asks for it.
pub fn endpoint() -> impl Endpoint<Output = Response> + 'static {
    make_sync(|_| {
        Response::builder()
            .content_type("image/svg+xml")
            .header(header::CACHE_CONTROL, "public, max-age=86400")
            .body(ICON)
    })
}
