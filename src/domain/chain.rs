//! The hash chain of the audit log: each event's hash covers the one before it, so that no entry can be changed,
//! dropped or put in between without every later hash telling.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::event::{Event, Seal};

/// What the first event's `prev_hash` is.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of an event at its place in the chain: SHA-256 over the event as the API shows it but for its `hash`, as a
/// JSON object whose keys are in alphabetical order, without white space.
pub fn hash(event: &Event, seq: i64, prev_hash: &str) -> String {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_else(|_| Value::String(event.data.clone()));
    let content = json!({
        "seq": seq,
        "prev_hash": prev_hash,
        "id": event.id,
        "at": event.at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "kind": event.kind,
        "actor": event.actor,
        "service": event.service,
        "environment": event.environment,
        "version": event.version,
        "deployment_id": event.deployment_id,
        "request_id": event.request_id,
        "data": data,
    });
    hex::encode(Sha256::digest(content.to_string()))
}

/// Gives an event its place after the one that has `prev_hash`.
pub fn seal(event: &Event, seq: i64, prev_hash: &str) -> Seal {
    Seal { seq, prev_hash: prev_hash.to_owned(), hash: hash(event, seq, prev_hash) }
}

/// The last link that was found whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Its number; 0 before the first event.
    pub seq: i64,
    pub hash: String,
}

impl Default for Link {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// Where and how the log is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing.
    #[error("event {expected} is missing: the chain goes on with {found}")]
    Gap {
        /// The number that should have come.
        expected: i64,
        /// The number that came.
        found: i64,
    },
    /// Numbers begin with 1.
    #[error("event {seq} is outside the log, whose numbers begin with 1")]
    Outside {
        /// Its number.
        seq: i64,
    },
    /// An event has a number, but not what goes with it.
    #[error("event {seq} has a number but no hash, or no prev_hash")]
    HalfSealed {
        /// Its number.
        seq: i64,
    },
    /// An event cannot be read.
    #[error("event {event}: it holds an unreadable {what}")]
    Unread {
        /// Its number, or its id where it has none.
        event: String,
        /// What of it cannot be read.
        what: String,
    },
    /// An event does not follow the one before it.
    #[error("event {seq} does not follow the one before it: its prev_hash is another")]
    Unlinked {
        /// Its number.
        seq: i64,
    },
    /// An event is not what it was when it was sealed.
    #[error("event {seq} was changed after it was sealed: its hash is another")]
    Altered {
        /// Its number.
        seq: i64,
    },
    /// The chain does not end where its head is.
    #[error("the chain ends with event {found}, but its head is event {head}{}", if found == head { ", with another hash" } else { "" })]
    Head {
        /// The last event that is there.
        found: i64,
        /// The event that the head names.
        head: i64,
    },
    /// The chain holds another event in this place than the one that was kept elsewhere.
    #[error("event {seq} is not the one that was anchored: its hash is another")]
    Anchor {
        /// Its number.
        seq: i64,
    },
    /// The log ends before an event that was kept elsewhere.
    #[error(
        "event {seq} was anchored, but the log ends with event {found}: {} {} missing",
        .seq - .found, if .seq - .found == 1 { "event is" } else { "events are" }
    )]
    Cut {
        /// The number of the event that was anchored.
        seq: i64,
        /// The last event that is there.
        found: i64,
    },
}

/// Checks that an event follows the link, and gives the next link.
pub fn follow(link: &Link, event: &Event, seal: &Seal) -> Result<Link, Broken> {
    let next = place(link, seal)?;
    if seal.hash != hash(event, seal.seq, &link.hash) {
        return Err(Broken::Altered { seq: seal.seq });
    }
    Ok(next)
}

/// Checks that a seal is the next one in the chain, and gives the next link: what its event says is another question.
fn place(link: &Link, seal: &Seal) -> Result<Link, Broken> {
    let seq = seal.seq;
    if seq < 1 {
        return Err(Broken::Outside { seq });
    }
    if seq != link.seq + 1 {
        return Err(Broken::Gap { expected: link.seq + 1, found: seq });
    }
    if seal.prev_hash != link.hash {
        return Err(Broken::Unlinked { seq });
    }
    Ok(Link { seq, hash: seal.hash.clone() })
}

