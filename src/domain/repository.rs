//! The names of image repositories, by the grammar of the OCI distribution specification as `distribution/reference`
//! reads it: an optional domain with an optional port, and the components of a path.
//!
//! A registry resolves `..`, `//` and `%2e` as it likes, so a name that is not of this grammar may be another repository
//! than the one that a pattern sees. None is taken, and none that was stored before matches a pattern.

use std::net::Ipv6Addr;

use crate::domain::fault::Malformed;

/// The longest name of a repository, in characters; so says `distribution/reference`.
pub const REPOSITORY_MAX: usize = 255;

/// Parses a repository without tag and digest, and gives its name in full: one without a domain is Docker Hub's. A domain's
/// capitals become small, for domains have none; a path with capitals is refused.
pub fn parse(name: &str) -> Result<String, Malformed> {
    if name.is_empty() || name.chars().count() > REPOSITORY_MAX {
        return Err(invalid(format!("must name a repository of 1 to {REPOSITORY_MAX} characters")));
    }
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_domain(first) => (Some(domain(first)?), rest),
        Some(_) | None => (None, name),
    };
    for part in path.split('/') {
        if part.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(invalid(format!(
                "`{part}` must be in lower case: repositories have no capitals; here `{}`",
                name.to_ascii_lowercase()
            )));
        }
        if !is_component(part) {
            return Err(invalid(format!(
                "`{part}` cannot be a part of a repository: each is small letters and digits, with single `.`, `_`, `__` \
                 or hyphens between them"
            )));
        }
    }
    Ok(in_full(domain.as_deref(), path))
}

/// The name in full of Docker Hub's repositories, which have short ones, too.
fn in_full(domain: Option<&str>, path: &str) -> String {
    match domain {
        None | Some("docker.io" | "index.docker.io") if !path.contains('/') => {
            format!("docker.io/library/{path}")
        }
        None | Some("index.docker.io") => format!("docker.io/{path}"),
        Some(domain) => format!("{domain}/{path}"),
    }
}

/// Whether a repository, which may be short, is one that the pattern stands for; one without a domain is for Docker Hub's.
pub fn matches(pattern: &str, repository: &str) -> bool {
    // One that was stored before names were parsed may resolve to another repository than the one that it looks like.
    let Ok(repository) = parse(repository) else { return false };
    let (first, rest) = pattern.split_once('/').map_or((pattern, None), |(first, rest)| (first, Some(rest)));
    let is_short = !is_domain(first) && !first.contains(['*', '?', '{', '[']);
    let is_hub = matches!(first, "docker.io" | "index.docker.io");
    // Brackets are those of an IPv6 address.
    let pattern = &pattern.replace('[', r"\[").replace(']', r"\]");
    let pattern = match rest {
        _ if is_short => in_full(None, pattern),
        Some("**") if is_hub => "docker.io/**".to_owned(),
        Some(path) if is_hub => in_full(Some(first), path),
        Some(_) | None => pattern.to_owned(),
    };
    fast_glob::glob_match(&pattern, &repository)
}

/// Whether it is a tag, which a reference may have beside its digest.
pub fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn invalid(detail: String) -> Malformed {
    Malformed::new("invalid-image", detail)
}

/// Whether the first component names a registry and not the beginning of a path.
fn is_domain(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':', '['])
}

fn domain(text: &str) -> Result<String, Malformed> {
    let bad = || {
        invalid(format!(
            "`{text}` cannot be the domain of a registry: it is a host name or an IPv6 address in brackets, with a port \
             where one is needed"
        ))
    };
    let end = text.find(']').map_or(0, |end| end + 1);
    let (host, port) = match text.get(end..).and_then(|rest| rest.split_once(':')) {
        Some((rest, port)) => (text.get(..end + rest.len()).unwrap_or_default(), Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let host_ok = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    let digits = |port: &str| port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if host_ok && port.is_none_or(digits) { Ok(text.to_ascii_lowercase()) } else { Err(bad()) }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.chars().all(|c| c == '-');
    part.starts_with(word) && part.ends_with(word) && part.split(word).all(separator)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_grammar_allows() {
        for right in [
            "localhost/shop",
            "registry.example.com/a/b.c/d_e/f__g/h---i",
            "registry.example.com:5000/shop",
            "xn--n3h.example.com/shop",
            "192.0.2.1:80/shop",
            "[2001:db8::1]:5000/shop",
            "[::1]/shop",
            "registry:5000/shop",
        ] {
            assert_eq!(parse(right).as_deref(), Ok(right));
        }
        assert_eq!(parse("Registry.Example.COM/shop").as_deref(), Ok("registry.example.com/shop"));
    }

    #[test]
    fn nothing_else_is_a_repository() {
        for wrong in [
            "",
            ".",
            "..",
            "registry.example.com/team/../evil",
            "registry.example.com/team/./evil",
            "registry.example.com//evil",
            "registry.example.com/team/",
            "/team",
            "registry.example.com/team/%2e%2e/evil",
            "registry.example.com/team\\evil",
            "registry.example.com/team /evil",
            "registry.example.com/te\u{200b}am",
            "registry.example.com/a..b",
            "registry.example.com/a___b",
            "registry.example.com/a._b",
            "registry.example.com/-a",
            "registry.example.com/a-",
            "registry.example.com/a:1/b",
            "registry.example.com:/a",
            "registry.example.com:99999/a",
            "registry.example.com:+80/a",
            "registry..com/a",
            "-a.com/a",
            "[::1/a",
            "[::1]x/a",
            "[::1]:/a",
            "[g::]/a",
            "user@registry.example.com/a",
            "https://registry.example.com/a",
            "ä/b",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"a".repeat(255)).is_ok() && parse(&"a".repeat(256)).is_err());
    }

    #[test]
    fn capitals_are_called_by_their_name() {
        for (wrong, right) in [
            ("Shop", "`shop`"),
            ("registry.example.com/Shop", "`registry.example.com/shop`"),
            ("Team/shop", "`team/shop`"),
        ] {
            let detail = parse(wrong).unwrap_err().detail;
            assert!(detail.contains("lower case") && detail.ends_with(right), "{detail}");
        }
    }

    #[test]
    fn docker_hub_has_short_names() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx"),
            ("team/shop", "docker.io/team/shop"),
            ("registry.example.com/shop", "registry.example.com/shop"),
            ("localhost/shop", "localhost/shop"),
        ] {
            assert_eq!(parse(short).unwrap(), full);
            assert!(matches(short, full) && matches(full, short), "{short}");
        }
        assert!(matches("team/*", "docker.io/team/shop") && matches("docker.io/**", "nginx"));
        assert!(!matches("team/*", "registry.example.com/team/shop") && !matches("nginx", "team/nginx"));
        assert!(!matches("**", "registry.example.com/../shop"), "no proper name");
        assert!(matches("[fd00::1]:5000/team/*", "[FD00::1]:5000/team/shop"));
        assert!(
            !matches("[fd00::1]:5000/team/*", "[fd00::2]:5000/team/shop") && !matches("[::1]/*", "1/shop")
        );
    }

    proptest! {
        #[test]
        fn what_is_parsed_stays_as_it_is(name in "[a-zA-Z0-9.:/_\\[\\]-]{0,30}") {
            if let Ok(parsed) = parse(&name) {
                prop_assert_eq!(parse(&parsed), Ok(parsed.clone()));
                prop_assert!(parsed.split('/').all(|part| !part.is_empty() && part.chars().any(|c| c != '.')));
            }
        }
    }
}
