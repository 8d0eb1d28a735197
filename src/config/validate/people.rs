//! What makes `[auth.oidc]` and `[[auth.role]]` valid.

use super::Unusable;
use crate::{
    config::{Config, people::RoleConfig},
    domain::{
        role::{self, Role},
        sign_in::site::Site,
        text::Name,
    },
};

/// The longest name of a group.
const GROUP_MAX: usize = 200;

pub(super) fn faults(config: &Config) -> Vec<Unusable> {
    let mut faults = of_oidc(config);
    for (number, role) in config.auth.role.iter().enumerate() {
        faults.extend(of_role(number, role));
    }
    let roles: Vec<Role> = config.auth.role.iter().map(RoleConfig::role).collect();
    if let Some((one, other, scope)) = role::clash(&roles) {
        let problem = format!(
            "gives {scope} in other services and in other environments than auth.role.{one} does, so that nobody could say \
             what somebody in both groups may do: let one of the two be the same in both, or leave one out"
        );
        faults.push(Unusable { key: format!("auth.role.{other}.scopes").into(), problem });
    }
    faults
}

fn of_oidc(config: &Config) -> Vec<Unusable> {
    let oidc = &config.auth.oidc;
    let mut faults = Vec::new();
    let mut fault = |key: &'static str, problem: String| faults.push(Unusable { key: key.into(), problem });
    let Some(issuer) = &oidc.issuer else {
        let set = [
            ("auth.oidc.client_id", oidc.client_id.is_some()),
            ("auth.oidc.client_secret", oidc.client_secret.is_some()),
        ];
        for (key, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
            fault(
                key,
                "is for auth.oidc.issuer, which is not set: name the [[auth.issuer]] at which people sign in"
                    .to_owned(),
            );
        }
        return faults;
    };
    if !config.auth.issuer.iter().any(|known| known.name == *issuer) {
        let names: Vec<_> = config.auth.issuer.iter().map(|known| known.name.as_str()).collect();
        let known = if names.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        };
        fault("auth.oidc.issuer", format!("must name an [[auth.issuer]]; {known}"));
    }
    if oidc.client_id.as_deref().is_none_or(str::is_empty) {
        fault("auth.oidc.client_id", "is missing: it is what the issuer calls this server".to_owned());
    }
    if !oidc.scopes.iter().any(|scope| scope == "openid") {
        fault("auth.oidc.scopes", "must hold `openid`: without it there is no ID token".to_owned());
    }
    match &config.server.public_url {
        None => fault(
            "server.public_url",
            "is missing: the issuer sends people back to it; `http://localhost:3000` will do for a trial".to_owned(),
        ),
        Some(url) if Site::of(Some(url)) == Site::Exposed => fault(
            "server.public_url",
            "must begin with https:// where people sign in (auth.oidc), unless its host is localhost: everybody on the way \
             could take their cookies"
                .to_owned(),
        ),
        Some(_) => {}
    }
    faults
}

fn of_role(number: usize, role: &RoleConfig) -> Vec<Unusable> {
    let mut faults = Vec::new();
    let mut fault = |key: &str, problem: String| {
        faults.push(Unusable { key: format!("auth.role.{number}.{key}").into(), problem });
    };
    if role.group.trim().is_empty() || role.group.chars().count() > GROUP_MAX {
        fault("group", format!("must name a group of the issuer, in at most {GROUP_MAX} characters"));
    }
    if role.scopes.is_empty() {
        fault("scopes", "must hold at least one scope, such as `read`".to_owned());
    }
    for (key, names) in [("services", &role.services), ("environments", &role.environments)] {
        if let Some(Err(wrong)) = names.iter().map(|name| Name::parse(name)).find(Result::is_err) {
            fault(key, format!("holds what is no name: {}", wrong.detail));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::issuer::IssuerConfig, domain::vocabulary::Scope};

    fn keys(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        config.server.public_url = Some("https://waybill.test".parse().unwrap());
        let (name, url) = ("gitlab".to_owned(), "https://gitlab.test".to_owned());
        config.auth.issuer = vec![IssuerConfig { name, url, ..IssuerConfig::default() }];
        config.auth.oidc.issuer = Some("gitlab".to_owned());
        config.auth.oidc.client_id = Some("waybill".to_owned());
        change(&mut config);
        faults(&config).into_iter().map(|fault| fault.key.into_owned()).collect()
    }

    fn role(services: &[&str], environments: &[&str]) -> RoleConfig {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (services, environments) = (names(services), names(environments));
        RoleConfig { group: "g".to_owned(), scopes: vec![Scope::Deploy], services, environments }
    }

    #[test]
    fn without_an_issuer_nothing_else_is_needed_nor_of_use() {
        assert!(faults(&Config::default()).is_empty());
        assert!(keys(|_| {}).is_empty());
        assert_eq!(keys(|config| config.auth.oidc.issuer = None), ["auth.oidc.client_id"]);
    }

    #[test]
    fn every_fault_of_signing_in_is_found_at_once() {
        let found = keys(|config| {
            config.auth.oidc.issuer = Some("gitlob".to_owned());
            config.auth.oidc.client_id = None;
            config.auth.oidc.scopes = vec!["profile".to_owned()];
            config.server.public_url = Some("http://waybill.test".parse().unwrap());
        });
        let expected = ["auth.oidc.issuer", "auth.oidc.client_id", "auth.oidc.scopes", "server.public_url"];
        assert_eq!(found, expected);
        assert_eq!(keys(|config| config.server.public_url = None), ["server.public_url"]);
    }

    #[test]
    fn roles_name_groups_and_places_and_leave_nothing_open() {
        let wrong = RoleConfig { services: vec!["Shop".to_owned()], ..RoleConfig::default() };
        let found = keys(|config| config.auth.role = vec![role(&[], &[]), wrong]);
        assert_eq!(found, ["auth.role.1.group", "auth.role.1.scopes", "auth.role.1.services"]);
        let found = keys(|config| config.auth.role = vec![role(&["shop"], &[]), role(&[], &["dev"])]);
        assert_eq!(found, ["auth.role.1.scopes"]);
        assert!(keys(|config| config.auth.role = vec![role(&["shop"], &[]), role(&["pay"], &[])]).is_empty());
    }
}
