//! Trusts: which pipelines of an issuer may do what, told by the claims of their ID tokens.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::{
    declared::Declared,
    fault::{Faults, Malformed},
    identity::claims::{Claims, shown},
    scope::Narrowing,
    text::Name,
    vocabulary::Scope,
};

/// The most trusts that there can be of one issuer: all of them are looked at when an ID token is exchanged.
pub const TRUSTS_MAX: i64 = 1000;
/// The most claims that a trust wants.
pub const CLAIMS_MAX: usize = 20;
/// The most environments of an issuer that a trust maps.
pub const MAPPED_MAX: usize = 100;
/// The longest name of a claim, and the longest value that is wanted of one, in characters.
pub const CLAIM_MAX: usize = 500;

/// What the ledger puts before a trust's name, where it names what let a pipeline in.
pub const TRUST: &str = "trust:";

/// The claim by which an issuer says for which environment a job runs.
const ENVIRONMENT: &str = "environment";

/// A trust as it is on record.
pub type Trust = Declared<Definition>;

/// What a trust says. Its members go into events as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Its name, unlike any other's.
    pub name: String,
    /// The issuer whose ID tokens it is about.
    pub issuer: String,
    /// What each of these claims must be: to the letter, or where it holds `*`, anything like it.
    pub claims: BTreeMap<String, String>,
    /// Our environments by what the issuer calls them. Where there is this, a pipeline acts in the one that its ID token
    /// names, and in no other.
    pub environment_map: Option<BTreeMap<String, String>>,
    /// What its pipelines may do.
    pub scopes: BTreeSet<Scope>,
    /// The groups that they approve for.
    pub groups: BTreeSet<String>,
    /// Where they may do it.
    #[serde(flatten)]
    pub places: Narrowing,
}

/// What a trust is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The issuers of the configuration.
    pub issuers: &'a [&'a str],
    /// The claims by which the trust's issuer never means two different things.
    pub immutable: &'a [&'a str],
}

impl Definition {
    /// Checks every field.
    pub fn validate(&self, known: Known<'_>) -> Result<(), Faults> {
        let mut faults = Faults::default();
        faults.take("/name", Name::parse(&self.name));
        if !known.issuers.contains(&self.issuer.as_str()) {
            let detail = match known.issuers {
                [] => "must be an issuer of the server's configuration, which has none; `[[auth.issuer]]` adds one".to_owned(),
                issuers => format!("must be an issuer of the server's configuration: {}", issuers.join(", ")),
            };
            faults.add("/issuer", "unknown-issuer", detail);
        } else if !known.immutable.iter().any(|claim| self.names_exactly(claim)) {
            let detail = match known.immutable {
                [] => format!(
                    "cannot be trusted: nothing is known that {} never reuses; `immutable_claims` of its `[[auth.issuer]]` says so",
                    self.issuer
                ),
                claims => format!(
                    "must have at least one of these, without `*`, because everything else may be somebody else's one day: {}",
                    claims.join(", ")
                ),
            };
            faults.add("/claims", "not-immutable", detail);
        }
        if self.claims.len() > CLAIMS_MAX {
            faults.add("/claims", "too-many", format!("must have at most {CLAIMS_MAX} claims"));
        }
        for (claim, wanted) in &self.claims {
            let pointer = format!("/claims/{}", claim.replace('~', "~0").replace('/', "~1"));
            faults.take(&pointer, line(claim).and(line(wanted)));
        }
        let map = self.environment_map.iter().flatten();
        if map.clone().count() > MAPPED_MAX {
            faults.add(
                "/environment_map",
                "too-many",
                format!("must have at most {MAPPED_MAX} environments"),
            );
        }
        for (theirs, ours) in map {
            let pointer = format!("/environment_map/{}", theirs.replace('~', "~0").replace('/', "~1"));
            faults.take(&pointer, line(theirs).and(Name::of_environment(ours).map(|_| ())));
            if !self.places.allows_environment(ours) {
                let detail =
                    format!("must lead to an environment among those of the trust, which {ours} is not");
                faults.add(&pointer, "outside", detail);
            }
        }
        if self.scopes.is_empty() {
            faults.add("/scopes", "empty", "must hold at least one scope");
        }
        faults.finish(Some(()))
    }

