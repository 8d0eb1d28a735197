//! Policies to begin with.

use crate::domain::{
    environment::Environment,
    policy::{ApprovalRule, Budget, ImageRule, OutdatedRule, Policy, PromotionRule, VulnerabilitiesRule},
    vocabulary::{Mode, Preset, Require},
};

/// The most environments that a policy promotes from.
pub const SOURCES_MAX: usize = 20;
/// How long production lets a release soak: an hour.
const SOAK_SECONDS: i64 = 3600;

/// What a preset comes to in an environment, among `others`. Tells what is missing where it demands more than there is.
pub fn preset(preset: Preset, of: &Environment, others: &[Environment]) -> Result<Policy, String> {
    let from = rank_below(of, others);
    if from.len() > SOURCES_MAX {
        return Err(format!(
            "more than {SOURCES_MAX} environments have the rank right below {}; write the policy out, \
             with those of them that it is promoted from",
            of.name
        ));
    }
    let (promotion, approval, image) = match preset {
        Preset::Production if from.is_empty() => {
            return Err(format!(
                "{name} has rank {rank}, and no confirmed environment has a lower one that {name} could be promoted \
                 from; register one, or confirm one by editing it, or write the policy out without promotion",
                name = of.name,
                rank = of.settings.rank,
            ));
        }
        Preset::Production => (Mode::Enforce, Mode::Enforce, Mode::Enforce),
        Preset::Staging => (if from.is_empty() { Mode::Off } else { Mode::Report }, Mode::Off, Mode::Report),
    };
    let soak_seconds = if preset == Preset::Production { SOAK_SECONDS } else { 0 };
    Ok(Policy {
        promotion: PromotionRule { mode: promotion, from, require: Require::Any, soak_seconds },
        approval: ApprovalRule { mode: approval, ..ApprovalRule::default() },
        vulnerabilities: VulnerabilitiesRule {
            mode: Mode::Report,
            max: Budget { critical: Some(0), ..Budget::default() },
            ..VulnerabilitiesRule::default()
        },
        image: ImageRule { mode: image, require_digest: true, ..ImageRule::default() },
        outdated: OutdatedRule { mode: Mode::Enforce },
        ..Policy::default()
    })
}

/// The environments that can be promoted from, of the highest rank below.
fn rank_below(of: &Environment, others: &[Environment]) -> Vec<String> {
    let below = |other: &&Environment| {
        !other.unconfirmed && other.archived_at.is_none() && other.settings.rank < of.settings.rank
    };
    let rank = others.iter().filter(below).map(|other| other.settings.rank).max();
    let highest = others.iter().filter(below).filter(|other| Some(other.settings.rank) == rank);
    highest.map(|other| other.name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::policy::check::tests::environment;

    #[test]
    fn production_promotes_from_the_confirmed_rank_below() {
        let prod = environment("prod", 400);
        let mut unconfirmed = environment("preprod", 390);
        unconfirmed.unconfirmed = true;
        let mut archived = environment("old", 395);
        archived.archived_at = Some(archived.created_at);
        let others = [
            environment("dev", 100),
            environment("staging-eu", 300),
            environment("staging-us", 300),
            environment("dr", 400),
            unconfirmed,
            archived,
        ];
        let policy = preset(Preset::Production, &prod, &others).unwrap();
        assert_eq!(policy.promotion.from, ["staging-eu", "staging-us"]);
        assert_eq!((policy.promotion.mode, policy.promotion.soak_seconds), (Mode::Enforce, 3600));
        assert_eq!((policy.approval.mode, policy.approval.required), (Mode::Enforce, 1));
        assert_eq!((policy.image.mode, policy.image.require_digest), (Mode::Enforce, true));
        assert_eq!(policy.vulnerabilities.mode, Mode::Report);
        assert_eq!(policy.vulnerabilities.max.critical, Some(0));
        assert_eq!((policy.freeze.mode, policy.outdated.mode), (Mode::Enforce, Mode::Enforce));
    }

    #[test]
    fn production_without_a_rank_below_says_what_to_do_and_staging_does_without() {
        let lone = environment("prod", 400);
        let refused = preset(Preset::Production, &lone, &[environment("other", 400)]).unwrap_err();
        assert!(refused.contains("rank 400") && refused.contains("register one"), "{refused}");
        let policy = preset(Preset::Staging, &lone, &[]).unwrap();
        assert_eq!((policy.promotion.mode, policy.promotion.from.len()), (Mode::Off, 0));
        let policy = preset(Preset::Staging, &lone, &[environment("dev", 100)]).unwrap();
        assert_eq!((policy.promotion.mode, policy.promotion.soak_seconds), (Mode::Report, 0));
        assert_eq!((policy.approval.mode, policy.image.mode), (Mode::Off, Mode::Report));
    }

    proptest! {
        #[test]
        fn every_preset_that_there_is_may_be_set(ranks in prop::collection::vec((0i64..4, any::<bool>(), any::<bool>()), 0..30)) {
            let of = environment("prod", 3);
            let make = |(n, (rank, unconfirmed, archived)): (usize, (i64, bool, bool))| {
                let made = environment(&format!("env-{n}"), rank);
                let archived_at = archived.then_some(made.created_at);
                Environment { unconfirmed, archived_at, ..made }
            };
            let others: Vec<_> = ranks.into_iter().enumerate().map(make).collect();
            for chosen in Preset::ALL {
                if let Ok(policy) = preset(*chosen, &of, &others) {
                    prop_assert!(policy.validate(&of.name, &others).is_ok());
                }
            }
        }
    }
}
