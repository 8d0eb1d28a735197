//! `[[auth.issuer]]`: those whose ID tokens are taken. Each is a host that the server calls for keys, and the only ones.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One issuer of ID tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IssuerConfig {
    /// What it is called here; subjects that it vouches for begin with it.
    pub name: String,
    /// Its URL, to the letter as its tokens have it in `iss`.
    pub url: String,
    /// What its claims are like; without it, as its URL or its name says.
    pub kind: Option<IssuerKind>,
    /// Whom its tokens must be meant for; without it, `server.public_url`.
    pub audience: Option<String>,
    /// The certificates that alone are trusted for it, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The claims by which it never means two different things, though one is gone; without any, those of its kind.
    pub immutable_claims: Vec<String>,
    /// The claim that says which person started a pipeline; without it, that of its kind.
    pub person_claim: Option<String>,
}

/// What issues ID tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuerKind {
    /// GitLab, its jobs' `id_tokens`.
    Gitlab,
    /// GitHub Actions.
    Github,
    /// Buildkite's agents.
    Buildkite,
    /// Jenkins with the plugin for OpenID Connect.
    Jenkins,
    /// A cluster's API server, for service accounts.
    Kubernetes,
    /// Anything else.
    Other,
}

impl IssuerKind {
    /// The kind that an issuer's URL tells, or else its name.
    fn guess(name: &str, url: &str) -> Self {
        match (url.trim_end_matches('/'), name) {
            ("https://token.actions.githubusercontent.com", _) | (_, "github") => Self::Github,
            ("https://gitlab.com", _) | (_, "gitlab") => Self::Gitlab,
            ("https://agent.buildkite.com", _) | (_, "buildkite") => Self::Buildkite,
            (_, "kubernetes") => Self::Kubernetes,
            (_, "jenkins") => Self::Jenkins,
            _ => Self::Other,
        }
    }
}

impl IssuerConfig {
    /// What its claims are like.
    pub fn kind(&self) -> IssuerKind {
        self.kind.unwrap_or_else(|| IssuerKind::guess(&self.name, &self.url))
    }

    /// The claims by which it never means two different things: names, or JSON pointers to nested ones.
    pub fn immutable_claims(&self) -> Vec<&str> {
        if !self.immutable_claims.is_empty() {
            return self.immutable_claims.iter().map(String::as_str).collect();
        }
        match self.kind() {
            IssuerKind::Gitlab => vec!["project_id", "namespace_id"],
            IssuerKind::Github => vec!["repository_id", "repository_owner_id"],
            IssuerKind::Buildkite => vec!["pipeline_id", "organization_id"],
            IssuerKind::Jenkins => vec!["sub"],
            IssuerKind::Kubernetes => vec!["/kubernetes.io/serviceaccount/uid"],
            IssuerKind::Other => Vec::new(),
        }
    }

    /// The claim that says which person started a pipeline, if there is one.
    pub fn person_claim(&self) -> Option<&str> {
        if let Some(claim) = &self.person_claim {
            return Some(claim);
        }
        match self.kind() {
            IssuerKind::Gitlab => Some("user_id"),
            IssuerKind::Github => Some("actor_id"),
            IssuerKind::Buildkite | IssuerKind::Jenkins | IssuerKind::Kubernetes | IssuerKind::Other => None,
        }
    }
}
