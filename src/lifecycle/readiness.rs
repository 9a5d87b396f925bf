//! Readiness as held values: evenkeel is ready while nobody holds a reason why it isn't.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Whether evenkeel serves, and why not. Clones speak of the same thing, and each sees changes for itself.
#[derive(Clone, Debug)]
pub struct Readiness {
    shared: Arc<Shared>,
    seen: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Shared {
    reasons: Mutex<Reasons>,
    /// Counts the changes, so that nobody misses one.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Reasons {
    next: u64,
    held: BTreeMap<u64, String>,
}

/// A reason not to be ready, for as long as it is held.
#[derive(Debug)]
#[must_use = "the reason is gone when this is dropped"]
pub struct Block {
    shared: Arc<Shared>,
    id: u64,
}

impl Readiness {
    /// Ready, until the first [`Readiness::block`]. Take the blocks of all parts before serving `/readyz`.
    pub fn new() -> Self {
        let (changes, seen) = watch::channel(0);
        Self { shared: Arc::new(Shared { reasons: Mutex::default(), changes }), seen }
    }

    /// Not ready until the returned value is dropped. The reason is one line for people: it names the part and what it waits for.
    pub fn block(&self, reason: impl Into<String>) -> Block {
        let reason = reason.into();
        let id = self.shared.change(|reasons| {
            let id = reasons.next;
            reasons.next += 1;
            reasons.held.insert(id, reason);
            id
        });
        Block { shared: Arc::clone(&self.shared), id }
    }

    /// Whether no reason is held.
    pub fn is_ready(&self) -> bool {
        self.shared.lock().held.is_empty()
    }

    /// The reasons held, oldest first.
    pub fn reasons(&self) -> Vec<String> {
        self.shared.lock().held.values().cloned().collect()
    }

    /// Waits for a change that this clone has not seen yet: one since its last call, or since it was made.
    ///
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        // The sender lives in `shared`, which `self` holds, so that it can't be gone.
        let _ = self.seen.changed().await;
    }

    /// Waits until no reason is held. Cancel-safe.
    pub async fn ready(&mut self) {
        while !self.is_ready() {
            self.changed().await;
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Block {
    /// Says the reason in other words, when what is waited for has changed.
    pub fn reword(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.shared.change(|reasons| {
            if let Some(held) = reasons.held.get_mut(&self.id) {
                *held = reason;
            }
        });
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.shared.change(|reasons| reasons.held.remove(&self.id));
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Reasons> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Reasons) -> T) -> T {
        let result = change(&mut self.lock());
        // After the change and outside the lock: who wakes up sees the change.
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ready_exactly_while_no_reason_is_held() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let first = readiness.block("kafka orders: no broker reached yet");
        let second = readiness.block("kafka billing: no broker reached yet");
        assert!(!readiness.is_ready());
        assert_eq!(
            readiness.reasons(),
            ["kafka orders: no broker reached yet", "kafka billing: no broker reached yet"]
        );
        drop(first);
        assert_eq!(readiness.reasons(), ["kafka billing: no broker reached yet"]);
        second.reword("kafka billing: 1 of 3 brokers");
        assert_eq!(readiness.clone().reasons(), ["kafka billing: 1 of 3 brokers"]);
        drop(second);
        assert!(readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn changes_wake_every_clone_once() {
        let readiness = Readiness::new();
        let mut one = readiness.clone();
        let mut two = readiness.clone();
        let block = readiness.block("x");
        one.changed().await;
        let nothing = tokio::time::timeout(Duration::from_secs(1), one.changed()).await;
        assert!(nothing.is_err(), "there was one change only");
        let waiting = tokio::spawn(async move { two.ready().await });
        drop(block);
        tokio::time::timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap();
        one.changed().await;
        assert!(one.is_ready());
    }
}
