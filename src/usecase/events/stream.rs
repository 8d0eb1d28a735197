//! Following the audit log: what happens is told as it is sealed, and nothing is missed between two connections.

use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    domain::{
        event::{Event, Filter, Stretch},
        vocabulary::{Order, Scope},
    },
    store::event,
    usecase::{
        app::feed::Subscription,
        context::Ctx,
        error::Error,
        named::{self, Confined},
        tokens,
    },
};

/// Who has missed more than so many events is better off reading what they need anew.
const MISSED_MAX: i64 = 1000;

/// How many events are read at once.
const BATCH: u64 = 200;

/// How much time lies at least between two looks, however much happens.
const PAUSE: Duration = Duration::from_millis(250);

/// How often it is looked at whether the caller may still follow, though nothing happens.
const RECHECK: Duration = Duration::from_mins(1);

/// What somebody who follows is told.
#[derive(Clone, Debug)]
pub enum News {
    /// They follow the log from behind this number.
    Began(i64),
    /// They missed more than is told one by one, or the log is not the one they followed; it goes on behind this number.
    Missed(i64),
    /// This happened.
    Event(Box<Event>),
}

/// Somebody who follows the log. Nothing of the database is held while nothing happens.
#[derive(Debug)]
pub struct Follower {
    ctx: Ctx,
    filter: Filter,
    wake: Subscription,
    /// The number behind which is still to be read.
    place: i64,
    untold: VecDeque<News>,
    recheck_at: Instant,
}

impl Follower {
    /// Follows the log from behind the event with this number, which was the last that the caller heard of; from now on
    /// where it is not given.
    pub async fn begin(ctx: Ctx, filter: Filter, after: Option<i64>) -> Result<Self, Error> {
        ctx.require_one_of(&[Scope::Read, Scope::Audit])?;
        let (service, environment) = (filter.service.as_deref(), filter.environment.as_deref());
        named::check(&ctx, Confined { service, environment, ..Confined::default() }).await?;
        // Before the first look, so that what happens after it is not missed.
        let wake = ctx.app.feed.listen(ctx.principal.token_id)?;
        let head = event::head(ctx.app.db.read()).await?.0.seq;
        let (place, begin) = match after {
            None => (head, News::Began(head)),
            Some(after) if after > head || head - after > MISSED_MAX => (head, News::Missed(head)),
            Some(after) => (after, News::Began(after)),
        };
        let (filter, recheck_at) = (super::seen_by(&ctx, filter), Instant::now() + RECHECK);
        let mut follower = Self { ctx, filter, wake, place, untold: VecDeque::new(), recheck_at };
        follower.look().await?;
        follower.untold.push_front(begin);
        Ok(follower)
    }

    /// The next news; none once `enough` resolves, when the caller may not follow any more, and when the database does not
    /// answer: whoever connects again goes on where this ended.
    pub async fn next(&mut self, enough: impl Future<Output = ()>) -> Option<News> {
        tokio::pin!(enough);
        loop {
            if let Some(news) = self.untold.pop_front() {
                return Some(news);
            }
            let woken = tokio::select! {
                biased;
                () = &mut enough => return None,
                () = sleep_until(self.recheck_at) => false,
                () = self.wake.next() => true,
            };
            if woken {
                // What happens at the same time is told at once.
                sleep(PAUSE).await;
                self.wake.catch_up();
            }
            if let Err(error) = self.go_on().await {
                tracing::debug!(%error, "somebody does not follow the log any more");
                return None;
            }
        }
    }

    async fn go_on(&mut self) -> Result<(), Error> {
        tokens::still_good(&self.ctx).await?;
        self.recheck_at = Instant::now() + RECHECK;
        self.look().await
    }

    /// Reads what was sealed behind the place, as far as the caller may see it.
    async fn look(&mut self) -> Result<(), Error> {
        let conn = self.ctx.app.db.read();
        loop {
            let head = event::head(conn).await?.0.seq;
            let stretch = Stretch { order: Order::OldestFirst, from: Some(self.place), limit: BATCH };
            let events = event::list(conn, self.ctx.within(), &self.filter, stretch).await?;
            let full = u64::try_from(events.len()).is_ok_and(|count| count >= BATCH);
            let last = events.last().and_then(|event| event.seal.as_ref()).map_or(0, |seal| seal.seq);
            self.place = if full { last } else { head.max(last).max(self.place) };
            self.untold.extend(events.into_iter().map(|event| News::Event(Box::new(event))));
            if !full {
                return Ok(());
            }
        }
    }
}
