//! The feed: wakes whoever waits for the ledger to change.
//!
//! One follower in each process reads the sealed log while anybody waits, so that a change is heard of on whichever
//! replica it was made. Whoever subscribes first, then looks, and then waits for news misses nothing: the log is followed
//! in its gap-free order, and what was sealed before the follower began is made up for by one word to everybody.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
};
use uuid::Uuid;

use crate::{
    store::{db::Db, event},
    usecase::{
        app::shares::{Seat, Shares, Taken},
        error::Error,
    },
};

/// How many events are read at once.
const BATCH: u64 = 500;

/// How much news may lie unread; whoever is further behind is woken all the same.
const BACKLOG: usize = 64;

/// What happened, as far as those who wait tell it apart.
#[derive(Clone, Debug)]
enum News {
    /// Something that may concern every service.
    General,
    /// Something about these services, and nothing else.
    About(Arc<BTreeSet<String>>),
}

/// Where those who wait and the follower meet; cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed {
    news: broadcast::Sender<News>,
    waits: Shares,
    streams: Shares,
    nudge: Arc<Notify>,
}

/// A place among those who wait or listen; it is free again when this is dropped.
#[derive(Debug)]
pub struct Subscription {
    /// The service that is asked about; none where it is the whole log.
    service: Option<String>,
    news: broadcast::Receiver<News>,
    _seat: Seat,
}

/// How far the follower has read; nowhere while nobody waits.
#[derive(Debug, Default)]
pub struct Place(Option<i64>);

impl Feed {
    /// A feed for so many who wait at once, and so many who listen.
    pub fn new(waits: u32, streams: u32) -> Self {
        let shares = |places| Shares::new(usize::try_from(places).unwrap_or(usize::MAX));
        Self {
            news: broadcast::Sender::new(BACKLOG),
            waits: shares(waits),
            streams: shares(streams),
            nudge: Arc::default(),
        }
    }

    /// Takes a place of a token's, for news that may concern this service. Fails when the token holds its share of them,
    /// or all are taken.
    pub fn subscribe(&self, token: Uuid, service: &str) -> Result<Subscription, Error> {
        let seat = self.waits.try_take(token).map_err(|taken| match taken {
            Taken::Share => Error::Greedy(
                "this token has as many requests wait for the gate as one may, a quarter of all places; wait for one of \
                 them to be answered, or use another token",
            ),
            Taken::All => Error::Crowded("too many requests wait for the gate already"),
        })?;
        Ok(self.seat(Some(service.to_owned()), seat))
    }

    /// Takes a place of a token's, for all news. Fails when the token holds its share of them, or all are taken.
    pub fn listen(&self, token: Uuid) -> Result<Subscription, Error> {
        let seat = self.streams.try_take(token).map_err(|taken| match taken {
            Taken::Share => Error::Greedy(
                "this token follows the log as often as one may, a quarter of all places (`limits.streams`); close one of \
                 these connections, or use another token",
            ),
            Taken::All => Error::Crowded("too many follow the log already (`limits.streams`)"),
        })?;
        Ok(self.seat(None, seat))
    }

    fn seat(&self, service: Option<String>, seat: Seat) -> Subscription {
        let subscription = Subscription { service, news: self.news.subscribe(), _seat: seat };
        self.nudge.notify_one();
        subscription
    }

    /// How many wait or listen.
    pub fn waiting(&self) -> usize {
        self.news.receiver_count()
    }

    /// Tells the follower that there is something to read.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Resolves when there is something to read, or somebody to read for.
    pub async fn nudged(&self) {
        self.nudge.notified().await;
    }

    fn tell(&self, news: News) {
        // An error says that nobody waits any more.
        drop(self.news.send(news));
    }
}

impl Subscription {
    /// Resolves when something happened that may concern the service.
    pub async fn next(&mut self) {
        let passes = |services: &BTreeSet<String>| {
            self.service.as_ref().is_some_and(|service| !services.contains(service))
        };
        loop {
            match self.news.recv().await {
                Ok(News::About(services)) if passes(&services) => {}
                Ok(News::General | News::About(_)) | Err(RecvError::Lagged(_)) => return,
                // The server goes, and with it the request that waits.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Forgets the news so far: whoever looks now sees all of it.
    pub fn catch_up(&mut self) {
        self.news = self.news.resubscribe();
    }
}

/// Reads what was sealed since the last time, and wakes those whom it may concern. Tells whether anybody waits at all;
/// while nobody does, nothing is read.
pub async fn follow(db: &Db, feed: &Feed, place: &mut Place) -> Result<bool, Error> {
    if feed.waiting() == 0 {
        place.0 = None;
        return Ok(false);
    }
    let conn = db.read();
    let Some(mut last) = place.0 else {
        place.0 = Some(event::head(conn).await?.0.seq);
        feed.tell(News::General);
        return Ok(true);
    };
    loop {
        let events = event::services_after(conn, last, BATCH).await?;
        let full = u64::try_from(events.len()).is_ok_and(|length| length >= BATCH);
        if let Some((seq, _)) = events.last() {
            last = *seq;
            place.0 = Some(last);
            let services: Option<BTreeSet<String>> = events.into_iter().map(|(_, service)| service).collect();
            feed.tell(services.map_or(News::General, |services| News::About(Arc::new(services))));
        }
        if !full {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn wakes(subscription: &mut Subscription) -> bool {
        timeout(Duration::from_millis(20), subscription.next()).await.is_ok()
    }

    fn token(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn about(service: &str) -> News {
        News::About(Arc::new([service.to_owned()].into()))
    }

    #[tokio::test]
    async fn news_wakes_those_whom_it_may_concern() {
        let feed = Feed::new(2, 1);
        let (mut shop, mut till) =
            (feed.subscribe(token(1), "shop").unwrap(), feed.subscribe(token(2), "till").unwrap());
        assert!(!wakes(&mut shop).await);
        feed.tell(about("shop"));
        assert!(wakes(&mut shop).await && !wakes(&mut till).await);
        let mut all = feed.listen(token(1)).unwrap();
        feed.tell(about("pay"));
        assert!(wakes(&mut all).await && !wakes(&mut shop).await && !wakes(&mut till).await);
        feed.tell(News::General);
        assert!(wakes(&mut shop).await && wakes(&mut till).await);
    }

    #[tokio::test]
    async fn whoever_is_too_far_behind_is_woken() {
        let feed = Feed::new(1, 1);
        let mut shop = feed.subscribe(token(1), "shop").unwrap();
        for _ in 0..BACKLOG * 2 {
            feed.tell(about("till"));
        }
        assert!(wakes(&mut shop).await);
        feed.tell(about("shop"));
        shop.catch_up();
        assert!(!wakes(&mut shop).await, "what was seen already wakes nobody");
    }

    #[tokio::test]
    async fn places_are_counted_and_given_back() {
        let feed = Feed::new(1, 1);
        let taken = feed.subscribe(token(1), "shop").unwrap();
        assert!(matches!(feed.subscribe(token(1), "shop"), Err(Error::Greedy(_))));
        assert!(matches!(feed.subscribe(token(2), "shop"), Err(Error::Crowded(_))));
        assert_eq!(feed.waiting(), 1);
        assert!(feed.listen(token(1)).is_ok(), "those who listen have places of their own");
        drop(taken);
        assert_eq!(feed.waiting(), 0);
        assert!(feed.subscribe(token(1), "shop").is_ok());
    }
}
