//! What happens to members: seen for the first time, moved, up, down, forgotten. Each is logged and counted once.

use super::dial::DialError;
use super::ramp::Ramp;
use super::versions::Versions;
use super::{Changes, Cluster, Health, lock};
use crate::kafka::wire::Struct;
use crate::metrics::ConnectOutcome;
use crate::retry::Budget;
use crate::time::now;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

impl Cluster {
    /// Takes in a Metadata answer and tells all that wait.
    pub fn learn_metadata(&self, answer: &Struct, asked: Instant) {
        let changes = self.update(|view| view.absorb_metadata(answer, asked));
        self.note(&changes);
        if !changes.new_nodes.is_empty() {
            self.poke.notify_one(); // for its probe to be started
        }
    }

    /// Logs and counts what an answer changed, and gives new nodes their port.
    pub fn note(&self, changes: &Changes) {
        for &node in &changes.new_nodes {
            let port = lock(&self.ports).assign(node);
            let address =
                self.read(|view| view.nodes.get(&node).map(|node| format!("{}:{}", node.host, node.port)));
            match port {
                Some(port) => tracing::info!(node, address, port, "broker seen for the first time"),
                None => tracing::error!(
                    node,
                    address,
                    "no port is left in broker_ports for this broker: widen the range"
                ),
            }
            self.metrics.member(&node.to_string());
        }
        for &node in &changes.moved_nodes {
            let address =
                self.read(|view| view.nodes.get(&node).map(|node| format!("{}:{}", node.host, node.port)));
            tracing::info!(node, address, "broker has another address");
            self.suspect(node);
        }
        for topic in &changes.made_anew {
            let topic = String::from_utf8_lossy(topic);
            tracing::info!(%topic, "topic was deleted and made anew");
            self.made_anew.fetch_add(1, Relaxed);
        }
        if changes.leaders > 0 {
            self.news();
            self.metrics.kafka_leader_changes.inc_by(changes.leaders);
        }
        for outage in &changes.outages {
            self.metrics.kafka_unavailable_seconds.observe(outage.as_secs_f64());
        }
        if changes.leaders > 0 || !changes.new_nodes.is_empty() {
            for (node, count) in self.read(super::View::leaders_by_node) {
                let member = self.metrics.member(&node.to_string());
                member.kafka_leaders.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// An attempt has failed: as long as no broker was ever reached, that is why clients can't be served. How it
    /// ended is all that is said; who asks whether this is ready may be anybody.
    pub(super) fn say_unready(&self, ended: ConnectOutcome) {
        if let Some(block) = &*lock(&self.not_ready) {
            let (name, ended) = (&self.settings().kafka.name, ended.as_str());
            block.reword(format!("kafka {name}: no broker reached yet (the last attempt: {ended})"));
        }
    }

    /// A connection to `node` is good, and this is what it speaks.
    pub fn node_is_up(&self, node: i32, versions: &Arc<Versions>) {
        let down_since = self.read(|view| match view.nodes.get(&node)?.health {
            Health::Down(since) => Some(since),
            Health::Untried | Health::Up => None,
        });
        if let Some(since) = down_since {
            // Before anybody can see that it is up.
            lock(&self.drains).note_away(node, now().saturating_duration_since(since));
        }
        let before = self.update_quietly(|view| {
            let known = view.nodes.get_mut(&node)?;
            let before = std::mem::replace(&mut known.health, Health::Up);
            let old = known.versions.replace(Arc::clone(versions));
            Some((before, old))
        });
        let Some((before, old)) = before else { return };
        let other_versions = old.as_ref().is_some_and(|old| !old.same_ranges(versions));
        if old.is_none() || other_versions {
            self.check_clients(node, versions);
            self.move_pin();
        }
        if other_versions {
            tracing::info!(node, "broker speaks other API versions than before");
        }
        if let Health::Down(since) = before {
            let down_for = now().saturating_duration_since(since);
            tracing::info!(node, ?down_for, "broker is up again");
            if let Some(before) = lock(&self.ramps).insert(node, Ramp::new()) {
                before.close();
            }
        }
        if before != Health::Up {
            self.metrics.member(&node.to_string()).up.set(1);
            if lock(&self.not_ready).take().is_some() {
                tracing::info!(node, "ready: a broker has been reached");
            }
            self.news();
            self.wake_all();
        }
    }

    /// An attempt to connect to `node` failed.
    pub fn node_is_down(&self, node: i32, error: &DialError) {
        let before = self.update_quietly(|view| {
            let known = view.nodes.get_mut(&node)?;
            let before = known.health;
            if !matches!(before, Health::Down(_)) {
                known.health = Health::Down(now());
            }
            Some(before)
        });
        let Some(before) = before else { return };
        if matches!(before, Health::Down(_)) {
            tracing::debug!(node, %error, "broker is still down");
        } else {
            tracing::warn!(node, %error, "broker is down");
            self.metrics.member(&node.to_string()).up.set(0);
            self.probe_of(node).notify_one();
            self.news();
            self.wake_all();
        }
    }

    /// What a client's connection to `node` waits for.
    pub(super) fn ramp_of(&self, node: i32) -> Arc<Ramp> {
        Arc::clone(lock(&self.ramps).entry(node).or_insert_with(Ramp::new))
    }

    /// A connection to `node` was lost, or something it said is odd: its probe looks at once.
    pub fn suspect(&self, node: i32) {
        self.probe_of(node).notify_one();
    }

    pub(super) fn probe_of(&self, node: i32) -> Arc<Notify> {
        Arc::clone(lock(&self.probes).entry(node).or_default())
    }

    /// Takes one attempt from the member's retry budget, or says how long to wait.
    pub(super) fn take_attempt(&self, node: i32) -> Result<(), Duration> {
        let (rate, now) = (self.settings().retry.budget, now());
        let mut budgets = lock(&self.budgets);
        let budget = budgets.entry(node).or_insert_with(|| Budget::new(rate, now));
        budget.set_rate(rate);
        let taken = budget.take(now);
        if taken.is_err() {
            self.metrics.member(&node.to_string()).retry_budget_exhausted.inc();
        }
        taken
    }

    /// Forgets members that have been gone for longer than `member_retention`.
    pub(super) fn forget_stale(&self) {
        let retention = self.settings().kafka.member_retention;
        for node in self.update_quietly(|view| view.forget_stale(now(), retention)) {
            tracing::info!(node, ?retention, "broker is no longer listed: forgotten");
            lock(&self.drains).note_away(node, retention);
            self.metrics.forget_member(&node.to_string());
            lock(&self.budgets).remove(&node);
            lock(&self.ramps).remove(&node);
            self.forget_words(node);
            // Its probe wakes, finds it gone and ends.
            if let Some(probe) = lock(&self.probes).remove(&node) {
                probe.notify_one();
            }
        }
    }
}
