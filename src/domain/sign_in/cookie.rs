//! Cookies (RFC 6265bis): read so that nobody can put one beside ours, and written so that nobody else can set or read it.

use std::time::Duration;

/// The one value that a browser sends under this name. Two would mean that another page has set one, and nobody could tell
/// which is ours.
pub fn only<'a>(headers: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let pairs = headers.into_iter().flat_map(|header| header.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (key, value) = pair.trim_matches(' ').split_once('=')?;
        (key == name).then_some(value)
    });
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// What sets a cookie for all of this site. A script cannot read it, and other sites do not send it but with a link.
pub fn set(name: &str, value: &str, lasts: Duration) -> String {
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", lasts.as_secs())
}

/// What removes it.
pub fn remove(name: &str) -> String {
    set(name, "", Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let found = |headers: &[&'static str]| only(headers.iter().copied(), "waybill");
        assert_eq!(found(&["a=b; waybill=x; c=d"]), Some("x"));
        assert_eq!(found(&["a=b", "waybill=x=y"]), Some("x=y"));
        assert_eq!(found(&["waybill2=x; Waybill=x; xwaybill=y; waybill"]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn two_of_one_name_are_none() {
        assert_eq!(only(["waybill=a; waybill=b"], "waybill"), None);
        assert_eq!(only(["waybill=a", "waybill=a"], "waybill"), None);
    }

    #[test]
    fn a_cookie_is_for_this_host_alone() {
        let secure = set("__Host-waybill", "x", Duration::from_mins(1));
        assert_eq!(secure, "__Host-waybill=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        assert!(!set("waybill", "x", Duration::ZERO).contains("Secure"));
        assert!(remove("waybill").contains("Max-Age=0"));
    }
}
