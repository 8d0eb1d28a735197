//! An approval or a rejection: what one subject says to one release going to one environment.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{
    actor::Actor,
    gate::{
        facts::{ApprovalFact, Facts, Initiator, told},
        rules::{self, Standing},
    },
    person::Person,
    platform::Platform,
    policy::{ApprovalRule, Policy},
    text::Image,
    vocabulary::{CheckOutcome, Kind, Mode, Voice},
};

/// What somebody said, and since when it stands.
#[derive(Clone, Debug)]
pub struct Approval {
    pub id: Uuid,
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
pub struct NamedApproval {
    pub approval: Approval,
    pub service: String,
    /// The release's version.
    pub version: String,
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
    /// Whether it is the image that the release has, in whichever place, or that of one of its platforms.
    pub fn is_still(&self, image: Option<&Image>, platforms: &[Platform]) -> bool {
        match self {
            Self::Untold => true,
            Self::Nothing => image.is_none(),
            Self::Image(seen) => {
                let of_platform = platforms.iter().any(|platform| platform.digest == seen.digest());
                image.is_some_and(|image| of_platform || image.digest() == seen.digest())
            }
        }
    }
}

/// Whether what was said for this image is said for the image that the release has now, in whichever place.
pub fn is_for(said: Option<&Image>, now: Option<&Image>) -> bool {
    said.map(Image::digest) == now.map(Image::digest)
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
            comment: told(self.voice, self.comment.as_deref()),
            for_image: is_for(self.image.as_ref(), image),
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
    pub release_id: Uuid,
    /// Where it was to go.
    pub environment_id: Uuid,
    pub service: String,
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
    /// The subjects that initiated or recorded the release, or added its image.
    pub makers: BTreeSet<String>,
    /// Whether somebody is known to have initiated the release.
    pub initiator: Initiator,
    /// The image that the release has now.
    pub image: Option<Image>,
    /// When the release, or its artefact, was last reverted there.
    pub reverted_at: Option<DateTime<Utc>>,
    /// Whether it is older than the release that is current there now.
    pub outdated: bool,
    /// The first of those denials: since when it waits.
    pub since: DateTime<Utc>,
}

/// What a release waits for.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What waits.
    pub asked: Asked,
    /// How far each of the policy's rules is.
    pub standings: Vec<Standing>,
    /// Those whose approvals count.
    pub approved_by: Vec<String>,
    /// Those who rejected it, and why.
    pub rejections: Vec<(String, Option<String>)>,
    /// Those whose approvals do not count, with the reason why.
    pub not_counted: Vec<(String, &'static str)>,
}

impl Pending {
    /// How many subjects must approve at least.
    pub fn required(&self) -> u32 {
        self.standings.iter().map(|standing| standing.rule.required).max().unwrap_or_default()
    }

    /// How many of them are missing at least: one person may count for several rules.
    pub fn missing(&self) -> u32 {
        self.standings.iter().map(|standing| standing.missing).max().unwrap_or_default()
    }

    /// The groups whose members' approvals count; anybody's when empty.
    pub fn groups(&self) -> BTreeSet<&str> {
        let rules = || self.standings.iter().map(|standing| &standing.rule);
        if rules().any(|rule| rule.groups.is_empty()) {
            return BTreeSet::new();
        }
        rules().flat_map(|rule| &rule.groups).map(String::as_str).collect()
    }

    /// Whether it waits for this group: its members' approvals count for a rule that lacks some, or where only a
    /// rejection stands in the way, for any.
    pub fn asks(&self, group: &str) -> bool {
        let rejected_only = self.missing() == 0;
        let mut open = self.standings.iter().filter(|standing| rejected_only || standing.missing > 0);
        open.any(|standing| standing.rule.takes(group))
    }

