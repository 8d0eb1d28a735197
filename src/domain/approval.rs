//! An approval or a rejection: what one subject says to one release going to one environment.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    gate::{
        facts::{ApprovalFact, Facts},
        rules,
    },
    policy::{ApprovalRule, Policy},
    text::Image,
    vocabulary::{CheckOutcome, Kind, Mode, Voice},
};

/// What somebody said, and since when it stands.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Identity.
    pub id: Uuid,
    /// The release.
    pub release_id: Uuid,
    /// Where it may go, or not.
    pub environment_id: Uuid,
    /// What they say.
    pub voice: Voice,
    /// Why.
    pub comment: Option<String>,
    /// The groups that the token was in.
    pub groups: BTreeSet<String>,
    /// Who.
    pub actor: Actor,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Since when it no longer stands.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// The image that it was said for; none before the release had one.
    pub image: Option<Image>,
}

/// An approval with the names of what it is about.
#[derive(Clone, Debug)]
pub struct Named {
    /// The approval.
    pub approval: Approval,
    /// The service's name.
    pub service: String,
    /// The release's version.
    pub version: String,
    /// The environment's name.
    pub environment: String,
}

/// What somebody is about to say.
#[derive(Clone, Debug)]
pub struct Said {
    /// What they say.
    pub voice: Voice,
    /// Why.
    pub comment: Option<String>,
    /// Which image they looked at.
    pub saw: Saw,
}

/// Which image of a release somebody looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    /// They do not tell; it is the one that there is.
    Untold,
    /// None: there was none yet.
    Nothing,
    /// This one.
    Image(Image),
}

impl Saw {
    /// Whether it is the image that the release has.
    pub fn is_still(&self, image: Option<&Image>) -> bool {
        match self {
            Self::Untold => true,
            Self::Nothing => image.is_none(),
            Self::Image(seen) => image == Some(seen),
        }
    }
}

impl Approval {
    /// As the gate's rule sees it, of a release that has this image now.
    pub fn fact(&self, image: Option<&Image>) -> ApprovalFact {
        ApprovalFact {
            id: self.id,
            decision: self.voice,
            subject: self.actor.subject.clone(),
            groups: self.groups.clone(),
            at: self.created_at,
            for_image: self.image.as_ref() == image,
        }
    }

    /// Whether saying this, with a token of these groups, adds nothing to what stands. What has expired, is void since the
    /// release was reverted, or was said for another image has to be said again to count again; and so has what was said
    /// for other groups.
    pub fn covers(
        &self,
        said: &Said,
        groups: &BTreeSet<String>,
        rule: &ApprovalRule,
        (image, reverted_at): (Option<&Image>, Option<DateTime<Utc>>),
        now: DateTime<Utc>,
    ) -> bool {
        let counts = rules::no_more(&self.fact(image), rule, reverted_at, now).is_none();
        self.voice == said.voice
            && (said.comment.is_none() || said.comment == self.comment)
            && groups.is_subset(&self.groups)
            && (self.voice == Voice::Rejected || counts)
    }
}

/// A release that the gate denied a start for want of approvals, and that has not started there since.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The release.
    pub release_id: Uuid,
    /// Where it was to go.
    pub environment_id: Uuid,
    /// The service's name.
    pub service: String,
    /// The environment's name.
    pub environment: String,
    /// The release's version.
    pub version: String,
    /// The policy that is in force there now.
    pub policy: Policy,
    /// The latest of those denials.
    pub decision_id: Uuid,
    /// What it looked at; none when it was kept by a version that saw it otherwise.
    pub facts: Option<Facts>,
    /// Who asked.
    pub actor: Actor,
    /// The subjects that initiated or recorded the release.
    pub makers: BTreeSet<String>,
    /// The image that the release has now.
    pub image: Option<Image>,
    /// When the artefact was last reverted there.
    pub reverted_at: Option<DateTime<Utc>>,
    /// The release's place in the order of registration, after the one that is current there now.
    pub outdated: bool,
    /// The first of those denials: since when it waits.
    pub since: DateTime<Utc>,
}

/// What a release waits for.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What waits.
    pub asked: Asked,
    /// How many subjects must approve.
    pub required: u32,
    /// Those who did.
    pub approved_by: Vec<String>,
    /// How many are missing.
    pub missing: u32,
    /// Those who rejected it.
    pub rejected_by: Vec<String>,
    /// Those whose approvals do not count, with the reason why.
    pub not_counted: Vec<(String, &'static str)>,
}