/// A walk along the whole chain that goes on after a fault, so that one fault does not hide the others.
#[derive(Clone, Debug)]
pub struct Walk {
    link: Link,
    anchors: BTreeSet<Link>,
    broken: Vec<Broken>,
}

impl Walk {
    /// A walk from the first event on, that looks out for what was kept elsewhere.
    pub fn new(anchors: impl IntoIterator<Item = Link>) -> Self {
        let mut walk =
            Self { link: Link::default(), anchors: anchors.into_iter().collect(), broken: Vec::new() };
        walk.meet_anchors();
        walk
    }

    /// Takes the next event of those that have a number, in the order of the numbers.
    pub fn step(&mut self, event: &Event, seq: i64, seal: Option<&Seal>) {
        let Some(seal) = seal else {
            self.broken.push(Broken::HalfSealed { seq });
            return self.pass(seq);
        };
        match follow(&self.link, event, seal) {
            Ok(link) => self.link = link,
            Err(broken @ Broken::Outside { .. }) => return self.broken.push(broken),
            Err(broken) => {
                let altered = broken == Broken::Altered { seq };
                self.found(broken);
                if !altered && seal.hash != hash(event, seq, &seal.prev_hash) {
                    self.broken.push(Broken::Altered { seq });
                }
                self.link = Link { seq, hash: seal.hash.clone() };
            }
        }
        self.meet_anchors();
    }

    /// Takes the next event by its seal alone, where the reader may not see what it says.
    pub fn hidden(&mut self, seal: &Seal) {
        match place(&self.link, seal) {
            Ok(link) => self.link = link,
            Err(broken @ Broken::Outside { .. }) => return self.broken.push(broken),
            Err(broken) => {
                self.found(broken);
                self.link = Link { seq: seal.seq, hash: seal.hash.clone() };
            }
        }
        self.meet_anchors();
    }

    /// Notes a fault, unless it is that what comes after an event whose hash nobody knows does not follow it.
    fn found(&mut self, broken: Broken) {
        if !matches!(broken, Broken::Unlinked { .. }) || !self.link.hash.is_empty() {
            self.broken.push(broken);
        }
    }

    /// Takes the next event where it cannot be read, with its number where that can.
    pub fn unread(&mut self, seq: Option<i64>, id: &str, what: &str) {
        let event = seq.map_or_else(|| id.to_owned(), |seq| seq.to_string());
        self.broken.push(Broken::Unread { event, what: what.to_owned() });
        if let Some(seq) = seq {
            self.pass(seq);
        }
    }

    /// Goes past an event whose hash nobody knows: what comes next is compared with the place alone.
    fn pass(&mut self, seq: i64) {
        let expected = self.link.seq + 1;
        if seq > expected {
            self.broken.push(Broken::Gap { expected, found: seq });
        }
        self.link = Link { seq: seq.max(self.link.seq), hash: String::new() };
    }

    /// Takes what was found wrong since this was last asked.
    pub fn broken(&mut self) -> Vec<Broken> {
        std::mem::take(&mut self.broken)
    }

    /// Ends the walk where the head must be, if that can be read: gives the last link, and what is wrong with the end.
    pub fn end(mut self, head: Option<&Link>) -> (Link, Vec<Broken>) {
        if let Some(head) = head {
            if self.link.seq == head.seq && self.link.hash.is_empty() {
                self.link.hash.clone_from(&head.hash);
            }
            if self.link != *head {
                self.broken.push(Broken::Head { found: self.link.seq, head: head.seq });
            }
        }
        for anchor in std::mem::take(&mut self.anchors) {
            let found = self.link.seq;
            let missing = Broken::Cut { seq: anchor.seq, found };
            self.broken.push(if anchor.seq > found { missing } else { Broken::Anchor { seq: anchor.seq } });
        }
        (self.link, self.broken)
    }

    /// Takes those anchors off the list that the chain holds.
    fn meet_anchors(&mut self) {
        self.anchors.remove(&self.link);
    }
}

/// How the head of a chain came to lie behind one that was seen before: somebody has put back or replaced the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {} was the head of the audit log's chain before, and now event {} is{}", seen.seq, now.seq,
    if seen.seq == now.seq { ", with another hash" } else { "" })]