    /// Whether it waits for somebody in these groups: they have not said anything yet, and their approval would count for a
    /// rule that lacks some.
    pub fn waits_for(&self, subject: &str, groups: &BTreeSet<String>) -> bool {
        let own = Person::of(subject);
        let is_own = |name: &String| Person::of(name) == own;
        let before = self.asked.facts.iter().flat_map(|facts| &facts.insiders);
        let is_insider = before.chain(&self.asked.makers).any(is_own);
        let has_said = self.approved_by.iter().chain(self.rejections.iter().map(|(who, _)| who)).any(is_own);
        let mut open = self.standings.iter().filter(|standing| standing.missing > 0);
        let counts = open.any(|standing| standing.rule.takes_any(groups.iter()));
        counts && !has_said && (self.asked.policy.approval.allow_self || !is_insider)
    }
}

/// What a release still waits for, given all that people say about it now; nothing when approvals no longer stand in its
/// way. It is judged for this deployer, or for nobody in particular: whoever was denied it need not be who deploys it.
pub fn pending(
    asked: Asked,
    voices: Vec<ApprovalFact>,
    deployer: Option<&str>,
    now: DateTime<Utc>,
) -> Option<Pending> {
    let rule = &asked.policy.approval;
    let before = asked.facts.as_ref()?;
    // Nobody asks for a release again that a newer one has overtaken.
    let overtaken = asked.outdated && before.kind == Kind::Deploy;
    if rule.mode != Mode::Enforce || overtaken {
        return None;
    }
    let facts = Facts {
        approvals: voices,
        insiders: before.insiders.union(&asked.makers).cloned().collect(),
        deployer: deployer.map(str::to_owned),
        initiator: if before.initiator == Initiator::Known { Initiator::Known } else { asked.initiator },
        reverted_at: asked.reverted_at,
        ..before.clone()
    };
    let count = rules::counted(&facts, rule, now);
    if count.suffices() || rules::approval(&facts, rule, now).outcome != CheckOutcome::Fail {
        return None;
    }
    let rejection = |voice: &&ApprovalFact| (voice.subject.clone(), voice.comment.clone());
    Some(Pending {
        approved_by: count.counting.iter().map(|voice| voice.subject.clone()).collect(),
        rejections: count.rejecting.iter().map(rejection).collect(),
        not_counted: count.discounted.iter().map(|(voice, why)| (voice.subject.clone(), *why)).collect(),
        standings: count.standings,
        asked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::GroupRule;

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
    fn it_waits_for_those_whose_approval_is_missing_and_would_count() {
        let standing = |names: &[&str], missing| Standing {
            rule: GroupRule { groups: names.iter().map(ToString::to_string).collect(), required: 1 },
            approved_by: Vec::new(),
            missing,
        };
        let asked = Asked {
            release_id: Uuid::nil(),
            environment_id: Uuid::nil(),
            service: "shop".to_owned(),
            environment: "prod".to_owned(),
            version: "1".to_owned(),
            policy: Policy::default(),
            decision_id: Uuid::nil(),
            facts: None,
            actor: Actor { token: "t".to_owned(), subject: "ci".to_owned() },
            makers: ["Maker".to_owned()].into(),
            initiator: Initiator::Unknown,
            image: None,
            reverted_at: None,
            outdated: false,
            since: at(0),
        };
        let mut pending = Pending {
            asked,
            standings: vec![standing(&["leads"], 1), standing(&["security"], 0)],
            approved_by: vec!["ada".to_owned()],
            rejections: vec![("eve".to_owned(), None)],
            not_counted: Vec::new(),
        };
        assert!(pending.waits_for("bob", &groups(&["leads"])));
        assert!(!pending.waits_for("bob", &groups(&["security"])), "their rule lacks nobody");
        assert!(!pending.waits_for("Ada", &groups(&["leads"])), "they have said it");
        assert!(!pending.waits_for("eve", &groups(&["leads"])), "they have said no");
        assert!(!pending.waits_for("maker", &groups(&["leads"])), "their own work");
        pending.asked.policy.approval.allow_self = true;
        assert!(pending.waits_for("maker", &groups(&["leads"])));
        pending.standings = vec![standing(&[], 1)];
        assert!(pending.waits_for("bob", &groups(&[])), "anybody will do");
    }

    #[test]
    fn who_tells_what_they_saw_saw_what_there_is() {
        let (a, b) = (Image::trusted("shop@sha256:1".to_owned()), Image::trusted("shop@sha256:2".to_owned()));
        assert!(Saw::Untold.is_still(Some(&a), &[]) && Saw::Untold.is_still(None, &[]));
        assert!(Saw::Nothing.is_still(None, &[]) && !Saw::Nothing.is_still(Some(&a), &[]));
        let saw = Saw::Image(a.clone());
        assert!(saw.is_still(Some(&a), &[]) && !saw.is_still(Some(&b), &[]) && !saw.is_still(None, &[]));
    }
}
