//! What is done to the answer of every page: what cannot be shown becomes a page, all ways lead to the moment that was asked for,
//! and what the browser has already is not sent again.

use poem::{
    Body, Request, Response, Result,
    http::{Method, StatusCode, header},
};
use url::form_urlencoded;

use super::{moment::exact, problem::Asker, travel::Travel};
use crate::{api::etag, usecase::app::App};

/// What a request says of the answer that it wants.
pub struct Wanted {
    asker: Asker,
    /// What paths begin with, and the moment as an address has it.
    moment: Option<(String, String)>,
    /// What the browser has.
    has: Option<String>,
}

impl Wanted {
    /// What this request says.
    pub fn of(request: &mut Request) -> Self {
        let base = request.data::<App>().map(|app| app.people.site.base()).unwrap_or_default();
        let travel = Travel::of(base, request).unwrap_or_default();
        let moment = travel.is_past().then(|| (base.to_owned(), exact(travel.as_of)));
        let has = request.header(header::IF_NONE_MATCH).filter(|_| request.method() == Method::GET);
        let has = has.map(str::to_owned);
        Self { asker: Asker::of(request, &travel), moment, has }
    }

    /// The answer as it is sent.
    pub async fn finish(self, answer: Result<Response>) -> Result<Response> {
        let mut answer = answer.or_else(|error| self.asker.answer(error))?;
        let tag = answer.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
        if tag.is_some_and(|tag| etag::none_match(self.has.as_deref(), tag)) {
            answer.set_status(StatusCode::NOT_MODIFIED);
            answer.headers_mut().remove(header::CONTENT_TYPE);
            answer.set_body(Body::empty());
            return Ok(answer);
        }
        let Some((base, as_of)) = self.moment else { return Ok(answer) };
        if let Some(to) = answer.header(header::LOCATION)
            && let Ok(to) = at(to, &base, &as_of, "&").parse()
        {
            answer.headers_mut().insert(header::LOCATION, to);
        }
        if answer.content_type().is_some_and(|kind| kind.starts_with("text/html")) {
            let html = answer.take_body().into_string().await?;
            answer.set_body(all_at(&html, &base, &as_of));
        }
        Ok(answer)
    }
}

/// A page all of whose links and questions keep the moment, but for those that are marked with `data-now`. Whatever anybody wrote
/// is escaped in it, so that tags are ours.
fn all_at(html: &str, base: &str, as_of: &str) -> String {
    let mut parts = html.split('<');
    let mut page = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        page.push('<');
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        let is_link = tag.starts_with("a ") && !tag.contains(" data-now");
        let asks = tag.starts_with("form ") && tag.contains("method=\"get\"") && !tag.contains(" data-now");
        match tag.split_once("href=\"").and_then(|(before, rest)| Some((before, rest.split_once('"')?))) {
            Some((before, (to, after))) if is_link => {
                page.extend([before, "href=\"", &at(to, base, as_of, "&#38;"), "\"", after]);
            }
            _ => page.push_str(tag),
        }
        if part.len() > tag.len() {
            page.push('>');
        }
        if asks {
            page.extend(["<input type=\"hidden\" name=\"as_of\" value=\"", as_of, "\">"]);
        }
        page.push_str(text);
    }
    page
}

/// An address of this site at a moment, unless it names one. `and` is what stands between two fields.
fn at(to: &str, base: &str, as_of: &str, and: &str) -> String {
    let is_ours = to.strip_prefix(base).is_some_and(|path| path.starts_with('/'));
    if !is_ours || to.contains("as_of") {
        return to.to_owned();
    }
    // What is escaped has the same sign.
    let place = to.rfind('#').filter(|place| !to[..*place].ends_with('&'));
    let (path, place) = to.split_at(place.unwrap_or(to.len()));
    let between = if path.contains('?') { and } else { "?" };
    let as_of: String = form_urlencoded::byte_serialize(as_of.as_bytes()).collect();
    format!("{path}{between}as_of={as_of}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_leads_to_the_same_moment_but_the_one_to_now() {
        let then = "2026-03-04T12:00:00Z";
        for (given, expected) in [
            ("<a href=\"/x\">x</a>", "<a href=\"/x?as_of=2026-03-04T12%3A00%3A00Z\">x</a>"),
            (
                "<a class=\"y\" href=\"/x?a=1&#38;b=2\">",
                "<a class=\"y\" href=\"/x?a=1&#38;b=2&#38;as_of=2026-03-04T12%3A00%3A00Z\">",
            ),
            ("<a href=\"/x?a=1#b\">", "<a href=\"/x?a=1&#38;as_of=2026-03-04T12%3A00%3A00Z#b\">"),
            ("<a href=\"/x?as_of=1h\">", "<a href=\"/x?as_of=1h\">"),
            ("<a data-now href=\"/x\">", "<a data-now href=\"/x\">"),
            ("<a href=\"https://git.test/\">", "<a href=\"https://git.test/\">"),
            ("<a href=\"#e1\">", "<a href=\"#e1\">"),
            ("<link href=\"/assets/a.css\">", "<link href=\"/assets/a.css\">"),
            ("&#60;a href=&#34;/x&#34;>", "&#60;a href=&#34;/x&#34;>"),
            (
                "<form method=\"get\" action=\"/x\"><p>",
                "<form method=\"get\" action=\"/x\"><input type=\"hidden\" name=\"as_of\" value=\"2026-03-04T12:00:00Z\"><p>",
            ),
            ("<form method=\"post\" action=\"/x\">", "<form method=\"post\" action=\"/x\">"),
        ] {
            assert_eq!(all_at(given, "", then), expected);
        }
        assert_eq!(
            all_at("<a href=\"/w/x\"><a href=\"/x\">", "/w", "1"),
            "<a href=\"/w/x?as_of=1\"><a href=\"/x\">"
        );
    }
}
