//! What two connections of one session tell while it moves: each event once, those of the old one first.
//!
//! The new server sets the watches at some zxid and tells what happens from there on; the old one is listened to until it
//! has told everything up to there, and perhaps more. One-shot watches need no more than the ledger: what the old server
//! has told has ended its watch, and the new one's word of the same change has nobody who waits for it. Persistent ones
//! stay, so that what both tell has to be recognised: from 3.9 on by the zxid in the event's header. Before that it is −1; where
//! one of the two servers is so old, how much both have told is found out from answers: a server has sent every event of a transaction up to the one in its
//! answer's header before that answer, and none of a later one (`CommitProcessor` lets nothing be read while it commits). So two
//! answers with the same zxid, one from each server, say it exactly; and those between which nothing was told say as much.
//! Where that leaves a choice, what both told is the end of the one list and the beginning of the other.

use super::{Awaited, Watches};
use crate::zookeeper::wire::{WatchEvent, reply_body};
use bytes::Bytes;

/// An event, with its header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    zxid: i64,
    frame: Bytes,
}

/// An event of the new server's.
#[derive(Clone, Debug)]
struct Newer {
    told: Told,
    /// It came while watches were set anew. If it has no zxid, it is about one-shot watches, or about something that the old
    /// server has yet to tell.
    again: bool,
    /// It is told to a persistent watch, and the old server may have told it, too.
    counts: bool,
}

/// An answer with this zxid, before which so many events were told that count.
#[derive(Clone, Copy, Debug)]
struct Cut {
    zxid: i64,
    told: usize,
}

/// What was told while a session moved.
#[derive(Clone, Debug, Default)]
pub struct Overlap {
    /// Of the old server's, those with a zxid.
    older: Vec<Told>,
    /// Of the old server's, those that were told to persistent watches: what follows the header.
    lasting: Vec<Bytes>,
    /// Some that was told to them has no zxid.
    nameless: bool,
    older_cuts: Vec<Cut>,
    newer: Vec<Newer>,
    newer_cuts: Vec<Cut>,
    /// How many of the new server's count.
    counted: usize,
    /// The old connection ended behind everything up to a transaction, and it told nothing later than another one.
    ended: Option<(i64, i64)>,
}

impl Overlap {
    /// The old server told this; it goes to the client at once.
    pub fn older(&mut self, zxid: i64, frame: &Bytes, watches: &Watches) {
        if lasts(frame, watches) {
            self.nameless |= zxid <= 0;
            self.lasting.push(event_of(frame));
        }
        if zxid > 0 {
            self.older.push(Told { zxid, frame: frame.clone() });
        }
    }

    /// The new server told this; it waits.
    pub fn newer(&mut self, zxid: i64, frame: Bytes, watches: &Watches) {
        let counts = lasts(&frame, watches);
        self.nameless |= counts && zxid <= 0;
        self.counted += usize::from(counts);
        self.newer.push(Newer { told: Told { zxid, frame }, again: false, counts });
    }

    /// The new server told this while watches were set anew there; it waits. What `setWatches` brings has no zxid, on 3.9 too
    /// (`DataTree.setWatches`).
    pub fn again(&mut self, zxid: i64, frame: Bytes) {
        self.newer.push(Newer { told: Told { zxid, frame }, again: true, counts: false });
    }

    /// The old server answered something.
    pub fn older_answered(&mut self, zxid: i64) {
        cut(&mut self.older_cuts, zxid, self.lasting.len());
    }

    /// The new server, all watches set, answered something.
    pub fn newer_answered(&mut self, zxid: i64) {
        cut(&mut self.newer_cuts, zxid, self.counted);
    }

    /// The old connection is over: it has told everything up to the one transaction, and nothing behind the other; if that isn't
    /// known, nothing that the new server's last answer didn't know of.
    pub fn older_ended(&mut self, least: i64, most: Option<i64>) {
        let most = most.unwrap_or_else(|| self.newer_cuts.last().map_or(i64::MAX, |cut| cut.zxid));
        let known = self.ended.map_or(i64::MAX, |(_, known)| known);
        self.ended = Some((least, most.min(known)));
    }

