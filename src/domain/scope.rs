//! Narrowing: the services and environments a token is confined to.

use std::collections::BTreeSet;

use serde::Serialize;

/// The names a token is confined to; `None` is no confinement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Narrowing {
    pub services: Option<BTreeSet<String>>,
    pub environments: Option<BTreeSet<String>>,
}

impl Narrowing {
    /// Whether the service lies within.
    pub fn allows_service(&self, name: &str) -> bool {
        self.services.as_ref().is_none_or(|names| names.contains(name))
    }

    /// Whether the environment lies within.
    pub fn allows_environment(&self, name: &str) -> bool {
        self.environments.as_ref().is_none_or(|names| names.contains(name))
    }

    /// Those of the names that lie within another; `None` stays.
    #[must_use]
    pub fn within(mut self, other: &Self) -> Self {
        if let Some(names) = &mut self.services {
            names.retain(|name| other.allows_service(name));
        }
        if let Some(names) = &mut self.environments {
            names.retain(|name| other.allows_environment(name));
        }
        self
    }

    /// The same with these services.
    #[must_use]
    pub fn and_services(self, services: Option<BTreeSet<String>>) -> Self {
        Self { services, ..self }
    }

    /// Whether this confines to nothing.
    pub fn is_none(&self) -> bool {
        self.services.is_none() && self.environments.is_none()
    }

    /// Whether everything that `other` reaches is reached by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        let covers = |mine: &Option<BTreeSet<String>>, theirs: &Option<BTreeSet<String>>| match (mine, theirs)
        {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs.is_subset(mine),
        };
        covers(&self.services, &other.services) && covers(&self.environments, &other.environments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_narrowing_covers_only_what_lies_within() {
        let all = Narrowing::default();
        let shop = Narrowing { services: Some(names(&["shop"])), environments: None };
        let shop_dev = Narrowing { services: Some(names(&["shop"])), environments: Some(names(&["dev"])) };
        assert!(all.covers(&shop) && shop.covers(&shop_dev) && shop.covers(&shop));
        assert!(!shop.covers(&all) && !shop_dev.covers(&shop));
        assert!(shop.allows_service("shop") && !shop.allows_service("pay") && shop.allows_environment("any"));
    }
}
