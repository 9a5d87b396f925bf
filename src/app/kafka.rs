//! A Kafka cluster as the admin listener shows it: the words of the one in those of the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::is_fresh;
use crate::admin::{Asked, ClusterStatus, ErrorCounts, Wish};
use crate::kafka::cluster::facts::{self, Unreached};
use crate::kafka::cluster::{Cluster, Health};
use crate::metrics::{UpgradeMetrics, UpgradePhase};
use crate::time::now;
use crate::upgrade::{
    self, DrainState, Dropped, Facts, Hold, Kafka, Known, Member, Partition, Quorum, Reach, Voter,
};

/// See the module.
struct Shown {
    name: String,
    cluster: Arc<Cluster>,
    /// The partitions that were gathered last, in the gates' words: there can be very many.
    partitions: Mutex<Option<(Instant, Arc<Vec<Partition>>)>>,
}

/// A cluster for the admin listener.
pub(super) fn shown(cluster: &Arc<Cluster>) -> Arc<dyn ClusterStatus> {
    let name = cluster.settings().kafka.name.clone();
    Arc::new(Shown { name, cluster: Arc::clone(cluster), partitions: Mutex::default() })
}

impl ClusterStatus for Shown {
    fn name(&self) -> &str {
        &self.name
    }

    fn status(&self) -> Value {
        self.cluster.status_json()
    }

    fn set_bypass(&self, on: bool) {
        self.cluster.set_bypass(on);
    }

    fn drain(&self, member: &str, lasts: Option<Duration>) -> Option<DrainState> {
        let node = member.parse().ok()?;
        let known = match lasts {
            Some(lasts) => self.cluster.drain(node, lasts),
            None => self.cluster.undrain(node),
        };
        known.then(|| self.cluster.drain_state(node))
    }

    fn drain_state(&self, member: &str) -> Option<DrainState> {
        let node = member.parse().ok()?;
        self.cluster.read(|view| view.nodes.contains_key(&node)).then(|| self.cluster.drain_state(node))
    }

    fn facts(&self) -> Facts {
        let known = self.cluster.facts();
        Facts {
            age: known.as_ref().map(|known| now().saturating_duration_since(known.asked)),
            members: self.members(known.as_deref().filter(|known| is_fresh(known.asked))),
            hold: Hold {
                waiting: u64::try_from(self.cluster.metrics.hold_requests.get()).unwrap_or(0),
                bytes: self.cluster.ledger.bytes() as u64,
                limit: self.cluster.ledger.limit() as u64,
            },
            client_errors: self.cluster.metrics.client_errors.of_servers(),
            cluster: upgrade::Cluster::Kafka(match &known {
                Some(known) => Ok(self.of_cluster(known)),
                None => Err("the cluster was not asked yet".to_owned()),
            }),
        }
    }

    fn version(&self) -> Option<String> {
        let known = self.cluster.facts()?;
        let level = finalized(&known).ok()?;
        upgrade::kafka_release(level).map(str::to_owned)
    }

    fn gather(&self, wish: Wish) -> Asked<'_> {
        let downgrade = wish.downgrade.as_deref().and_then(upgrade::kafka_level);
        Box::pin(async move {
            self.cluster.gather(wish.fresh, facts::Wish { upgrade: wish.upgrade, downgrade }).await;
        })
    }

    fn rest(&self) -> Asked<'_> {
        Box::pin(self.cluster.forget_facts())
    }

    fn hold_pin(&self, held: bool) {
        self.cluster.hold_pin(held);
    }

    fn lift_pin(&self) {
        self.cluster.lift_pin();
    }

    fn errors(&self) -> ErrorCounts {
        let metrics = &self.cluster.metrics;
        ErrorCounts { shown: metrics.client_errors.total(), masked: metrics.masked_errors.total() }
    }

    fn upgrade_metrics(&self) -> &UpgradeMetrics {
        &self.cluster.metrics.upgrade
    }

    fn show_phase(&self, member: &str, phase: UpgradePhase) {
        self.cluster.metrics.member(member).upgrade_phase.show(phase);
    }
}

/// The finalized level of `metadata.version`, as any broker knows it.
fn finalized(known: &facts::Facts) -> Known<i16> {
    let levels = known.brokers.values().filter_map(|broker| broker.as_ref().ok()?.finalized);
    levels.max().ok_or_else(|| "no broker tells a finalized metadata.version".to_owned())
}

