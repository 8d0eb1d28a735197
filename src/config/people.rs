//! `[auth.oidc]` and `[[auth.role]]`: where people sign in, and what the groups that they come with may do.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::mask_secret;
use crate::domain::{role::Role, scope::Narrowing, vocabulary::Scope};

/// Where people sign in: an OpenID provider that is one of the issuers. Nowhere, unless it is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OidcConfig {
    /// The name of the `[[auth.issuer]]` at which people sign in.
    pub issuer: Option<String>,
    /// As whom the server is registered there.
    pub client_id: Option<String>,
    /// What proves it; a provider that knows the server as a public client gave none.
    #[serde(serialize_with = "mask_secret")]
    pub client_secret: Option<SecretString>,
    /// What is asked for; `openid` among it.
    pub scopes: Vec<String>,
    /// The claim of the ID token that names the person's groups.
    pub groups_claim: String,
    /// The claim that has the name that people are shown; the usual others stand in for it.
    pub name_claim: String,
}

/// What the members of a group may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleConfig {
    /// The group, as the issuer names it.
    pub group: String,
    /// What its members may do.
    pub scopes: Vec<Scope>,
    /// The services that they are confined to; all when empty.
    pub services: Vec<String>,
    /// The environments that they are confined to; all when empty.
    pub environments: Vec<String>,
}

impl Default for OidcConfig {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret: None,
            scopes: vec!["openid".to_owned(), "profile".to_owned()],
            groups_claim: "groups".to_owned(),
            name_claim: "name".to_owned(),
        }
    }
}

impl RoleConfig {
    /// The role, as the domain has it.
    pub fn role(&self) -> Role {
        let names =
            |names: &[String]| (!names.is_empty()).then(|| names.iter().cloned().collect::<BTreeSet<_>>());
        let narrowing =
            Narrowing { services: names(&self.services), environments: names(&self.environments) };
        Role { group: self.group.clone(), scopes: self.scopes.iter().copied().collect(), narrowing }
    }
}
