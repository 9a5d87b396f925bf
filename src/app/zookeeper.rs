//! An ensemble as the admin listener shows it: the words of the one in those of the other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::is_fresh;
use crate::admin::{Asked, ClusterStatus, ErrorCounts, Wish};
use crate::config::HostPort;
use crate::metrics::{UpgradeMetrics, UpgradePhase};
use crate::time::now;
use crate::upgrade::{self, DrainState, Facts, Hold, Known, Member, Reach, ZooKeeper};
use crate::zookeeper::ensemble::{self, Ensemble, Health};
use crate::zookeeper::words::Mode;

/// See the module.
struct Shown {
    name: String,
    ensemble: Arc<Ensemble>,
}

/// An ensemble for the admin listener.
pub(super) fn shown(ensemble: &Arc<Ensemble>) -> Arc<dyn ClusterStatus> {
    let name = ensemble.settings().zookeeper.name.clone();
    Arc::new(Shown { name, ensemble: Arc::clone(ensemble) })
}

impl ClusterStatus for Shown {
    fn name(&self) -> &str {
        &self.name
    }

    fn status(&self) -> Value {
        self.ensemble.status_json()
    }

    fn set_bypass(&self, on: bool) {
        self.ensemble.set_bypass(on);
    }

    fn drain(&self, member: &str, lasts: Option<Duration>) -> Option<DrainState> {
        self.ensemble.drain(member, lasts)
    }

    fn drain_state(&self, member: &str) -> Option<DrainState> {
        self.ensemble.drain_state(member)
    }

    fn facts(&self) -> Facts {
        let known = self.ensemble.facts();
        Facts {
            age: known.as_ref().map(|known| now().saturating_duration_since(known.asked)),
            members: self.members(known.as_deref().filter(|known| is_fresh(known.asked))),
            hold: Hold {
                waiting: u64::try_from(self.ensemble.metrics.hold_requests.get()).unwrap_or(0),
                bytes: self.ensemble.ledger.bytes() as u64,
                limit: self.ensemble.ledger.limit() as u64,
            },
            client_errors: self.ensemble.metrics.client_errors.of_servers(),
            cluster: upgrade::Cluster::ZooKeeper(match &known {
                Some(known) => Ok(of_ensemble(known)),
                None => Err("the ensemble was not asked yet".to_owned()),
            }),
        }
    }

    /// An ensemble has no version of its own: the lowest of its servers' is what it can do.
    fn version(&self) -> Option<String> {
        let known = self.ensemble.facts()?;
        let versions = known.servers.iter().filter_map(|(_, said)| said.as_ref().ok()?.version.clone());
        versions.min_by_key(|version| {
            version.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>()
        })
    }

    fn gather(&self, wish: Wish) -> Asked<'_> {
        Box::pin(async move {
            self.ensemble.gather(wish.fresh).await;
        })
    }

    fn rest(&self) -> Asked<'_> {
        Box::pin(async {}) // nothing is kept open
    }

    // An ensemble's clients are offered nothing that they could hold on to.
    fn hold_pin(&self, _: bool) {}

    fn lift_pin(&self) {}

    fn errors(&self) -> ErrorCounts {
        let metrics = &self.ensemble.metrics;
        ErrorCounts { shown: metrics.client_errors.total(), masked: metrics.masked_errors.total() }
    }

    fn upgrade_metrics(&self) -> &UpgradeMetrics {
        &self.ensemble.metrics.upgrade
    }

    fn show_phase(&self, member: &str, phase: UpgradePhase) {
        self.ensemble.metrics.member(member).upgrade_phase.show(phase);
    }
}

impl Shown {
    fn members(&self, known: Option<&ensemble::Facts>) -> Vec<Member> {
        let servers: Vec<_> = self.ensemble.read(|servers| {
            let each = servers.all().iter();
            each.map(|s| ((s.at.clone(), s.health, s.was_away), s.version.clone(), s.sessions)).collect()
        });
        let member =
            |((at, health, was_away), version, sessions): ((HostPort, _, _), Option<Box<str>>, usize)| {
                let id = at.to_string();
                let said = known
                    .and_then(|known| known.servers.iter().find(|(other, _)| *other == at))
                    .map(|(_, said)| said);
                let reach = match (health, said) {
                    (Health::Down(since), _) => Reach::Down(format!(
                        "down for {} s",
                        now().saturating_duration_since(since).as_secs()
                    )),
                    (_, Some(Err(why))) => Reach::Down(why.clone()),
                    (Health::Up, _) => Reach::Up,
                    (Health::Unknown, _) => Reach::Untried,
                };
                let version = match said {
                    Some(Ok(said)) => said.version.clone().or(version.map(String::from)),
                    _ => version.map(String::from),
                };
                let in_flight = self.ensemble.metrics.member(&id).in_flight.get();
                Member {
                    address: id.clone(),
                    zone: None,
                    listed: Ok(true),
                    reach,
                    // A drained one is looked at so often that an end of its own is noticed: none is no time at all.
                    was_away: Some(was_away),
                    version: version.ok_or_else(|| format!("{id} has not said its version")),
                    drain: self.ensemble.drain_state(&id).unwrap_or_default(),
                    in_flight: u64::try_from(in_flight).unwrap_or(0),
                    sessions: sessions as u64,
                    id,
                }
            };
        servers.into_iter().map(member).collect()
    }
}

fn of_ensemble(known: &ensemble::Facts) -> ZooKeeper {
    let mode = |said: &Result<ensemble::Said, String>| -> Known<upgrade::Mode> {
        match said.as_ref().map_err(String::clone)?.mode {
            Some(Mode::Leader | Mode::Standalone) => Ok(upgrade::Mode::Leader),
            Some(Mode::Follower) => Ok(upgrade::Mode::Follower),
            Some(Mode::Observer) => Ok(upgrade::Mode::Observer),
            Some(Mode::ReadOnly) => Ok(upgrade::Mode::ReadOnly),
            None => Err("it has not said what it is".to_owned()),
        }
    };
    let leads = |(_, said): &&(_, Result<ensemble::Said, String>)| mode(said) == Ok(upgrade::Mode::Leader);
    let leader = known.servers.iter().find(leads).and_then(|(at, said)| Some((at, said.as_ref().ok()?)));
    let of_leader = |what: &str, number: fn(&ensemble::Said) -> Option<u64>| match leader {
        None => Err("no server says that it leads".to_owned()),
        Some((_, said)) if said.mode == Some(Mode::Standalone) => Ok(0),
        Some((at, said)) => number(said)
            .ok_or_else(|| format!("{at} doesn't tell {what}: is mntr in its 4lw.commands.whitelist?")),
    };
    let synced = of_leader("zk_synced_followers", |said| said.synced_followers);
    ZooKeeper {
        modes: known.servers.iter().map(|(at, said)| (at.to_string(), mode(said))).collect(),
        voters: known.voters.clone(),
        synced_followers: synced.map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
        pending_syncs: of_leader("zk_pending_syncs", |said| said.pending_syncs),
    }
}
