//! The marks as the model check copies and prints them. Tests only.

use super::{Barrier, Mark, Order, Progress, Sent, TELLING_TAKES};
use crate::kafka::model::print::{Print, hash_of};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex};

/// The copy of each connection's progress, by the address of the one that it was copied from.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Copies(BTreeMap<usize, Arc<Progress>>);

impl Copies {
    /// The copy of a connection's progress, made at the first call.
    pub(in crate::kafka) fn of(&mut self, progress: &Arc<Progress>) -> Arc<Progress> {
        let made = self.0.entry(Arc::as_ptr(progress).addr()).or_insert_with(|| {
            let copy = Progress::default();
            copy.sent.store(progress.sent.load(Acquire), Release);
            copy.decided.store(progress.decided.load(Acquire), Release);
            copy.gone.store(progress.gone.load(Acquire), Release);
            let client = progress.client.clone();
            Arc::new(Progress {
                client,
                undecided: Mutex::new(progress.undecided.lock().unwrap().clone()),
                ..copy
            })
        });
        Arc::clone(made)
    }

    fn sent(&mut self, of: &Sent) -> Sent {
        of.iter().map(|(progress, mark)| (self.of(progress), *mark)).collect()
    }

    /// The copy of a barrier.
    pub(in crate::kafka) fn barrier(&mut self, of: &Barrier) -> Barrier {
        Barrier { key: of.key.clone(), sent: self.sent(&of.sent) }
    }
}

impl Order {
    /// Becomes a copy of `other`.
    pub(in crate::kafka) fn copy(&self, other: &Self, copies: &mut Copies) {
        let (mut own, other_book) = (self.book(), other.book());
        own.connections = other_book.connections.iter().map(|progress| copies.of(progress)).collect();
        own.told.clone_from(&other_book.told);
        let marks = other_book.marks.iter();
        own.marks = marks
            .map(|(key, mark)| (key.clone(), Mark { sent: copies.sent(&mark.sent), told: mark.told }))
            .collect();
        self.marked.store(other.marked.load(Acquire), Release);
    }

    /// Prints the marks; `number` tells connections apart.
    pub(in crate::kafka) fn print(&self, print: &mut Print, number: &dyn Fn(&Arc<Progress>) -> usize) {
        let book = self.book();
        print.put(&book.connections.len());
        print.unordered(
            book.told.iter(),
            |(key, _)| hash_of(key),
            |print, (key, told)| {
                print.put(&(key, told.leader, told.changed.is_some()));
            },
        );
        print.unordered(
            book.marks.iter(),
            |(key, _)| hash_of(key),
            |print, (key, mark)| {
                print.put(key);
                print_sent(&mark.sent, print, number);
                print.over(Some(mark.told), TELLING_TAKES);
            },
        );
    }
}

fn print_sent(sent: &Sent, print: &mut Print, number: &dyn Fn(&Arc<Progress>) -> usize) {
    print.put(&sent.len());
    let mut sorted: Vec<_> = sent.iter().map(|(progress, mark)| (number(progress), *mark)).collect();
    sorted.sort_unstable();
    print.put(&sorted);
}

impl Barrier {
    /// Prints what it waits for.
    pub(in crate::kafka) fn print(&self, print: &mut Print, number: &dyn Fn(&Arc<Progress>) -> usize) {
        print.put(&self.key);
        print_sent(&self.sent, print, number);
    }
}

impl Progress {
    /// Prints how far a connection is.
    pub(in crate::kafka) fn print(&self, print: &mut Print) {
        print.put(&(self.sent.load(Acquire), self.decided.load(Acquire), self.gone.load(Acquire)));
        let undecided = self.undecided.lock().unwrap();
        print.put(&undecided.is_some());
        print.unordered(undecided.iter().flatten(), hash_of, Print::put);
    }
}
