//! Waiting for the gate to open: the question of a check, asked again whenever the answer may have changed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    domain::gate::{Decision, Verdict},
    usecase::{
        context::Ctx,
        error::Error,
        gate::check::{GateAnswer, Question, check},
        tokens,
    },
};

/// The longest that one request may wait.
pub const LONGEST: Duration = Duration::from_mins(5);

/// How much time lies at least between two looks of one who waits, however much happens.
const PAUSE: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What the gate is asked.
    pub question: Question,
    /// What is known already to stand in the way.
    pub seen: Option<String>,
    /// How long to wait for anything else.
    pub timeout: Duration,
}

/// Asks the gate, and answers when it allows, when what stands in the way is something else than what was seen, or when
/// the time is up. Once `enough` resolves, it answers at once with what it knows. Nothing of the database is held meanwhile.
pub async fn wait(
    ctx: &Ctx,
    waiting: &Waiting,
    enough: impl Future<Output = ()>,
) -> Result<GateAnswer, Error> {
    let deadline = Instant::now() + waiting.timeout.min(LONGEST);
    // Before the first look, so that what happens after it is not missed.
    let mut news = ctx.app.feed.subscribe(ctx.principal.token_id, waiting.question.service.as_str())?;
    let mut answer = check(ctx, &waiting.question).await?;
    let seen = waiting.seen.clone().unwrap_or_else(|| answer.decided.decision.verdict.state());
    let shut = |verdict: &Verdict| !verdict.allowed && verdict.state() == seen;
    tokio::pin!(enough);
    let mut has_enough = false;
    while shut(&answer.decided.decision.verdict) && !has_enough {
        let looked = Instant::now();
        if looked >= deadline {
            break;
        }
        let opens = change_at(&answer.decided.decision).map_or(deadline, |span| looked + span);
        tokio::select! {
            biased;
            () = &mut enough => has_enough = true,
            () = sleep_until(opens.min(deadline)) => {}
            () = async { news.next().await; sleep_until((looked + PAUSE).min(deadline)).await } => {}
        }
        // The token may have been taken away meanwhile, and then its holder is told nothing more.
        tokens::still_good(ctx).await?;
        if !has_enough {
            news.catch_up();
            answer = check(ctx, &waiting.question).await?;
        }
    }
    Ok(answer)
}

/// How long it takes until the passing of time alone changes what stands in the way, told by the clock that evaluated
/// it. What should have changed already is waited for by its event.
fn change_at(Decision { verdict, evaluated_at, .. }: &Decision) -> Option<Duration> {
    let times = verdict.failing().filter_map(|check| check.retry_at).filter(|at| at > evaluated_at);
    times.min().and_then(|at| (at - evaluated_at).to_std().ok()).map(|span| span.max(PAUSE))
}
