//! A cluster of three that does what a test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::{Asked, ClusterStatus, ErrorCounts, Wish};
use crate::metrics::{Metrics, UpgradeMetrics, UpgradePhase, ZooKeeperMetrics};
use crate::time::now;
use crate::upgrade::{Cluster, DrainState, Facts, Hold, Member, Mode, Reach, ZooKeeper};

pub(super) const MEMBERS: [&str; 3] = ["zk-1:2181", "zk-2:2181", "zk-3:2181"];

/// See the module.
pub(super) struct Orders {
    pub(super) bypass: AtomicBool,
    /// What was ordered: members, and for how long.
    pub(super) drains: Mutex<BTreeMap<String, Duration>>,
    /// How many sessions every member has while it is drained.
    pub(super) sessions: AtomicUsize,
    pub(super) version: Mutex<String>,
    pub(super) gathered: AtomicUsize,
    /// When they were gathered last.
    pub(super) asked_at: Mutex<Option<Instant>>,
    pub(super) pin: Mutex<Vec<&'static str>>,
    metrics: Arc<ZooKeeperMetrics>,
}

impl Orders {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            bypass: AtomicBool::default(),
            drains: Mutex::default(),
            sessions: AtomicUsize::default(),
            version: Mutex::new("3.8.7".to_owned()),
            gathered: AtomicUsize::default(),
            asked_at: Mutex::default(),
            pin: Mutex::default(),
            metrics: Metrics::new().zookeeper("orders"),
        })
    }
}

impl ClusterStatus for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn status(&self) -> Value {
        let members = MEMBERS.map(|id| json!({ "id": id, "phase": "serving", "leaders_seen": 4 }));
        json!({ "name": "orders", "members": members })
    }

    fn set_bypass(&self, on: bool) {
        self.bypass.store(on, Relaxed);
    }

    fn drain(&self, member: &str, lasts: Option<Duration>) -> Option<DrainState> {
        self.drain_state(member)?;
        let mut drains = self.drains.lock().unwrap();
        match lasts {
            Some(lasts) => drains.insert(member.to_owned(), lasts),
            None => drains.remove(member),
        };
        drop(drains);
        self.drain_state(member)
    }

    fn drain_state(&self, member: &str) -> Option<DrainState> {
        if !MEMBERS.contains(&member) {
            return None;
        }
        if !self.drains.lock().unwrap().contains_key(member) {
            return Some(DrainState::Off);
        }
        Some(match self.sessions.load(Relaxed) {
            0 => DrainState::Drained,
            usize::MAX => DrainState::Expired,
            left => DrainState::Draining { left },
        })
    }

    fn facts(&self) -> Facts {
        let member = |id: &str| Member {
            id: id.to_owned(),
            address: id.to_owned(),
            zone: None,
            listed: Ok(true),
            reach: Reach::Up,
            was_away: None,
            version: Ok(self.version.lock().unwrap().clone()),
            drain: self.drain_state(id).unwrap(),
            in_flight: 0,
            sessions: 0,
        };
        let mode = |id: &&str| {
            let mode = if *id == MEMBERS[0] { Mode::Leader } else { Mode::Follower };
            ((*id).to_owned(), Ok(mode))
        };
        Facts {
            age: self.asked_at.lock().unwrap().map(|at| now().saturating_duration_since(at)),
            members: MEMBERS.iter().map(|id| member(id)).collect(),
            hold: Hold { waiting: 0, bytes: 0, limit: 1000 },
            client_errors: 0,
            cluster: Cluster::ZooKeeper(Ok(ZooKeeper {
                modes: MEMBERS.iter().map(mode).collect(),
                voters: Ok(3),
                synced_followers: Ok(2),
                pending_syncs: Ok(0),
            })),
        }
    }

    fn version(&self) -> Option<String> {
        Some(self.version.lock().unwrap().clone())
    }

    fn gather(&self, _: Wish) -> Asked<'_> {
        Box::pin(async {
            self.gathered.fetch_add(1, Relaxed);
            *self.asked_at.lock().unwrap() = Some(now());
        })
    }

    fn rest(&self) -> Asked<'_> {
        Box::pin(async {})
    }

    fn hold_pin(&self, held: bool) {
        self.pin.lock().unwrap().push(if held { "held" } else { "free" });
    }

    fn lift_pin(&self) {
        self.pin.lock().unwrap().push("lifted");
    }

    fn errors(&self) -> ErrorCounts {
        ErrorCounts { shown: 2, masked: 7 }
    }

    fn upgrade_metrics(&self) -> &UpgradeMetrics {
        &self.metrics.upgrade
    }

    fn show_phase(&self, member: &str, phase: UpgradePhase) {
        self.metrics.member(member).upgrade_phase.show(phase);
    }
}