/// What a release still waits for, given all that people say about it now; nothing when approvals no longer stand in its
/// way.
pub fn pending(asked: Asked, voices: Vec<ApprovalFact>, now: DateTime<Utc>) -> Option<Pending> {
    let rule = &asked.policy.approval;
    let before = asked.facts.as_ref()?;
    // Nobody asks for a release again that a newer one has overtaken.
    let overtaken = asked.outdated && before.kind == Kind::Deploy;
    if rule.mode != Mode::Enforce || overtaken {
        return None;
    }
    let insiders = [&before.insiders, &asked.makers, &BTreeSet::from([asked.actor.subject.clone()])];
    let facts = Facts {
        approvals: voices,
        insiders: insiders.into_iter().flatten().cloned().collect(),
        reverted_at: asked.reverted_at,
        ..before.clone()
    };
    if rules::approval(&facts, rule, now).outcome != CheckOutcome::Fail {
        return None;
    }
    let (counting, discounted) = rules::counted(&facts, rule, now);
    let approved = u32::try_from(counting.len()).unwrap_or(u32::MAX);
    let rejecting = facts.approvals.iter().filter(|voice| voice.decision == Voice::Rejected);
    Some(Pending {
        required: rule.required,
        approved_by: counting.iter().map(|voice| voice.subject.clone()).collect(),
        missing: rule.required.saturating_sub(approved),
        rejected_by: rejecting.map(|voice| voice.subject.clone()).collect(),
        not_counted: discounted.into_iter().map(|(voice, why)| (voice.subject.clone(), why)).collect(),
        asked,
    })
}

/// Whether the approvals of this group's members can count: the policy names it, or no group at all.
pub fn is_asked(rule: &ApprovalRule, group: &str) -> bool {
    rule.groups.is_empty() || rule.groups.iter().any(|name| name == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn groups(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn approval(voice: Voice) -> Approval {
        Approval {
            id: Uuid::nil(),
            release_id: Uuid::nil(),
            environment_id: Uuid::nil(),
            voice,
            comment: Some("fine".to_owned()),
            groups: groups(&["a", "b"]),
            actor: Actor { token: "t".to_owned(), subject: "ada".to_owned() },
            created_at: at(0),
            withdrawn_at: None,
            image: None,
        }
    }

    #[test]
    fn the_same_again_adds_nothing_until_it_no_longer_counts() {
        let rule = ApprovalRule { expires_after_seconds: 60, ..ApprovalRule::default() };
        let say = |comment: Option<&str>| Said {
            voice: Voice::Approved,
            comment: comment.map(str::to_owned),
            saw: Saw::Untold,
        };
        let stands = approval(Voice::Approved);
        let covers = |said: &Said, names: &[&str], reverted: Option<i64>, now: i64| {
            stands.covers(said, &groups(names), &rule, (None, reverted.map(at)), at(now))
        };
        assert!(covers(&say(None), &["a"], None, 59));
        assert!(covers(&say(Some("fine")), &[], Some(-1), 59));
        assert!(!covers(&say(Some("other")), &["a"], None, 59), "another comment is to be kept");
        assert!(!covers(&say(None), &["c"], None, 59), "for a group that it did not count for");
        assert!(!covers(&say(None), &["a"], None, 60), "it has expired");
        assert!(!covers(&say(None), &["a"], Some(0), 59), "it is void");
        let image = Image::trusted("shop@sha256:1".to_owned());
        let added = stands.covers(&say(None), &groups(&["a"]), &rule, (Some(&image), None), at(1));
        assert!(!added, "it was said before there was an image");
        let no = Said { voice: Voice::Rejected, comment: None, saw: Saw::Untold };
        assert!(!covers(&no, &["a"], None, 59));
        let rejected = approval(Voice::Rejected);
        assert!(
            rejected.covers(&no, &groups(&[]), &rule, (None, Some(at(1))), at(99)),
            "a rejection never expires"
        );
    }

    #[test]
    fn who_tells_what_they_saw_saw_what_there_is() {
        let (a, b) = (Image::trusted("shop@sha256:1".to_owned()), Image::trusted("shop@sha256:2".to_owned()));
        assert!(Saw::Untold.is_still(Some(&a)) && Saw::Untold.is_still(None));
        assert!(Saw::Nothing.is_still(None) && !Saw::Nothing.is_still(Some(&a)));
        let saw = Saw::Image(a.clone());
        assert!(saw.is_still(Some(&a)) && !saw.is_still(Some(&b)) && !saw.is_still(None));
    }

    #[test]
    fn a_group_is_asked_where_the_policy_names_it_or_none() {
        let any = ApprovalRule::default();
        let named = ApprovalRule { groups: vec!["managers".to_owned()], ..ApprovalRule::default() };
        assert!(is_asked(&any, "managers") && is_asked(&named, "managers") && !is_asked(&named, "others"));
    }
}
