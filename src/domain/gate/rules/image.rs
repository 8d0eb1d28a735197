//! The rule about images.

use serde_json::json;

use crate::domain::{
    gate::{Check, facts::Facts},
    policy::ImageRule,
    repository,
    vocabulary::Rule,
};

/// The release names its image by digest, and the image comes from where images may come from.
pub fn image(facts: &Facts, rule: &ImageRule) -> Check {
    if facts.verified {
        return Check::exempt(Rule::Image, "a verified rollback has run here before");
    }
    let Some(image) = &facts.release.image else {
        if !rule.require_digest && rule.allowed_repositories.is_empty() {
            return Check::pass(Rule::Image, "no image is demanded");
        }
        let message = "the release names no image; register it with repository@sha256:…";
        return Check::fail(Rule::Image, "image-not-pinned", message);
    };
    let repository = image.split_once('@').map_or(image.as_str(), |(repository, _)| repository);
    let proper = repository::parse(repository).is_ok();
    let allowed = |pattern: &String| repository::matches(pattern, repository);
    if rule.allowed_repositories.is_empty() || rule.allowed_repositories.iter().any(allowed) {
        return Check::pass(Rule::Image, format!("{repository}, by digest"));
    }
    let why = if proper { "is none of" } else { "is no proper name of a repository, and none of" };
    let message =
        format!("{repository} {why} the allowed repositories: {}", rule.allowed_repositories.join(", "));
    Check::fail(Rule::Image, "image-repository", message)
        .with_details(json!({ "repository": repository, "allowed_repositories": rule.allowed_repositories }))
}
