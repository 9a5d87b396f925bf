//! The marks as the model check copies and prints them. Tests only.

use super::unread::{Open, Question};
use super::{Barrier, Mark, Order, Progress, Sent, TELLING_TAKES};
use crate::kafka::model::print::{Print, hash_of};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The copy of each connection's progress, by the address of the one that it was copied from.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Copies {
    connections: BTreeMap<usize, Arc<Progress>>,
    questions: BTreeMap<usize, Arc<Question>>,
}

impl Copies {
    /// The copy of a connection's progress, made at the first call.
    pub(in crate::kafka) fn of(&mut self, progress: &Arc<Progress>) -> Arc<Progress> {
        let made = self.connections.entry(Arc::as_ptr(progress).addr()).or_insert_with(|| {
            let copy = Progress::default();
            copy.sent.store(progress.sent.load(Acquire), Release);
            copy.decided.store(progress.decided.load(Acquire), Release);
            copy.gone.store(progress.gone.load(Acquire), Release);
            copy.asks.store(progress.asks.load(Acquire), Release);
            copy.answered.store(progress.answered.load(Acquire), Release);
            let (client, home) = (progress.client.clone(), progress.home.clone());
            Arc::new(Progress {
                client,
                home,
                undecided: Mutex::new(progress.undecided.lock().unwrap().clone()),
                ..copy
            })
        });
        Arc::clone(made)
    }

    fn sent(&mut self, of: &Sent) -> Sent {
        of.iter().map(|(progress, mark)| (self.of(progress), *mark)).collect()
    }

    fn question(&mut self, of: &Arc<Question>) -> Arc<Question> {
        let before = of.before.get().map(|before| self.sent(before));
        let copy = || Question { before: before.map_or_else(OnceLock::new, OnceLock::from), until: of.until };
        Arc::clone(self.questions.entry(Arc::as_ptr(of).addr()).or_insert_with(|| Arc::new(copy())))
    }

    fn open(&mut self, of: &Open) -> Open {
        Open {
            key: of.key.clone(),
            leader: of.leader,
            by: self.of(&of.by),
            waits: self.sent(&of.waits),
            before: self.sent(&of.before),
            question: self.question(&of.question),
        }
    }

    fn mark(&mut self, of: &Mark) -> Mark {
        let settled = of.settled.iter().map(|own| self.of(own)).collect();
        Mark { sent: self.sent(&of.sent), settled, ..*of }
    }

    /// The copy of a barrier.
    pub(in crate::kafka) fn barrier(&mut self, of: &Barrier) -> Barrier {
        let question = of.question.as_ref().map(|question| self.question(question));
        Barrier { key: of.key.clone(), sent: self.sent(&of.sent), question }
    }
}

impl Order {
    /// Becomes a copy of `other`.
    pub(in crate::kafka) fn copy(&self, other: &Self, copies: &mut Copies) {
        let (mut own, other_book) = (self.book(), other.book());
        own.connections = other_book.connections.iter().map(|progress| copies.of(progress)).collect();
        own.told.clone_from(&other_book.told);
        own.marks = other_book.marks.iter().map(|(key, mark)| (key.clone(), copies.mark(mark))).collect();
        own.questions.0 = other_book.questions.0.iter().map(|open| copies.open(open)).collect();
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
                let mut settled: Vec<_> = mark.settled.iter().map(number).collect();
                settled.sort_unstable();
                print.put(&(mark.leader, settled));
            },
        );
        for open in &book.questions.0 {
            print.put(&(&open.key, open.leader, number(&open.by)));
            let open_asks =
                |(asked, at): &(Arc<Progress>, u64)| (Arc::clone(asked), at - asked.answered.load(Acquire));
            print_sent(&open.waits.iter().map(open_asks).collect(), print, number);
            print_sent(&open.before, print, number);
            print.over(Some(open.question.until), Duration::ZERO);
        }
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
        if let Some(question) = &self.question {
            print.put(&question.before.get().is_some());
            print_sent(question.before.get().unwrap_or(&Vec::new()), print, number);
            print.over(Some(question.until), Duration::ZERO);
        }
    }
}

impl Progress {
    /// Prints how far a connection is.
    pub(in crate::kafka) fn print(&self, print: &mut Print) {
        print.put(&(self.sent.load(Acquire), self.decided.load(Acquire), self.gone.load(Acquire)));
        print.put(&(self.asks.load(Acquire) - self.answered.load(Acquire)));
        let undecided = self.undecided.lock().unwrap();
        print.put(&undecided.is_some());
        print.unordered(undecided.iter().flatten(), hash_of, Print::put);
    }
}