    fn names_exactly(&self, claim: &str) -> bool {
        self.claims.get(claim).is_some_and(|wanted| !wanted.trim().is_empty() && !wanted.contains('*'))
    }

    /// What the claims come to, each that it wants.
    pub fn look_at(&self, claims: &Claims) -> Vec<Looked> {
        let mut looked: Vec<_> =
            self.claims.iter().map(|(claim, wanted)| look(claims, claim, wanted)).collect();
        if let Some(map) = &self.environment_map {
            let given = claims.text(ENVIRONMENT);
            looked.push(Looked {
                claim: ENVIRONMENT.to_owned(),
                wanted: map.keys().cloned().collect::<Vec<_>>().join(" or "),
                given: shown(claims.get(ENVIRONMENT)),
                matches: given.is_some_and(|given| map.contains_key(&given)),
            });
        }
        looked
    }

    /// Where a pipeline may act that has these claims.
    pub fn places_of(&self, claims: &Claims) -> Narrowing {
        let Some(map) = &self.environment_map else { return self.places.clone() };
        let mapped = claims.text(ENVIRONMENT).and_then(|theirs| map.get(&theirs).cloned());
        let within = Narrowing { services: None, environments: Some(mapped.into_iter().collect()) };
        within.within(&self.places).and_services(self.places.services.clone())
    }

    /// How exactly it says whom it means: claims to the letter count first.
    fn specificity(&self) -> (usize, usize) {
        let exact = self.claims.values().filter(|wanted| !wanted.contains('*')).count();
        (exact, self.claims.len() - exact)
    }
}

/// The name of a claim, or what is wanted of one: `*` alone says something, too.
fn line(given: &str) -> Result<(), Malformed> {
    if given.trim().is_empty() || given.chars().count() > CLAIM_MAX || given.chars().any(char::is_control) {
        let detail = format!("must be 1 to {CLAIM_MAX} characters in one line, and not blank");
        return Err(Malformed::new("invalid-claim", detail));
    }
    Ok(())
}

/// A claim that a trust wants, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Its name.
    pub claim: String,
    /// What it must be.
    pub wanted: String,
    /// What it is.
    pub given: String,
    /// Whether it is so.
    pub matches: bool,
}

/// Looks at one claim. Of a list, one item is enough.
fn look(claims: &Claims, claim: &str, wanted: &str) -> Looked {
    let value = claims.get(claim);
    let matches = match value {
        Some(serde_json::Value::Array(items)) => {
            items.iter().filter_map(|item| item.as_str()).any(|item| is_like(item, wanted))
        }
        _ => claims.text(claim).is_some_and(|given| is_like(&given, wanted)),
    };
    Looked { claim: claim.to_owned(), wanted: wanted.to_owned(), given: shown(value), matches }
}

/// Whether a text is as it is wanted: the same, or where a `*` is wanted, anything there up to the next `/`; where two are,
/// anything at all. Nothing else is special.
fn is_like(given: &str, wanted: &str) -> bool {
    if !wanted.contains('*') {
        return given == wanted;
    }
    let mut glob = String::with_capacity(wanted.len() * 2);
    for c in wanted.chars() {
        if matches!(c, '?' | '[' | ']' | '{' | '}' | '!' | '\\' | ',') {
            glob.push('\\');
        }
        glob.push(c);
    }
    fast_glob::glob_match(&glob, given)
}

/// Why no trust lets a pipeline in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// None matches; the nearest, and the claims of it that do not.
    Unmatched(Option<(String, Vec<Looked>)>),
    /// Several match, and none says more exactly than the others whom it means.
    Several(Vec<String>),
}