pub struct WentBack {
    /// The head that was seen.
    pub seen: Link,
    /// The head that was read later.
    pub now: Link,
}

/// Whether the head that was read after another one was seen lies behind it, or is another in its place.
pub fn went_back(seen: &Link, now: &Link) -> Option<WentBack> {
    let back = now.seq < seen.seq || (now.seq == seen.seq && now.hash != seen.hash);
    back.then(|| WentBack { seen: seen.clone(), now: now.clone() })
}

/// How long an event may wait for its seal once the relay could have given it one.
pub const SEAL_PATIENCE: TimeDelta = TimeDelta::minutes(1);

/// When a server was at work, as an event tells that a request has left; none when it tells nothing of that by now. The
/// order of a target's history may have put the event ahead of the clock, but not its id.
pub fn at_work(event: &Event, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    event.request_id.as_ref()?;
    let made = event.id.get_timestamp().map(|made| made.to_unix());
    let made = made.and_then(|(seconds, nanos)| DateTime::from_timestamp(seconds.try_into().ok()?, nanos));
    let at = made.map_or(event.at, |made| made.min(event.at));
    (at <= now).then_some(at)
}

/// The moment before which no event may still wait for its seal, given when a server was last at work: when the chain was
/// last sealed, and when a request last left an event. While no server runs, events wait as long as that takes.
pub fn sealed_before(
    last_sealed: Option<DateTime<Utc>>,
    last_request: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    last_sealed.max(last_request).map(|at| at - SEAL_PATIENCE)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::actor::Actor;

    fn event(n: u128) -> Event {
        Event {
            id: Uuid::from_u128(n),
            seal: None,
            at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            kind: "service.created".into(),
            actor: Actor::server(),
            service: Some("shop".into()),
            environment: None,
            version: None,
            deployment_id: None,
            request_id: None,
            data: "{}".into(),
        }
    }

    #[test]
    fn a_chain_tells_what_was_done_to_it() {
        let first = seal(&event(1), 1, GENESIS);
        let link = follow(&Link::default(), &event(1), &first).unwrap();
        let second = seal(&event(2), 2, &link.hash);
        assert!(follow(&link, &event(2), &second).is_ok());

        let mut altered = event(2);
        altered.data = r#"{"a":1}"#.into();
        assert_eq!(follow(&link, &altered, &second), Err(Broken::Altered { seq: 2 }));
        assert_eq!(follow(&Link::default(), &event(2), &second), Err(Broken::Gap { expected: 1, found: 2 }));
        let elsewhere = seal(&event(2), 2, GENESIS);
        assert_eq!(follow(&link, &event(2), &elsewhere), Err(Broken::Unlinked { seq: 2 }));
    }

    fn chain_of(length: u8) -> Vec<(Event, Seal)> {
        let mut prev_hash = GENESIS.to_owned();
        let seals = (1..=length).map(|n| {
            let seal = seal(&event(n.into()), n.into(), &prev_hash);
            prev_hash.clone_from(&seal.hash);
            (event(n.into()), seal)
        });
        seals.collect()
    }

    fn walked(chain: &[(Event, Seal)], head: &Link, anchors: &[Link]) -> Vec<Broken> {
        let mut walk = Walk::new(anchors.to_vec());
        for (event, seal) in chain {
            walk.step(event, seal.seq, Some(seal));
        }
        walk.end(Some(head)).1
    }

    fn link(seal: &Seal) -> Link {
        Link { seq: seal.seq, hash: seal.hash.clone() }
    }

    #[test]
    fn a_walk_goes_on_after_a_fault() {
        let chain = chain_of(6);
        let head = link(&chain[5].1);
        assert_eq!(walked(&chain, &head, &[Link::default(), link(&chain[2].1)]), []);
        let mut hurt = chain.clone();
        hurt[1].0.kind = "service.updated".into();
        hurt.remove(3);
        let below = seal(&event(9), -4, GENESIS);
        hurt.insert(0, (event(9), below));
        let found = walked(&hurt, &head, &[]);
        let gap = Broken::Gap { expected: 4, found: 5 };
        assert_eq!(found, [Broken::Outside { seq: -4 }, Broken::Altered { seq: 2 }, gap]);
        let mut walk = Walk::new([]);
        walk.step(&chain[0].0, 1, None);
        walk.step(&chain[1].0, 2, Some(&chain[1].1));
        assert_eq!(walk.broken()[0], Broken::HalfSealed { seq: 1 });
    }

    #[test]
    fn what_cannot_be_read_hides_nothing() {
        let chain = chain_of(6);
        let told = |seq: i64| Broken::Unread { event: seq.to_string(), what: "at".to_owned() };
        let mut walk = Walk::new([]);
        walk.step(&chain[0].0, 1, Some(&chain[0].1));
        walk.unread(Some(2), "id", "at");
        walk.step(&chain[2].0, 3, Some(&chain[2].1));
        walk.unread(Some(5), "id", "at");
        walk.unread(None, "id", "seq");
        walk.unread(Some(6), "id", "at");
        let unnumbered = Broken::Unread { event: "id".to_owned(), what: "seq".to_owned() };
        let gap = Broken::Gap { expected: 4, found: 5 };
        assert_eq!(walk.broken(), [told(2), told(5), gap, unnumbered, told(6)]);
        let head = link(&chain[5].1);
        assert_eq!(walk.clone().end(Some(&head)), (head, vec![]), "where the head is, it may be the last");
        assert_eq!(walk.end(None).1, []);
    }

    #[test]
    fn what_is_hidden_is_followed_by_its_seal() {
        let chain = chain_of(4);
        let walked = |hidden: &Seal| {
            let mut walk = Walk::new([]);
            for (event, seal) in &chain {
                if seal.seq == hidden.seq {
                    walk.hidden(hidden);
                } else {
                    walk.step(event, seal.seq, Some(seal));
                }
            }
            walk.end(Some(&link(&chain[3].1))).1
        };
        let second = &chain[1].1;
        assert_eq!(walked(second), []);
        let forged = Seal { hash: GENESIS.to_owned(), ..second.clone() };
        assert_eq!(walked(&forged), [Broken::Unlinked { seq: 3 }]);
    }

    #[test]
    fn an_anchor_beyond_the_end_tells_how_many_are_missing() {
        let chain = chain_of(5);
        let (short, anchor) = (&chain[..2], link(&chain[4].1));
        let found = walked(short, &link(&chain[1].1), std::slice::from_ref(&anchor));
        assert_eq!(found, [Broken::Cut { seq: 5, found: 2 }]);
        assert!(found[0].to_string().ends_with("3 events are missing"), "{}", found[0]);
        assert_eq!(walked(short, &anchor, &[]), [Broken::Head { found: 2, head: 5 }]);
        let forged = Link { seq: 2, hash: anchor.hash };
        assert_eq!(walked(&chain, &link(&chain[4].1), &[forged]), [Broken::Anchor { seq: 2 }]);
    }

    #[test]
    fn an_event_ahead_of_the_clock_tells_of_no_server_at_work() {
        let at = |seconds: i64| DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap();
        let left = |seconds: i64, made: Option<u64>| {
            let id = made.map_or(Uuid::from_u128(1), |made| {
                let made = uuid::Timestamp::from_unix(uuid::NoContext, 1_700_000_000 + made, 0);
                Uuid::new_v7(made)
            });
            Event { at: at(seconds), id, request_id: Some("r".to_owned()), ..event(1) }
        };
        for (event, told) in [
            (event(1), None),
            (left(0, None), Some(at(0))),
            (left(9, Some(9)), Some(at(9))),
            (left(90, Some(9)), Some(at(9))),
            (left(0, Some(90)), Some(at(0))),
            (left(9000, None), None),
            (left(9000, Some(9)), Some(at(9))),
            (left(9000, Some(9000)), None),
        ] {
            assert_eq!(at_work(&event, at(100)), told, "{event:?}");
        }
    }

    #[test]
    fn a_head_goes_back_when_it_is_lower_or_another() {
        let chain = chain_of(3);
        let (two, three) = (link(&chain[1].1), link(&chain[2].1));
        assert_eq!(went_back(&two, &three), None);
        assert_eq!(went_back(&three, &three), None);
        assert!(went_back(&three, &two).unwrap().to_string().contains("event 3 was the head"));
        assert!(went_back(&three, &Link { seq: 3, hash: two.hash }).is_some());
    }
}
