//! Roles: what the members of a group of the issuer may do. They come from the configuration and are looked up with each
//! request, so that a role that is taken away is gone at once.

use std::collections::BTreeSet;

use crate::domain::{scope::Narrowing, vocabulary::Scope};

/// What the members of a group may do, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The group, as the issuer names it.
    pub group: String,
    /// What its members may do.
    pub scopes: BTreeSet<Scope>,
    /// Where.
    pub narrowing: Narrowing,
}

/// What somebody may do in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// What they may do.
    pub scopes: BTreeSet<Scope>,
    /// Where they may do it.
    pub narrowing: Narrowing,
}

/// The roles that members of these groups have.
pub fn held<'a>(roles: &'a [Role], groups: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Role> {
    roles.iter().filter(|role| groups.contains(&role.group))
}

/// What members of these groups may do in a request that needs one of the scopes `asked` for.
///
/// Roles may reach differently far: who reads everything may deploy one service only. A request is made with the reach of
/// the scope that it needs, of several that will do with the widest, and with those other scopes that reach at least as far.
pub fn rights(roles: &[Role], groups: &BTreeSet<String>, asked: &[Scope]) -> Rights {
    let reach = |scope: Scope| {
        let roles = held(roles, groups).filter(|role| gives(role, scope));
        roles.map(|role| role.narrowing.clone()).reduce(|one, other| union(&one, &other).unwrap_or(one))
    };
    let all = || Scope::ALL.iter().copied();
    let wider = |one: Narrowing, other: Narrowing| if other.covers(&one) { other } else { one };
    let asked = asked.iter().copied().filter_map(reach).reduce(wider);
    let Some(narrowing) = asked.or_else(|| all().find_map(reach)) else { return Rights::default() };
    let covers = |scope: &Scope| reach(*scope).is_some_and(|reach| reach.covers(&narrowing));
    Rights { scopes: all().filter(covers).collect(), narrowing }
}

fn gives(role: &Role, scope: Scope) -> bool {
    role.scopes.contains(&scope) || role.scopes.contains(&Scope::Admin)
}

/// What two narrowings reach together; none where that is not all of some services in all of some environments.
pub fn union(one: &Narrowing, other: &Narrowing) -> Option<Narrowing> {
    if one.covers(other) {
        return Some(one.clone());
    }
    if other.covers(one) {
        return Some(other.clone());
    }
    let both = |a: &Option<BTreeSet<String>>, b: &Option<BTreeSet<String>>| Some(a.as_ref()? | b.as_ref()?);
    if one.environments == other.environments {
        let services = both(&one.services, &other.services);
        return Some(Narrowing { services, environments: one.environments.clone() });
    }
    let environments = both(&one.environments, &other.environments);
    (one.services == other.services).then(|| Narrowing { services: one.services.clone(), environments })
}

/// The first two roles that give the same scope in places that cannot be put together, which would leave open what somebody
/// in both groups may do.
pub fn clash(roles: &[Role]) -> Option<(usize, usize, Scope)> {
    let pairs = roles.iter().enumerate().flat_map(|(n, one)| {
        let later = roles.iter().enumerate().skip(n + 1);
        later.map(move |(m, other)| ((n, one), (m, other)))
    });
    pairs.into_iter().find_map(|((n, one), (m, other))| {
        let scope = Scope::ALL.iter().copied().find(|scope| gives(one, *scope) && gives(other, *scope))?;
        union(&one.narrowing, &other.narrowing).is_none().then_some((n, m, scope))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Option<BTreeSet<String>> {
        (!list.is_empty()).then(|| list.iter().map(ToString::to_string).collect())
    }

    fn role(group: &str, scopes: &[Scope], services: &[&str], environments: &[&str]) -> Role {
        let narrowing = Narrowing { services: names(services), environments: names(environments) };
        Role { group: group.to_owned(), scopes: scopes.iter().copied().collect(), narrowing }
    }

    fn groups(list: &[&str]) -> BTreeSet<String> {
        names(list).unwrap_or_default()
    }

    fn roles() -> Vec<Role> {
        vec![
            role("staff", &[Scope::Read], &[], &[]),
            role("shop", &[Scope::Deploy, Scope::Approve], &["shop"], &[]),
            role("pay", &[Scope::Deploy], &["pay"], &[]),
            role("managers", &[Scope::Approve], &[], &[]),
            role("admins", &[Scope::Admin], &[], &[]),
        ]
    }

    #[test]
    fn who_has_no_role_may_do_nothing() {
        assert_eq!(rights(&roles(), &groups(&["guests"]), &[Scope::Read]), Rights::default());
        assert_eq!(rights(&roles(), &groups(&[]), &[]), Rights::default());
        assert_eq!(rights(&[], &groups(&["staff"]), &[Scope::Read]), Rights::default());
    }

    #[test]
    fn each_scope_reaches_as_far_as_the_roles_that_give_it() {
        let (roles, mine) = (roles(), groups(&["staff", "shop"]));
        let reading = rights(&roles, &mine, &[Scope::Read]);
        assert_eq!((reading.scopes, reading.narrowing), ([Scope::Read].into(), Narrowing::default()));
        let deploying = rights(&roles, &mine, &[Scope::Deploy]);
        assert_eq!(deploying.scopes, [Scope::Read, Scope::Deploy, Scope::Approve].into());
        assert_eq!(deploying.narrowing.services, names(&["shop"]));
    }

    #[test]
    fn roles_add_up() {
        let roles = roles();
        let deploying = rights(&roles, &groups(&["shop", "pay"]), &[Scope::Deploy]);
        assert_eq!(deploying.narrowing.services, names(&["pay", "shop"]));
        assert_eq!(deploying.scopes, [Scope::Deploy].into(), "approving reaches one of the two only");
        let approving = rights(&roles, &groups(&["shop", "managers"]), &[Scope::Approve]);
        assert_eq!((approving.scopes, approving.narrowing), ([Scope::Approve].into(), Narrowing::default()));
        let admin = rights(&roles, &groups(&["shop", "admins"]), &[Scope::Deploy]);
        assert!(admin.scopes.contains(&Scope::Admin) && admin.narrowing.is_none());
    }

    #[test]
    fn what_is_not_held_gives_nothing_beyond_what_is() {
        let override_ = rights(&roles(), &groups(&["shop"]), &[Scope::Override]);
        assert!(!override_.scopes.contains(&Scope::Override));
        assert_eq!(override_.narrowing.services, names(&["shop"]));
    }

    #[test]
    fn no_two_roles_reach_further_together_than_each_alone() {
        let mut both = vec![
            role("a", &[Scope::Deploy], &["shop"], &[]),
            role("b", &[Scope::Deploy, Scope::Read], &[], &["dev"]),
        ];
        assert_eq!(clash(&both), Some((0, 1, Scope::Deploy)));
        let alone = rights(&both, &groups(&["a", "b"]), &[Scope::Deploy]);
        assert_eq!(alone.narrowing, both.first().unwrap().narrowing, "a clash gives the first alone");
        both.pop();
        assert_eq!(clash(&both), None);
        assert_eq!(clash(&roles()), None);
    }
}