/// The trust that lets in whom these claims are about: of those that match the one that says most exactly whom it means.
pub fn choose<'a>(trusts: &'a [Trust], claims: &Claims) -> Result<&'a Trust, Outside> {
    let looked: Vec<_> = trusts.iter().map(|trust| (trust, trust.definition.look_at(claims))).collect();
    let matching = looked.iter().filter(|(_, looked)| looked.iter().all(|claim| claim.matches));
    let matching: Vec<&Trust> = matching.map(|(trust, _)| *trust).collect();
    let Some(best) = matching.iter().map(|trust| trust.definition.specificity()).max() else {
        let amiss = |looked: &[Looked]| looked.iter().filter(|claim| !claim.matches).count();
        let nearest = looked
            .into_iter()
            .min_by_key(|(trust, looked)| (amiss(looked), std::cmp::Reverse(trust.definition.specificity())));
        return Err(Outside::Unmatched(nearest.map(|(trust, looked)| {
            (trust.definition.name.clone(), looked.into_iter().filter(|claim| !claim.matches).collect())
        })));
    };
    let mut chosen = matching.into_iter().filter(|trust| trust.definition.specificity() == best);
    match (chosen.next(), chosen.next()) {
        (Some(only), None) => Ok(only),
        (first, second) => {
            let names = first.into_iter().chain(second).chain(chosen);
            Err(Outside::Several(names.map(|trust| trust.definition.name.clone()).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{actor::Actor, identity::claims::Expected};

    const NOW: i64 = 1_800_000_000;

    fn claims(more: &Value) -> Claims {
        let mut all = json!({ "iss": "i", "aud": "a", "sub": "s", "exp": NOW + 300, "iat": NOW });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let expected = Expected { issuer: "i", audience: "a", now };
        Claims::check(all.as_object().unwrap().clone(), expected).unwrap()
    }

    fn trust(name: &str, wanted: &[(&str, &str)]) -> Trust {
        let text = |(claim, wanted): &(&str, &str)| ((*claim).to_owned(), (*wanted).to_owned());
        let definition = Definition {
            name: name.to_owned(),
            issuer: "gitlab".to_owned(),
            claims: wanted.iter().map(text).collect(),
            environment_map: None,
            scopes: [Scope::Deploy].into(),
            groups: [].into(),
            places: Narrowing::default(),
        };
        Trust::new(Uuid::nil(), definition, Actor::server(), DateTime::UNIX_EPOCH)
    }

    fn faults(trust: &Trust, known: Known<'_>) -> Vec<(String, &'static str)> {
        let faults = trust.definition.validate(known).err().map(Faults::into_vec).unwrap_or_default();
        faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
    }

    const KNOWN: Known<'_> = Known { issuers: &["gitlab"], immutable: &["project_id", "/k8s.io/uid"] };

    #[test]
    fn a_trust_names_something_that_is_never_reused() {
        for wanted in [&[("project_id", "4711")][..], &[("/k8s.io/uid", "u"), ("ref", "*")]] {
            assert_eq!(faults(&trust("a", wanted), KNOWN), [], "{wanted:?}");
        }
        for wanted in [
            &[][..],
            &[("project_path", "acme/shop")],
            &[("project_id", "*")],
            &[("project_id", "47*")],
            &[("/project_id", "4711")],
        ] {
            let found = faults(&trust("a", wanted), KNOWN);
            assert_eq!(found, [("/claims".to_owned(), "not-immutable")], "{wanted:?}");
        }
        let unknown = Known { issuers: &["gitlab"], immutable: &[] };
        assert_eq!(faults(&trust("a", &[("project_id", "1")]), unknown)[0].1, "not-immutable");
    }

    #[test]
    fn every_fault_of_a_trust_is_named_at_once() {
        let mut bad = trust("A b", &[("project_id", "1"), ("a/b", " ")]);
        bad.definition.issuer = "github".to_owned();
        bad.definition.scopes.clear();
        bad.definition.places.environments = Some(["prod".to_owned()].into());
        bad.definition.environment_map = Some([("production".to_owned(), "other".to_owned())].into());
        let found: Vec<_> = faults(&bad, KNOWN).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(found, ["/name", "/issuer", "/claims/a~1b", "/environment_map/production", "/scopes"]);
    }

    #[test]
    fn a_star_stays_within_a_segment_and_nothing_else_is_special() {
        for (given, wanted) in [
            ("main", "main"),
            ("release/1.2", "release/*"),
            ("release/1.2/3", "release/**"),
            ("", "*"),
            ("a[b]", "a[b]*"),
            ("!a", "!*"),
            ("{a,b}", "{a,b}*"),
        ] {
            assert!(is_like(given, wanted), "{given} {wanted}");
        }
        for (given, wanted) in [
            ("Main", "main"),
            ("release/1.2/3", "release/*"),
            ("prerelease/1", "release/*"),
            ("b", "!a*"),
            ("a", "[ab]*"),
            ("a", "{a,b}*"),
            ("ab", "a?*"),
            ("main ", "main"),
        ] {
            assert!(!is_like(given, wanted), "{given} {wanted}");
        }
    }

    #[test]
    fn the_one_that_says_most_exactly_whom_it_means_counts() {
        let project = ("project_id", "4711");
        let all = [
            trust("project", &[project]),
            trust("releases", &[project, ("ref", "release/*")]),
            trust("protected", &[project, ("ref_protected", "true")]),
            trust("other", &[("project_id", "1"), ("ref", "main"), ("ref_protected", "true")]),
        ];
        let chosen = |more: Value| choose(&all, &claims(&more)).map(|trust| trust.definition.name.clone());
        assert_eq!(chosen(json!({ "project_id": "4711", "ref": "main" })).unwrap(), "project");
        assert_eq!(chosen(json!({ "project_id": "4711", "ref": "release/1" })).unwrap(), "releases");
        let protected = json!({ "project_id": "4711", "ref": "release/1", "ref_protected": "true" });
        assert_eq!(chosen(protected).unwrap(), "protected");
        assert_eq!(chosen(json!({ "project_id": 4711, "ref_protected": true })).unwrap(), "protected");
        let Err(Outside::Unmatched(Some((nearest, amiss)))) = chosen(json!({ "project_id": "5" })) else {
            panic!("nobody is trusted")
        };
        assert_eq!((nearest.as_str(), amiss.len()), ("project", 1));
        let twice = [trust("a", &[project]), trust("b", &[project])];
        let several = choose(&twice, &claims(&json!({ "project_id": "4711" }))).unwrap_err();
        assert_eq!(several, Outside::Several(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(choose(&[], &claims(&json!({}))).unwrap_err(), Outside::Unmatched(None));
    }

    #[test]
    fn a_mapped_environment_is_the_only_one() {
        let mut mapped = trust("a", &[("project_id", "4711")]);
        let map = [("production", "prod"), ("review/1", "review")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        mapped.definition.environment_map = Some(map.into());
        mapped.definition.places.services = Some(["shop".to_owned()].into());
        let prod = claims(&json!({ "project_id": "4711", "environment": "production" }));
        let places = choose(std::slice::from_ref(&mapped), &prod).unwrap().definition.places_of(&prod);
        assert!(places.allows_environment("prod") && !places.allows_environment("review"));
        assert!(places.allows_service("shop") && !places.allows_service("pay"));
        for environment in [json!({}), json!({ "environment": "staging" })] {
            let mut more = json!({ "project_id": "4711" });
            more.as_object_mut().unwrap().extend(environment.as_object().unwrap().clone());
            assert!(choose(std::slice::from_ref(&mapped), &claims(&more)).is_err(), "{environment}");
            assert_eq!(mapped.definition.places_of(&claims(&more)).environments, Some([].into()));
        }
    }
}