    /// Whether a persistent watch was told something that has no zxid.
    pub fn has_nameless(&self) -> bool {
        self.nameless
    }

    /// Whether it is certain what both have told.
    pub fn is_settled(&self) -> bool {
        !self.nameless || self.candidates().count() <= 1
    }

    /// Whether the new server has come as far as the old one, and it is certain what both have told.
    pub fn is_whole(&self) -> bool {
        let last = |cuts: &[Cut]| cuts.last().map_or(0, |cut| cut.zxid);
        last(&self.older_cuts) <= last(&self.newer_cuts) && self.is_settled()
    }

    /// What of the new server's word is still to be told, in order; and how much of it was told before. `watches`: as they
    /// are after what the old server told.
    pub fn left(self, watches: &Watches) -> (Vec<(i64, Bytes)>, usize) {
        let all = self.newer.len();
        let mut watches = watches.clone();
        let mut doubled = if self.nameless { self.doubled() } else { 0 };
        let Self { older, newer, nameless, .. } = self;
        let mut left = Vec::new();
        for Newer { told, again, counts } in newer {
            let is_doubled = match (again, nameless) {
                (true, _) if nameless || told.zxid <= 0 => true,
                (false, true) => counts && doubled > 0,
                _ => older.contains(&told),
            };
            doubled = doubled.saturating_sub(usize::from(counts));
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

    /// So many of the new server's events that count were told by the old one, too.
    fn doubled(&self) -> usize {
        // If there is a choice: better told twice than never, as long as the answers leave little of it. They leave more where the
        // old connection had to be ended to be heard out; there one change that both told is far likelier than two of one node.
        let (least, most) = (self.candidates().next(), self.candidates().last());
        let one = if self.ended.is_some() { most } else { least };
        let most_alike = || (0..=self.most()).rev().find(|count| self.are_alike(*count));
        one.or_else(most_alike).unwrap_or(0)
    }

    /// What the answers and the events themselves allow it to be, in ascending order.
    fn candidates(&self) -> impl Iterator<Item = usize> {
        let all = self.lasting.len();
        // How many of the old server's are from before the watches were set on the new one.
        let (mut least, mut most) = (0, all);
        let mut look = |low: i64, high: i64, told: usize| {
            for cut in &self.newer_cuts {
                if high <= cut.zxid {
                    least = least.max(told.saturating_sub(cut.told));
                }
                if low >= cut.zxid {
                    most = most.min(told.saturating_sub(cut.told));
                }
            }
        };
        for cut in &self.older_cuts {
            look(cut.zxid, cut.zxid, cut.told);
        }
        if let Some((low, high)) = self.ended {
            look(low, high, all);
        }
        (all - most..=(all - least.min(all)).min(self.most())).filter(|count| self.are_alike(*count))
    }

    fn most(&self) -> usize {
        self.lasting.len().min(self.counted)
    }

    /// Whether so many at the end of the old list are those at the beginning of the new one.
    fn are_alike(&self, count: usize) -> bool {
        let end = self.lasting.iter().skip(self.lasting.len().saturating_sub(count)).cloned();
        let newer = self.newer.iter().filter(|newer| newer.counts).map(|newer| event_of(&newer.told.frame));
        end.eq(newer.take(count))
    }
}

/// The event without its header, in which one server may have the zxid and the other not.
fn event_of(frame: &Bytes) -> Bytes {
    frame.slice(frame.len() - reply_body(frame).len()..)
}

/// Whether a persistent watch is told of it.
fn lasts(frame: &Bytes, watches: &Watches) -> bool {
    WatchEvent::decode(frame).is_ok_and(|event| watches.lasts(&event))
}

/// Of several answers between which nothing was told the first and the last one say everything.
fn cut(cuts: &mut Vec<Cut>, zxid: i64, told: usize) {
    if zxid <= 0 {
        return;
    }
    if let [.., before, last] = cuts.as_mut_slice()
        && (before.told, last.told) == (told, told)
    {
        last.zxid = zxid;
    } else {
        cuts.push(Cut { zxid, told });
    }
}
