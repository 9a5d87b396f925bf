//! What can happen next in the world of the model check, and what comes of it.

use super::traffic::write;
use super::world::{RUNTIME, World, other, told, topic};
use crate::kafka::cluster::Health;
use crate::kafka::model::log::Partition;
use crate::kafka::model::print::{LATER, SOON};
use crate::time;
use std::time::Duration;

/// Longer than anything is held.
pub(super) const FOR_EVER: Duration = Duration::from_secs(500_000);

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The client sends its next request to whom it believes to lead.
    Send,
    /// The client is told who leads, by an answer of some other connection of its.
    Tell,
    /// It has read that, and acts on it.
    Learn,
    /// A broker reads the next request of a connection.
    Serve(usize),
    /// It reads it while the client may not write.
    Deny(usize),
    /// An answer reaches the session.
    Deliver(usize),
    /// The follower of a partition has caught up; its leader gets to know.
    Follow(usize),
    Confirm(usize),
    /// The other replica of a partition leads from now on.
    Move(usize),
    /// A connection is lost. Its broker may still read what was sent on it.
    Lose(usize),
    /// What waits for followers has waited too long.
    TimeOut(usize),
    /// A broker is killed; found to be gone; back.
    Kill(i32),
    Fence(i32),
    Start(i32),
    /// A partition's follower falls behind, or is in sync again.
    Shrink(usize),
    Grow(usize),
    /// Metadata is looked up: as it is, or as a broker knows it that is behind.
    Look,
    LookBehind,
    /// A broker hands a producer id out.
    Grant,
    /// Time goes on, a little or more.
    Soon,
    Later,
    /// So much that everything held is over.
    Expire,
}

impl World {
    /// Everything that can happen next.
    pub(super) fn actions(&mut self, to: &mut Vec<Action>) {
        let _entered = RUNTIME.enter();
        time::fix(self.now);
        if self.broken.is_some() {
            return;
        }
        if self.client.next(self.scenario).is_some_and(|node| self.may_send(node)) {
            to.push(Action::Send);
        }
        let leaders = self.leaders();
        if self.client.told != leaders && leaders.iter().all(|leader| *leader > 0) {
            to.push(Action::Tell);
        }
        if self.client.believes != self.client.told {
            to.push(Action::Learn);
        }
        for (at, wire) in self.wires.iter().enumerate() {
            if wire.connection.head.is_none() && !wire.connection.queue.is_empty() {
                to.push(Action::Serve(at));
                if wire.stream.is_some() && self.left.denials > 0 {
                    to.push(Action::Deny(at));
                }
            }
            if wire.stream.is_some() {
                if !wire.connection.answers.is_empty() {
                    to.push(Action::Deliver(at));
                }
                if wire.connection.head.is_some() && self.left.time_outs > 0 {
                    to.push(Action::TimeOut(at));
                }
                if !wire.connection.is_idle() && self.left.losses > 0 {
                    to.push(Action::Lose(at));
                }
            }
        }
        for (at, partition) in self.partitions.iter().enumerate() {
            if self.can_follow(partition) {
                to.push(Action::Follow(at));
            }
            if partition.in_sync && partition.leader.is_some() && partition.high < partition.followed {
                to.push(Action::Confirm(at));
            }
            if self.left.moves > 0 && partition.in_sync && partition.leader.is_some() && self.up == [true; 2]
            {
                to.push(Action::Move(at));
            }
            if self.left.shrinks > 0 && partition.in_sync {
                to.push(Action::Shrink(at));
            }
            if !partition.in_sync && self.up == [true; 2] {
                to.push(Action::Grow(at));
            }
        }
        for node in [1, 2] {
            let up = self.is_up(node);
            if self.left.kills > 0 && self.up == [true; 2] {
                to.push(Action::Kill(node));
            }
            if !up && self.partitions.iter().any(|partition| partition.leader == Some(node)) {
                to.push(Action::Fence(node));
            }
            if !up {
                to.push(Action::Start(node));
            }
        }
        if self.cluster.wants(&topic(), self.now) {
            to.push(Action::Look);
            if self.left.behind > 0 && self.partitions.iter().any(|partition| partition.epoch > 0) {
                to.push(Action::LookBehind);
            }
        }
        if self.scenario.late_id && self.cluster.wants_producer() {
            to.push(Action::Grant);
        }
        // A client reads what it is told within TELLING_TAKES.
        let waits = self.sessions.iter().any(|session| session.unsettled > 0);
        if (waits || self.cluster.order.any_marked()) && self.client.believes == self.client.told {
            to.extend([Action::Soon, Action::Later]);
        }
        // What a broker is slow to answer comes to its bound as well, and is over it when it is lost.
        let undecided = self.sessions.iter().any(|session| !session.slots.is_empty());
        if self.left.expiries > 0 && undecided && self.client.believes == self.client.told {
            to.push(Action::Expire);
        }
    }

    fn may_send(&mut self, node: i32) -> bool {
        self.scenario.unread || self.sessions[usize::try_from(node - 1).unwrap()].has_room()
    }

