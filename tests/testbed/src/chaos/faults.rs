//! Carries an event out on a real cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::monitor::Monitor;
use super::net::{self, Cut, Powers, ipv4};
use super::schedule::{Event, Fault, Target};
use crate::kafka::CLIENT_PORT;
use crate::{Cluster, DnsServer, Error, Result};

/// The domain of the brokers' names.
pub(super) const DOMAIN: &str = "kafka.test";
/// The administrator's patience with a cluster that was healthy a moment ago.
const PATIENCE: Duration = Duration::from_secs(60);
/// The spare addresses that brokers move to, one after another.
const SPARE: std::ops::Range<u8> = 10..50;

/// What events act on.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) cluster: Cluster,
    pub(super) dns: DnsServer,
    pub(super) monitor: Monitor,
    pub(super) powers: Powers,
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) moves: u8,
}

/// The name of a broker for clients.
pub(super) fn name(id: u8) -> String {
    format!("kafka-{id}.{DOMAIN}")
}

impl Ground {
    /// Why this event can't be carried out here, if it can't.
    pub(super) fn hindrance(&self, event: &Event) -> Option<String> {
        match event.fault {
            Fault::Reset => self.powers.reset.clone().err(),
            Fault::CutClients | Fault::CutPeers => self.powers.cut.clone().err(),
            _ => None,
        }
    }

    /// The broker that the event hits.
    pub(super) fn aim(&mut self, event: &Event) -> Result<u8> {
        let (topic, group) = (self.topic.clone(), self.group.clone());
        let admin = self.cluster.admin();
        let id = match event.target {
            Target::Node(id) => i32::from(id),
            Target::Leader(partition) => {
                admin.ask_until(&["topic", &topic], PATIENCE)?;
                let partitions = admin.topic(&topic)?;
                let found = partitions.iter().find(|p| p.partition == i32::from(partition));
                found.map_or(-1, |p| p.leader)
            }
            Target::Controller => {
                admin.ask_until(&["quorum"], PATIENCE)?;
                admin.active_controller()?
            }
            Target::Coordinator => {
                admin.ask_until(&["group", &group], PATIENCE)?;
                admin.group(&group)?.coordinator
            }
        };
        let known = self.cluster.ids().into_iter().find(|&known| i32::from(known) == id);
        known.ok_or_else(|| Error::program("chaos", format!("the {} is no broker: {id}", event.target)))
    }

    /// Carries the event out on broker `id`; afterwards every broker runs, and nothing is frozen or cut off.
    pub(super) fn strike(&mut self, event: &Event, id: u8) -> Result<()> {
        let lasts = Duration::from_millis(event.lasts_ms);
        match event.fault {
            Fault::Restart => {
                self.cluster.stop(id)?;
                self.cluster.start_node(id)
            }
            Fault::Move => {
                self.cluster.stop(id)?;
                self.settle(id)?;
                self.cluster.start_node(id)
            }
            Fault::DeadDns => {
                let start = Instant::now();
                self.dns.set_silent(true);
                let whole = self.cluster.stop(id).and_then(|()| self.cluster.start_node(id));
                let whole = whole.and_then(|()| self.cluster.wait_ready().map(drop));
                std::thread::sleep(lasts.saturating_sub(start.elapsed()));
                self.dns.set_silent(false);
                whole
            }
            Fault::Elect => self.cluster.admin().ask_until(&["elect"], PATIENCE).map(drop),
            Fault::Reassign => self.reassign(event),
            Fault::Kill => {
                self.cluster.kill(id)?;
                std::thread::sleep(lasts);
                self.cluster.start_node(id)
            }
            Fault::Freeze | Fault::LongFreeze => {
                self.cluster.freeze(id)?;
                std::thread::sleep(lasts);
                self.cluster.thaw(id)
            }
            Fault::Reset => {
                let addr = self.cluster.addr(id)?;
                for time in 0..event.times {
                    if time > 0 {
                        // Into the replays of the one before.
                        std::thread::sleep(Duration::from_millis(150));
                    }
                    net::reset(addr)?;
                }
                Ok(())
            }
            Fault::CutClients => {
                let ip = ipv4(self.cluster.addr(id)?)?;
                self.cut(ip, lasts)
            }
            Fault::CutPeers => {
                let ip = self.cluster.fixed_ip(id);
                self.monitor.set_alone(id, true);
                let done = self.cut(ip, lasts);
                self.monitor.set_alone(id, false);
                done
            }
            Fault::Outage => {
                let ids = self.cluster.ids();
                for &id in &ids {
                    self.cluster.kill(id)?;
                }
                std::thread::sleep(lasts);
                ids.into_iter().try_for_each(|id| self.cluster.start_node(id))
            }
        }
    }

    /// Gives a broker another address, which DNS tells at once.
    fn settle(&mut self, id: u8) -> Result<()> {
        let to = self.cluster.spare_ip(SPARE.start + self.moves % (SPARE.end - SPARE.start));
        self.moves = self.moves.wrapping_add(1);
        self.cluster.set_addr(id, to)?;
        self.dns.set(&name(id), to);
        self.monitor.set_addr(id, SocketAddr::from((to, CLIENT_PORT)));
        Ok(())
    }

    fn cut(&mut self, ip: Ipv4Addr, lasts: Duration) -> Result<()> {
        let way = self.powers.cut.clone().map_err(Error::Missing)?;
        let cut = Cut::start(way, &[ip])?;
        std::thread::sleep(lasts);
        drop(cut);
        Ok(())
    }

    /// The partition's leader is taken from its replicas, then comes back as the last of them.
    fn reassign(&mut self, event: &Event) -> Result<()> {
        let partition = match event.target {
            Target::Leader(partition) => i32::from(partition),
            _ => 0,
        };
        let topic = self.topic.clone();
        let admin = self.cluster.admin();
        let partitions = admin.topic(&topic)?;
        let found = partitions.into_iter().find(|p| p.partition == partition);
        let found = found.ok_or_else(|| Error::program("chaos", format!("no partition {partition}")))?;
        let mut replicas: Vec<i32> = found.replicas.into_iter().filter(|&id| id != found.leader).collect();
        admin.reassign(&topic, &[(partition, replicas.clone())], PATIENCE)?;
        replicas.push(found.leader);
        admin.reassign(&topic, &[(partition, replicas)], PATIENCE)
    }
}
