//! A signed token in its compact form (RFC 7515 §7.1), taken apart strictly. Nothing of it is proved yet.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::TOKEN_MAX;
use crate::domain::identity::claims::{Invalid, shown};

/// The algorithms that are taken (RFC 7518 §3.1): those that cannot be mistaken for a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// A token taken apart.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    pub(super) algorithm: Algorithm,
    /// The key's name; compared with those of the issuer's keys, and used for nothing else.
    pub(super) kid: Option<String>,
    /// What is signed: header and claims as they came.
    pub(super) message: &'a str,
    pub(super) signature: Vec<u8>,
    pub(super) claims: Map<String, Value>,
}

/// What counts of the header. Where it says that its key is elsewhere (`jku`, `x5u`) or brings it along (`jwk`, `x5c`), it is
/// not listened to.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// Takes a token apart.
pub(super) fn parse(token: &str) -> Result<Signed<'_>, Invalid> {
    if token.len() > TOKEN_MAX {
        return Err(Invalid::new(
            "length",
            format!("at most {TOKEN_MAX} bytes"),
            format!("{} bytes", token.len()),
        ));
    }
    let not_signed = |given: &str| Invalid::new("form", "three parts in base64url, separated by dots", given);
    let (message, signature) = token.rsplit_once('.').ok_or_else(|| not_signed("another"))?;
    let (header, claims) = message.split_once('.').ok_or_else(|| not_signed("another"))?;
    if claims.contains('.') {
        return Err(not_signed("of more parts"));
    }
    // Canonical: what has padding, spaces or bits that are left over is no base64url.
    let decode = |part: &str, name: &str| {
        URL_SAFE_NO_PAD.decode(part).map_err(|_| not_signed(&format!("one whose {name} is not so")))
    };
    let header: Header = serde_json::from_slice(&decode(header, "header")?)
        .map_err(|_| Invalid::new("header", "a JSON object with `alg`", "another"))?;
    let algorithm = Algorithm::parse(&header.alg).ok_or_else(|| {
        Invalid::new("header's alg", "RS256 or ES256", shown(Some(&Value::from(header.alg))))
    })?;
    if let Some(crit) = &header.crit {
        return Err(Invalid::new("header's crit", "absent", shown(Some(crit))));
    }
    if let Some(kind) = header.typ.filter(|kind| !kind.eq_ignore_ascii_case("JWT")) {
        return Err(Invalid::new("header's typ", "JWT, or absent", shown(Some(&Value::from(kind)))));
    }
    let claims = serde_json::from_slice(&decode(claims, "part for claims")?)
        .map_err(|_| Invalid::new("part for claims", "a JSON object", "another"))?;
    Ok(Signed { algorithm, kid: header.kid, message, signature: decode(signature, "signature")?, claims })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.{}", part(header), part(claims), part("signature"))
    }

    #[test]
    fn what_is_no_signed_token_is_refused() {
        let good = token(r#"{"alg":"RS256","kid":"../../keys"}"#, "{}");
        assert_eq!(parse(&good).unwrap().kid.as_deref(), Some("../../keys"));
        let long = token(r#"{"alg":"RS256"}"#, &format!("{{\"a\":\"{}\"}}", "x".repeat(TOKEN_MAX)));
        for (claim, token) in [
            ("form", String::new()),
            ("form", "a.b".to_owned()),
            ("form", format!("{good}.{}", part("more"))),
            ("form", format!("{good}=")),
            ("form", format!("{good} ")),
            ("form", format!("{} ", good.replace('.', "\n."))),
            ("form", format!("{}.e31.", part(r#"{"alg":"RS256"}"#))),
            ("length", long),
            ("header", token("[]", "{}")),
            ("header", token(r#"{"kid":"a"}"#, "{}")),
            ("header", token(r#"{"alg":"RS256","alg":"none"}"#, "{}")),
            ("header's alg", token(r#"{"alg":"none"}"#, "{}")),
            ("header's alg", token(r#"{"alg":"HS256"}"#, "{}")),
            ("header's alg", token(r#"{"alg":"PS256"}"#, "{}")),
            ("header's alg", token(r#"{"alg":"rs256"}"#, "{}")),
            ("header's crit", token(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, "{}")),
            ("header's typ", token(r#"{"alg":"RS256","typ":"at+jwt"}"#, "{}")),
            ("part for claims", token(r#"{"alg":"RS256"}"#, "[]")),
        ] {
            let wrong = parse(&token).unwrap_err();
            assert!(wrong.claim == claim || claim == "header" && wrong.claim == "form", "{token}: {wrong}");
        }
    }
}