    fn can_follow(&self, partition: &Partition) -> bool {
        partition.in_sync
            && partition.followed < partition.log.len()
            && partition.leader.is_some_and(|leader| self.is_up(leader) && self.is_up(other(leader)))
    }

    fn is_up(&self, node: i32) -> bool {
        self.up[usize::try_from(node - 1).unwrap()]
    }

    fn set_up(&mut self, node: i32, up: bool) {
        self.up[usize::try_from(node - 1).unwrap()] = up;
    }

    fn leaders(&self) -> Vec<i32> {
        self.partitions.iter().map(|partition| partition.leader.unwrap_or(-1)).collect()
    }

    /// What the cluster says of its leaders is taken in.
    fn learn(&self, behind: bool) {
        for (at, partition) in self.partitions.iter().enumerate() {
            let (mut node, mut epoch) = (partition.leader.unwrap_or(-1), partition.epoch);
            if behind && epoch > 0 {
                (node, epoch) = (partition.leader.map_or(-1, other), epoch - 1);
            }
            let index = i32::try_from(at).unwrap();
            self.cluster.update(|view| view.absorb_hint(&topic(), index, node, epoch, self.now));
        }
    }

    /// Lets something happen, and everybody act on it.
    pub(super) fn act(&mut self, action: Action) {
        let _entered = RUNTIME.enter();
        self.now += Duration::from_micros(1);
        time::fix(self.now);
        match action {
            Action::Send => {
                let (node, frame) = self.client.send(self.scenario);
                let at = usize::try_from(node - 1).unwrap();
                write(&mut self.ends[at], &frame);
                self.written[at].push(frame);
            }
            Action::Tell => {
                let leaders = self.leaders();
                self.learn(false);
                self.cluster.order.tell(told(&leaders), self.now);
                self.client.told = leaders;
            }
            Action::Learn => self.client.believes.clone_from(&self.client.told),
            Action::Serve(at) => {
                let wire = &mut self.wires[at];
                wire.connection.serve(wire.node, &mut self.partitions, self.scenario.min_in_sync);
            }
            Action::Deny(at) => {
                self.left.denials -= 1;
                self.wires[at].connection.deny();
            }
            Action::Deliver(at) => self.deliver(at),
            Action::Follow(at) => self.partitions[at].followed = self.partitions[at].log.len(),
            Action::Confirm(at) => self.partitions[at].high = self.partitions[at].followed,
            Action::Move(at) => {
                self.left.moves -= 1;
                let partition = &mut self.partitions[at];
                let to = other(partition.leader.unwrap());
                partition.elect(to);
            }
            Action::Lose(at) => {
                self.left.losses -= 1;
                let wire = &mut self.wires[at];
                wire.stream = None;
                let lost = wire.connection.head.take();
                let answers = std::mem::take(&mut wire.connection.answers);
                for request in wire.connection.queue.iter().chain(&lost).chain(&answers) {
                    self.client.doubt(request);
                }
            }
            Action::TimeOut(at) => {
                self.left.time_outs -= 1;
                self.wires[at].connection.time_out();
            }
            Action::Kill(node) => {
                self.left.kills -= 1;
                self.kill(node);
            }
            Action::Fence(node) => {
                for partition in &mut self.partitions {
                    if partition.leader == Some(node) {
                        partition.leader = None;
                        if partition.in_sync {
                            partition.elect(other(node));
                        }
                    }
                    partition.in_sync = false;
                }
            }
            Action::Start(node) => {
                self.set_up(node, true);
                for partition in &mut self.partitions {
                    partition.leader = partition.leader.or(Some(node));
                    if partition.leader == Some(node) {
                        partition.restarted = partition.log.len();
                    }
                }
                self.cluster.set_health(node, Health::Up);
            }
            Action::Shrink(at) => {
                self.left.shrinks -= 1;
                self.partitions[at].in_sync = false;
            }
            Action::Grow(at) => {
                let partition = &mut self.partitions[at];
                partition.followed = partition.log.len();
                partition.high = partition.followed;
                partition.in_sync = true;
            }
            Action::Look => self.learn(false),
            Action::LookBehind => {
                self.left.behind -= 1;
                self.learn(true);
            }
            Action::Grant => self.grant(),
            Action::Soon => self.now += SOON,
            Action::Later => self.now += LATER,
            Action::Expire => {
                self.left.expiries -= 1;
                self.client.expired = true;
                self.now += FOR_EVER;
            }
        }
        time::fix(self.now);
        self.run();
        self.broken = self.broken.take().or_else(|| self.check());
    }

    /// A killed broker takes its connections and what it had not read with it.
    fn kill(&mut self, node: i32) {
        self.set_up(node, false);
        for wire in self.wires.iter().filter(|wire| wire.node == node) {
            for request in wire.connection.requests() {
                self.client.doubt(request);
            }
        }
        self.wires.retain(|wire| wire.node != node);
    }
}
