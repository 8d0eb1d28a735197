//! How the addresses of pages are written.

use url::form_urlencoded;

/// An address with those of the fields that say something.
pub fn address<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// A text as a segment of a path.
pub fn segment(text: &str) -> String {
    let mut url = url::Url::parse("path:/").ok();
    if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
        segments.clear().push(text);
    }
    url.map(|url| url.path().trim_start_matches('/').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("CVE-2021-44228"), "CVE-2021-44228");
        assert_eq!(segment("a/b?c#d e%"), "a%2Fb%3Fc%23d%20e%25");
    }

    #[test]
    fn an_address_has_what_says_something() {
        assert_eq!(address("/x", [("a", ""), ("b", "")]), "/x");
        assert_eq!(address("/x", [("a", "1+1 é"), ("b", ""), ("c", "&")]), "/x?a=1%2B1+%C3%A9&c=%26");
    }
}
