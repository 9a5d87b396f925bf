//! A session and its requests, copied onto other streams: how the model check goes on from one state in several ways.

use super::super::slot::{Answer, Slot, State, Trouble};
use super::super::{Home, Session};
use super::scenario::HELD_FOR;
use crate::kafka::cluster::Cluster;
use crate::kafka::model::print::{Print, SOON, hash_of};
use crate::kafka::order::{Copies, Progress};
use crate::kafka::wire::Value;
use crate::lifecycle::{Drain, DrainTrigger, drain};
use crate::net::Stream;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Never signalled.
static DRAIN: LazyLock<(DrainTrigger, Drain)> = LazyLock::new(drain::new);

impl Session {
    /// A session of a client that came to the port of `node`.
    pub(super) fn modelled(cluster: &Arc<Cluster>, client: Stream, node: i32) -> Self {
        let port = cluster.port_of(node);
        Self::new(Arc::clone(cluster), client, port, "127.0.0.1".to_owned(), DRAIN.1.clone())
    }

    /// A copy on `client` and on `onto`, which are taken by open links in their order.
    pub(super) fn copy(
        &self,
        cluster: &Arc<Cluster>,
        client: Stream,
        onto: &mut dyn Iterator<Item = Stream>,
        copies: &mut Copies,
    ) -> Self {
        // Field by field, so that a new one is thought of here.
        #[rustfmt::skip]
        let Self {
            id, reader, out, home, slots, base, unsettled, unsettled_others, lanes, laned_to, looked_to, gathering, links,
            stray, trusted, moved, zone, own, injection, paced, question, published, held_bytes, library, client_id, offered, looked_at,
            is_draining, mode, lost, eof, ended, answered_to, left, words, wake_at: _, armed: _,
            // Made anew by each look; of Fetch alone, which isn't sent here; or of no weight for what it does.
            cluster: _, client: _, peer: _, host: _, ahead: _, watermarks: _, guard: _, in_use: _, client_info: _, _connected: _,
            rng: _, timer: _, drain: _, draining: _, patience: _,
            // Clients here show nothing of themselves.
            showing: _,
        } = self;
        // What it has read and not taken is written to the copy again.
        let _ = reader;
        assert!(out.is_empty() && !eof && !left && !is_draining && lost.is_none() && ended.is_none());
        let node = home.port.and_then(|port| cluster.node_at(port)).unwrap();
        let mut copy = Self::modelled(cluster, client, node);
        copy.id = *id;
        copy.home = Home { port: home.port, node: home.node };
        copy.slots = slots.iter().map(|slot| slot.copy(cluster, copies)).collect();
        (copy.base, copy.unsettled, copy.unsettled_others) = (*base, *unsettled, *unsettled_others);
        copy.answered_to = *answered_to;
        (copy.laned_to, copy.looked_to) = (*laned_to, *looked_to);
        copy.lanes.clone_from(lanes);
        copy.gathering = gathering.copy();
        copy.links =
            links.iter().map(|link| link.copy(&mut link.is_open().then(|| onto.next().unwrap()))).collect();
        copy.stray = stray.clone();
        copy.trusted.clone_from(trusted);
        copy.moved.clone_from(moved);
        copy.zone = zone.clone();
        copy.own = copies.of(own);
        copy.injection = injection.clone();
        (copy.paced, copy.question) = (*paced, *question);
        copy.published.clone_from(published);
        copy.held_bytes = *held_bytes;
        copy.library = *library;
        copy.client_id.clone_from(client_id);
        copy.offered.clone_from(offered);
        copy.looked_at.clone_from(looked_at);
        copy.mode = *mode;
        copy.words = *words;
        cluster.ledger.charge(self.held_bytes);
        copy
    }

    /// How many requests it has taken.
    pub(super) fn taken(&self) -> usize {
        usize::try_from(self.base).unwrap() + self.slots.len()
    }

    /// Prints all that decides what it does from here on.
    pub(super) fn print(&self, print: &mut Print, now: Instant, number: &dyn Fn(&Arc<Progress>) -> usize) {
        print.put(&(self.base, self.unsettled, self.paced, self.question, &self.published, self.home.node));
        print.put(&(self.looked_to, self.laned_to, self.lanes.len(), self.is_bypassing(), self.answered_to));
        self.gathering.print(print);
        for slot in &self.slots {
            slot.print(print, number);
            for lane in slot.lanes() {
                print.past(self.lanes.moved(*lane), HELD_FOR);
            }
        }
        for link in &self.links {
            link.print(print);
        }
        self.stray.print(print);
        print.unordered(self.trusted.iter(), |(key, _)| hash_of(key), Print::put);
        self.own.print(print);
        self.injection.print(print, now);
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
        let lanes = self.lanes.clone();
        Self { frame: self.frame.clone(), state, barriers, lanes, trouble, ..*self }
    }

    fn print(&self, print: &mut Print, number: &dyn Fn(&Arc<Progress>) -> usize) {
        print.put(&(self.correlation, self.frame.as_ref(), self.stamped, self.as_it_is, self.raised as u8));
        print.past(Some(self.arrived), HELD_FOR);
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
                    print.put(&(item.restamp, item.restamps, item.gap, item.counted, item.losses));
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
