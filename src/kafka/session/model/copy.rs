//! A session and its requests, copied onto other streams: how the model check goes on from one state in several ways.

use super::super::slot::{Answer, Slot, State, Trouble};
use super::super::{Home, Session};
use crate::kafka::cluster::Cluster;
use crate::kafka::model::print::{Print, SOON};
use crate::kafka::order::{Copies, Progress};
use crate::kafka::wire::Value;
use crate::lifecycle::{Drain, DrainTrigger, drain};
use crate::net::Stream;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Never signalled.
static DRAIN: LazyLock<(DrainTrigger, Drain)> = LazyLock::new(drain::new);

impl Session {
    /// A session of a client that came to the port of `node`.
    pub(super) fn modelled(cluster: &Arc<Cluster>, client: Stream, node: i32) -> Self {
        let port = cluster.port_of(node);
        Self::new(Arc::clone(cluster), client, port, "127.0.0.1".to_owned(), DRAIN.1.clone())
    }

    /// A copy on `client` and on `links`, which are taken by open links in their order.
    pub(super) fn copy(
        &self,
        cluster: &Arc<Cluster>,
        client: Stream,
        links: &mut dyn Iterator<Item = Stream>,
        copies: &mut Copies,
    ) -> Self {
        assert!(self.out.is_empty() && self.reader.buffered() == 0 && !self.eof && !self.is_draining);
        let node = self.home.port.and_then(|port| cluster.node_at(port)).unwrap();
        let mut copy = Self::modelled(cluster, client, node);
        copy.id = self.id;
        copy.home = Home { port: self.home.port, node: self.home.node };
        copy.slots = self.slots.iter().map(|slot| slot.copy(cluster, copies)).collect();
        copy.base = self.base;
        copy.unsettled = self.unsettled;
        copy.links = self
            .links
            .iter()
            .map(|link| link.copy(&mut link.is_open().then(|| links.next().unwrap())))
            .collect();
        copy.stray = self.stray.clone();
        copy.trusted.clone_from(&self.trusted);
        copy.moved.clone_from(&self.moved);
        copy.own = copies.of(&self.own);
        copy.injection = self.injection.clone();
        copy.paced = self.paced;
        copy.published = self.published;
        copy.held_bytes = self.held_bytes;
        copy.library = self.library;
        copy.client_id.clone_from(&self.client_id);
        cluster.ledger.charge(self.held_bytes);
        copy
    }

    /// Prints all that decides what it does from here on.
    pub(super) fn print(&self, print: &mut Print, number: &dyn Fn(&Arc<Progress>) -> usize) {
        print.put(&(self.base, self.unsettled, self.paced, self.published, self.home.node));
        for slot in &self.slots {
            slot.print(print, number);
        }
        for link in &self.links {
            link.print(print);
        }
        self.stray.print(print);
        print.unordered(self.trusted.iter(), |(key, _)| super::hash_of(key), |print, entry| print.put(entry));
        self.own.print(print);
        self.injection.print(print);
    }
}

impl Slot {
    fn copy(&self, cluster: &Arc<Cluster>, copies: &mut Copies) -> Self {
        let state = match &self.state {
            State::Waiting => State::Waiting,
            State::Sent => State::Sent,
            State::Split(split) => State::Split(split.clone()),
            State::Done(answer) => State::Done(answer.clone()),
        };
        let trouble = self.trouble.as_ref().map(|trouble| {
            Box::new(Trouble {
                ticket: trouble.ticket.as_ref().map(|ticket| cluster.ledger.hold(ticket.since())),
                last: trouble.last.clone(),
                ..**trouble
            })
        });
        let barriers = self.barriers.iter().map(|barrier| copies.barrier(barrier)).collect();
        Self { frame: self.frame.clone(), state, barriers, trouble, ..*self }
    }

    fn print(&self, print: &mut Print, number: &dyn Fn(&Arc<Progress>) -> usize) {
        print.put(&(self.correlation, self.frame.as_ref(), self.stamped, self.raised as u8));
        for barrier in &self.barriers {
            barrier.print(print, number);
        }
        match &self.state {
            State::Waiting => print.put(&0),
            State::Sent => print.put(&1),
            State::Done(Answer::Frame(frame)) => print.put(&(2, frame.as_ref())),
            State::Done(_) => print.put(&3),
            State::Split(split) => {
                print.put(&(4, split.template().i16("acks")));
                for item in split.items() {
                    let records = item.request.bytes_field("records").map(AsRef::as_ref);
                    print.put(&(item.partition, records, item.sent_to, item.doubt, item.code));
                    print.put(&(item.restamp, item.restamps, item.counted, item.losses));
                    print.put(&Way(&item.progress));
                    print.put(&item.refused.map(|refused| refused.node));
                    print.date(item.refused.map(|refused| refused.at));
                    print.over(item.refused.map(|refused| refused.at), SOON);
                    print.over(Some(item.not_before), Duration::ZERO);
                }
            }
        }
        let trouble = self.trouble.as_ref();
        print.put(&trouble.map(|t| (t.ticket.is_some(), t.losses, t.replayed, t.refused.map(|r| r.node))));
        print.over(trouble.map(|trouble| trouble.not_before), Duration::ZERO);
    }
}

/// How far an item is, as it is hashed.
struct Way<'a>(&'a crate::kafka::split::Progress);

impl Hash for Way<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        use crate::kafka::split::Progress;
        match self.0 {
            Progress::Waiting => (0, 0u32).hash(state),
            Progress::Sent(part) => (1, *part).hash(state),
            Progress::Done(answer) => {
                let code = answer.get("error_code");
                (2, u32::from(matches!(code, Some(Value::I16(0))))).hash(state);
            }
        }
    }
}
