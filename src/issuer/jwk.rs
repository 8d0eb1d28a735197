//! An issuer's keys (RFC 7517), and whether one of them made a signature (RFC 7518 §3.3 and §3.4). A key serves one algorithm:
//! what it is says which.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jws::{Algorithm, Signed};
use crate::domain::identity::claims::Invalid;

/// The shortest modulus of an RSA key, in bytes: 2048 bits.
const MODULUS_MIN: usize = 256;
/// The longest that is worth the time.
const MODULUS_MAX: usize = 1024;
/// The most keys that are kept of an issuer.
const KEYS_MAX: usize = 1000;
/// The most keys that are tried for one token: those of its name, or all where it names none.
const TRIED_MAX: usize = 4;

/// The keys of an issuer that can make signatures of ours.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// A point of P-256, uncompressed.
    P256([u8; 65]),
}

/// A key as it is published.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set of keys. Those that are of no use here are left out: a set may hold others beside them.
    pub(super) fn read(set: &Map<String, Value>) -> Result<Self, String> {
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("its keys are no set of JSON Web Keys".to_owned());
        };
        let read = |key: &Value| Key::read(Jwk::deserialize(key).ok()?);
        let keys: Vec<Key> = keys.iter().take(KEYS_MAX).filter_map(read).collect();
        if keys.is_empty() {
            return Err("it publishes no key for RS256 (2048 bits or more) or ES256".to_owned());
        }
        Ok(Self(keys))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that the token may mean.
    fn candidates(&self, signed: &Signed<'_>) -> impl Iterator<Item = &Key> {
        let is_meant = |key: &&Key| match &signed.kid {
            Some(kid) => key.kid.as_ref() == Some(kid),
            None => true,
        };
        let algorithm = signed.algorithm;
        self.0.iter().filter(is_meant).filter(move |key| key.algorithm() == algorithm).take(TRIED_MAX)
    }

    /// Whether there is a key that the token may mean.
    pub(super) fn may_verify(&self, signed: &Signed<'_>) -> bool {
        self.candidates(signed).next().is_some()
    }

    /// Fails unless one of the keys made the token's signature.
    pub(super) fn verify(&self, signed: &Signed<'_>) -> Result<(), Invalid> {
        if self.candidates(signed).any(|key| key.made(signed)) {
            return Ok(());
        }
        Err(Invalid::new("signature", "made by the issuer's key of this name", "not"))
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        let serves = |algorithm: &str| jwk.alg.as_deref().is_none_or(|alg| alg == algorithm);
        let is_for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures {
            return None;
        }
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", None) if serves("RS256") => {
                // Minimal, as RFC 7518 §2 wants it; whoever puts a zero before it means the same number.
                let minimal =
                    |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
                let (n, e) = (minimal(bytes(&jwk.n)?), minimal(bytes(&jwk.e)?));
                let is_long = (MODULUS_MIN..=MODULUS_MAX).contains(&n.len());
                // A byte less than 128 at its head would make it shorter than its bytes.
                let is_full = n.len() > MODULUS_MIN || n.first().is_some_and(|byte| *byte >= 128);
                (is_long && is_full).then_some(Public::Rsa(RsaPublicKeyComponents { n, e }))?
            }
            ("EC", Some("P-256")) if serves("ES256") => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                (x.len() == 32 && y.len() == 32).then_some(())?;
                let point = [vec![4], x, y].concat();
                Public::P256(point.try_into().ok()?)
            }
            _ => return None,
        };
        Some(Self { kid: jwk.kid, public })
    }

    fn algorithm(&self) -> Algorithm {
        match self.public {
            Public::Rsa(_) => Algorithm::Rs256,
            Public::P256(_) => Algorithm::Es256,
        }
    }

    fn made(&self, signed: &Signed<'_>) -> bool {
        let message = signed.message.as_bytes();
        let made = match &self.public {
            Public::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &signed.signature),
            Public::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signed.signature)
            }
        };
        made.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(key: &Value) -> bool {
        let set = json!({ "keys": [key] });
        KeySet::read(set.as_object().unwrap()).is_ok()
    }

    /// A key with another member; null takes it away.
    fn with(key: &Value, name: &str, value: Value) -> Value {
        let mut key = key.clone();
        key[name] = value;
        key
    }

    fn of(length: usize, first: u8) -> String {
        let mut bytes = vec![1; length];
        bytes[0] = first;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn keys_that_are_of_no_use_are_left_out() {
        let rsa =
            json!({ "kty": "RSA", "kid": "a", "use": "sig", "alg": "RS256", "n": of(256, 200), "e": "AQAB" });
        let ec = json!({ "kty": "EC", "kid": "a", "crv": "P-256", "x": of(32, 1), "y": of(32, 1) });
        assert!(kept(&rsa) && kept(&ec));
        assert!(kept(&with(&rsa, "use", Value::Null)) && kept(&with(&rsa, "n", json!(of(512, 200)))));
        assert!(kept(&with(&rsa, "key_ops", json!(["verify"]))));
        for (name, value) in [
            ("kty", json!("oct")),
            ("use", json!("enc")),
            ("alg", json!("RS512")),
            ("alg", json!("HS256")),
            ("crv", json!("P-256")),
            ("key_ops", json!(["encrypt"])),
            ("n", json!(of(255, 200))),
            ("n", json!(of(256, 127))),
            ("n", json!(of(256, 0))),
            ("n", json!(of(1025, 200))),
            ("n", json!("!")),
            ("e", Value::Null),
        ] {
            assert!(!kept(&with(&rsa, name, value.clone())), "{name} {value}");
        }
        for (name, value) in [
            ("kty", json!("RSA")),
            ("crv", json!("P-384")),
            ("crv", json!("secp256k1")),
            ("alg", json!("RS256")),
            ("x", json!(of(31, 1))),
            ("y", json!(of(33, 1))),
        ] {
            assert!(!kept(&with(&ec, name, value.clone())), "{name} {value}");
        }
        let mixed = json!({ "keys": [{ "kty": "oct", "k": "AAAA" }, 5, rsa] });
        assert_eq!(KeySet::read(mixed.as_object().unwrap()).unwrap().len(), 1);
        assert!(KeySet::read(json!({ "keys": {} }).as_object().unwrap()).is_err());
    }
}
