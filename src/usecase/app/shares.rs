//! Places that requests hold, and that are few: nobody holds more than a quarter of them, so that others find room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// One in so many of the places is a token's share.
const SHARES: usize = 4;

/// Places, and who holds them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shares {
    all: Arc<Semaphore>,
    each: usize,
    holders: Arc<Mutex<HashMap<Uuid, Weak<Semaphore>>>>,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub struct Seat {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The token holds its share.
    Share,
    /// All are taken.
    All,
}

impl Shares {
    /// So many places, of which a token holds at most a quarter, and at least one.
    pub fn new(places: usize) -> Self {
        let places = places.min(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(places)),
            each: (places / SHARES).max(1),
            holders: Arc::default(),
        }
    }

    /// Takes a place for a token, if there is one.
    pub fn try_take(&self, token: Uuid) -> Result<Seat, Taken> {
        let own = self.share(token).try_acquire_owned().map_err(|_taken| Taken::Share)?;
        let all = Arc::clone(&self.all).try_acquire_owned().map_err(|_taken| Taken::All)?;
        Ok(Seat { _own: own, _all: all })
    }

    /// Takes a place for a token as soon as there is one: first among its own requests, then among all. None once places
    /// are given away no more.
    pub async fn take(&self, token: Uuid) -> Option<Seat> {
        let own = self.share(token).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Seat { _own: own, _all: all })
    }

    /// The token's share, which is forgotten when nobody holds or awaits a part of it.
    fn share(&self, token: Uuid) -> Arc<Semaphore> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = holders.get(&token).and_then(Weak::upgrade) {
            return share;
        }
        holders.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.each));
        holders.insert(token, Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn token(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn a_token_holds_a_quarter_and_others_find_room() {
        let shares = Shares::new(8);
        let mut seats: Vec<_> = (0..2).map(|_| shares.try_take(token(1)).unwrap()).collect();
        assert_eq!(shares.try_take(token(1)).unwrap_err(), Taken::Share);
        for other in 2..5 {
            seats.extend((0..2).map(|_| shares.try_take(token(other)).unwrap()));
        }
        assert_eq!(shares.try_take(token(5)).unwrap_err(), Taken::All);
        drop(seats);
        drop(shares.try_take(token(9)).unwrap());
        assert!(shares.try_take(token(1)).is_ok());
        assert!(shares.holders.lock().unwrap().len() <= 2, "whoever holds nothing is forgotten");
    }

    #[test]
    fn there_is_one_for_everybody_however_few_there_are() {
        let shares = Shares::new(2);
        let _first = shares.try_take(token(1)).unwrap();
        assert_eq!(shares.try_take(token(1)).unwrap_err(), Taken::Share);
        assert!(shares.try_take(token(2)).is_ok());
    }

    #[tokio::test]
    async fn who_waits_for_their_own_share_is_in_nobodys_way() {
        let shares = Shares::new(4);
        let first = shares.take(token(1)).await.unwrap();
        let mut second = Box::pin(shares.take(token(1)));
        assert!(timeout(Duration::from_millis(20), &mut second).await.is_err());
        for other in 2..5 {
            assert!(timeout(Duration::from_millis(20), shares.take(token(other))).await.is_ok());
        }
        drop(first);
        assert!(second.await.is_some());
    }
}