impl Shown {
    /// Every broker that is known. What the watcher sees of it is newer than what was gathered.
    fn members(&self, known: Option<&facts::Facts>) -> Vec<Member> {
        let nodes: Vec<(i32, String, Option<String>, Health)> = self.cluster.read(|view| {
            let each = view.nodes.iter().map(|(id, node)| {
                (*id, format!("{}:{}", node.host, node.port), node.rack.clone(), node.health)
            });
            each.collect()
        });
        let member = |(node, address, zone, health)| {
            let asked = known.and_then(|known| known.brokers.get(&node));
            let reach = match (health, asked) {
                (_, Some(Err(Unreached::Wrong(why)))) => Reach::Wrong(why.clone()),
                (Health::Down(since), _) => {
                    Reach::Down(format!("down for {} s", now().saturating_duration_since(since).as_secs()))
                }
                (_, Some(Err(Unreached::Down(why)))) => Reach::Down(why.clone()),
                (Health::Up, _) => Reach::Up,
                (Health::Untried, _) => Reach::Untried,
            };
            let version = match asked {
                Some(Ok(broker)) => match broker.level {
                    Some(level) => upgrade::kafka_release(level).map(str::to_owned).ok_or_else(|| {
                        format!("node {node} has a metadata.version of {level}: newer than is known here")
                    }),
                    None => Err(format!("node {node} has no metadata.version to tell its release by")),
                },
                Some(Err(_)) => Err(format!("node {node} doesn't answer")),
                None => Err(format!("node {node} was not asked yet")),
            };
            let listed = match known.map(|known| &known.listed) {
                Some(Ok(listed)) => Ok(listed.contains(&node)),
                Some(Err(why)) => Err(why.clone()),
                None => Err("the cluster was not asked yet".to_owned()),
            };
            let in_flight = self.cluster.metrics.member(&node.to_string()).in_flight.get();
            Member {
                id: node.to_string(),
                address,
                zone,
                listed,
                reach,
                was_away: self.cluster.was_away(node),
                version,
                drain: self.cluster.drain_state(node),
                in_flight: u64::try_from(in_flight).unwrap_or(0),
                sessions: 0,
            }
        };
        nodes.into_iter().map(member).collect()
    }

    fn partitions(&self, known: &facts::Facts) -> Known<Arc<Vec<Partition>>> {
        let all = known.partitions.as_ref().map_err(String::clone)?;
        let mut last = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, partitions)) = &*last
            && *asked == known.asked
        {
            return Ok(Arc::clone(partitions));
        }
        let partition = |partition: &facts::Partition| Partition {
            topic: Arc::clone(&partition.topic),
            index: partition.index,
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
            min_isr: partition.min_isr,
        };
        let partitions = Arc::new(all.iter().map(partition).collect());
        *last = Some((known.asked, Arc::clone(&partitions)));
        Ok(partitions)
    }

    fn of_cluster(&self, known: &facts::Facts) -> Kafka {
        let brokers = || known.brokers.iter().filter_map(|(id, broker)| Some((*id, broker.as_ref().ok()?)));
        let mut rebalancing = Ok(Vec::new());
        for (_, broker) in brokers() {
            match (&mut rebalancing, &broker.rebalancing) {
                (Ok(all), Ok(some)) => all.extend(some.iter().cloned()),
                (Ok(_), Err(why)) => rebalancing = Err(why.clone()),
                (Err(_), _) => {}
            }
        }
        let dropped = self.cluster.dropped_versions().into_iter().map(|row| Dropped {
            client: row.client,
            library: row.library.to_owned(),
            api: row.api.to_owned(),
            version: row.version,
            in_kafka_4: row.in_kafka_4,
            members: row.members,
        });
        Kafka {
            partitions: self.partitions(known),
            quorum: known.quorum.clone().map(quorum),
            reassigning: known.reassigning.clone(),
            rebalancing,
            loading: Ok(brokers().filter(|(_, broker)| broker.loading).map(|(id, _)| id).collect()),
            finalized: finalized(known),
            upgrade_check: known.upgrade.clone(),
            downgrade_check: known.downgrade.clone(),
            dropped: dropped.collect(),
        }
    }
}

fn quorum(known: facts::Quorum) -> Quorum {
    match known {
        facts::Quorum::Raft { leader, voters } => Quorum::Raft {
            leader,
            voters: voters.into_iter().map(|(id, caught_up)| Voter { id, caught_up }).collect(),
        },
        facts::Quorum::ZooKeeper { controller } => Quorum::ZooKeeper { controller },
    }
}
