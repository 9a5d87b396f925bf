//! What two connections of one session tell while it moves: each event once, those of the old one first.
//!
//! The new server sets the watches at some zxid and tells what happens from there on; the old one is listened to until it
//! has told everything up to there, and perhaps more. One-shot watches need no more than the ledger: what the old server
//! has told has ended its watch, and the new one's word of the same change has nobody who waits for it. Persistent ones
//! stay, so that what both tell has to be recognised: from 3.9 on by the zxid in the event's header; before that it is −1,
//! and what both tell is the end of the one list and the beginning of the other.

use super::{Awaited, Watches};
use crate::zookeeper::wire::WatchEvent;
use bytes::Bytes;

/// An event, with its header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    zxid: i64,
    frame: Bytes,
}

/// What was told while a session moved.
#[derive(Clone, Debug, Default)]
pub struct Overlap {
    older: Vec<Told>,
    newer: Vec<Told>,
    /// So many of them came while one-shot watches were set anew. Those without a zxid are about such watches alone.
    again: usize,
}

impl Overlap {
    /// The old server told this; it goes to the client at once.
    pub fn older(&mut self, zxid: i64, frame: &Bytes) {
        self.older.push(Told { zxid, frame: frame.clone() });
    }

    /// The new server told this; it waits.
    pub fn newer(&mut self, zxid: i64, frame: Bytes) {
        self.newer.push(Told { zxid, frame });
    }

    /// The new server told this while one-shot watches were set anew there; it waits. What `setWatches` brings has no zxid, on
    /// 3.9 too (`DataTree.setWatches`).
    pub fn again(&mut self, zxid: i64, frame: Bytes) {
        self.newer(zxid, frame);
        self.again = self.newer.len();
    }

    /// The old server has told nothing that happened after the new one had set the watches: where both have told the same, it
    /// happened twice.
    pub fn are_apart(&mut self) {
        self.older.clear();
    }

    /// What of the new server's word is still to be told, in order; and how much of it was told before. `watches`: as they
    /// are after what the old server told.
    pub fn left(self, watches: &Watches) -> (Vec<(i64, Bytes)>, usize) {
        let all = self.newer.len();
        let mut watches = watches.clone();
        let Self { older, newer, again } = self;
        let mut doubled = doubled(&older, newer.get(again..).unwrap_or_default());
        let mut left = Vec::new();
        for (at, told) in newer.into_iter().enumerate() {
            let (named, again) = (told.zxid > 0, at < again);
            // No persistent watch is told anything again.
            let is_doubled = if named { older.contains(&told) } else { again || doubled > 0 };
            doubled = doubled.saturating_sub(usize::from(!named && !again));
            let Ok(event) = WatchEvent::decode(&told.frame) else { continue };
            let goes = match watches.awaits(&event) {
                Awaited::No => false,
                Awaited::Once => true,
                Awaited::Always => !is_doubled,
            };
            if goes {
                watches.fired(&event);
                left.push((told.zxid, told.frame));
            }
        }
        let dropped = all - left.len();
        (left, dropped)
    }
}

/// Of events without a zxid: so many at the beginning of the new list are the end of the old one.
fn doubled(older: &[Told], newer: &[Told]) -> usize {
    let nameless: Vec<&Told> = newer.iter().filter(|told| told.zxid <= 0).collect();
    let most = older.len().min(nameless.len());
    let is_end = |count: &usize| {
        let end = older.iter().skip(older.len() - count);
        end.zip(&nameless).all(|(one, other)| one == *other)
    };
    (0..=most).rev().find(is_end).unwrap_or(0)
}
