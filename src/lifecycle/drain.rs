//! Drain as a held value: whoever has work under way holds a [`Drain`], and a drain is over when all are dropped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Starts the drain and waits for its end.
#[derive(Debug)]
pub struct DrainTrigger {
    signal: watch::Sender<bool>,
    holders: Arc<()>,
}

/// Held by every task that must be let finish. Clone it into each; drop it when the work is done.
#[derive(Clone, Debug)]
pub struct Drain {
    signal: watch::Receiver<bool>,
    _holder: Arc<()>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum DrainOutcome {
    /// Everyone has finished.
    Drained,
    /// The bound was over first.
    TimedOut {
        /// How many [`Drain`]s were still held.
        left: usize,
    },
}

/// A trigger and the first holder. Keep no holder beside the trigger, or the drain can't end.
pub fn new() -> (DrainTrigger, Drain) {
    let (sender, receiver) = watch::channel(false);
    let holders = Arc::new(());
    let holder = Arc::clone(&holders);
    (DrainTrigger { signal: sender, holders }, Drain { signal: receiver, _holder: holder })
}

impl DrainTrigger {
    /// Tells every holder, and waits until all of them are dropped or `bound` is over.
    ///
    /// Cancel-safe: the signal stays given, and it may be called again with another bound.
    pub async fn drain(&self, bound: Duration) -> DrainOutcome {
        self.signal.send_replace(true);
        match tokio::time::timeout(bound, self.signal.closed()).await {
            Ok(()) => DrainOutcome::Drained,
            Err(_) => DrainOutcome::TimedOut { left: self.holders() },
        }
    }

    /// How many holders there are now.
    pub fn holders(&self) -> usize {
        // One is the trigger's own.
        Arc::strong_count(&self.holders).saturating_sub(1)
    }

    /// A new holder, for a task that starts later.
    pub fn holder(&self) -> Drain {
        Drain { signal: self.signal.subscribe(), _holder: Arc::clone(&self.holders) }
    }
}

impl Drain {
    /// Whether the drain has begun.
    pub fn is_signaled(&self) -> bool {
        *self.signal.borrow()
    }

    /// Resolves when the drain has begun, or when its trigger is gone, for then nobody waits any more.
    ///
    /// The future borrows nothing and is itself a holder's companion: make it once for a connection, pin it, and poll it
    /// in the loop, rather than making it in each turn. The drain isn't over before it is dropped. Cancel-safe.
    pub fn signaled(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        let mut signal = self.signal.clone();
        async move {
            // An error says that the trigger is gone.
            let _ = signal.wait_for(|signaled| *signaled).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_last_holder_is_dropped() {
        let (trigger, drain) = new();
        for seconds in [1, 2, 3] {
            let drain = drain.clone();
            tokio::spawn(async move {
                assert!(!drain.is_signaled());
                drain.signaled().await;
                assert!(drain.is_signaled());
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            });
        }
        drop(drain);
        tokio::task::yield_now().await;
        let start = Instant::now();
        assert_eq!(trigger.drain(Duration::from_secs(10)).await, DrainOutcome::Drained);
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn ends_at_its_bound_and_says_how_many_are_left() {
        let (trigger, drain) = new();
        let stuck = [drain.clone(), drain.clone()];
        drop(drain);
        let start = Instant::now();
        let bound = Duration::from_secs(10);
        assert_eq!(trigger.drain(bound).await, DrainOutcome::TimedOut { left: 2 });
        assert_eq!(start.elapsed(), bound);
        // It may be tried again, and finds them gone.
        drop(stuck);
        assert_eq!(trigger.drain(bound).await, DrainOutcome::Drained);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_holder_counts_once() {
        let (trigger, drain) = new();
        let mut wait = Box::pin(drain.signaled());
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut wait).await.is_err());
        assert_eq!(trigger.holders(), 1);
        let late = trigger.holder();
        assert_eq!(trigger.holders(), 2);
        drop((drain, late, wait));
        assert_eq!(trigger.drain(Duration::ZERO).await, DrainOutcome::Drained);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_trigger_everyone_stops() {
        let (trigger, drain) = new();
        drop(trigger);
        tokio::time::timeout(Duration::from_secs(1), drain.signaled()).await.unwrap();
    }
}
