//! A cluster without sockets, as the model check makes, copies and prints it. Tests only.

use super::{Cluster, Health, Producer, Settings, TopicKey, lock};
use crate::dns::{DnsOptions, Resolver};
use crate::hold::Ledger;
use crate::kafka::model::print::{Print, hash_of};
use crate::kafka::order::Copies;
use crate::kafka::ports::Ports;
use crate::lifecycle::Readiness;
use crate::metrics::{KafkaMetrics, Metrics};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

static METRICS: LazyLock<(Arc<Metrics>, Arc<KafkaMetrics>)> = LazyLock::new(|| {
    let metrics = Metrics::new();
    let cluster = metrics.kafka("model");
    (metrics, cluster)
});
static RESOLVER: LazyLock<Resolver> = LazyLock::new(|| {
    let options = DnsOptions {
        servers: vec!["127.0.0.1:1".parse().unwrap()],
        min_ttl: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };
    Resolver::new(options, None).unwrap()
});

impl Cluster {
    /// A cluster of which nothing is known, on the ports of nodes 1 and 2.
    pub(in crate::kafka) fn modelled(settings: &Settings) -> Arc<Self> {
        let mut ports = Ports::new(settings.kafka.broker_ports, &BTreeMap::new(), None);
        ports.assign(1);
        ports.assign(2);
        let ledger = Ledger::new(settings.hold.bytes);
        let not_ready = Readiness::new().block("modelled");
        Self::new(settings.clone(), ports, RESOLVER.clone(), Arc::clone(&METRICS.1), ledger, not_ready)
    }

    /// A copy that shares nothing with this one, with an empty book of held requests.
    pub(in crate::kafka) fn copy(&self, copies: &mut Copies) -> Arc<Self> {
        let copy = Self::modelled(&self.settings());
        *lock(&copy.view) = lock(&self.view).clone();
        *lock(&copy.wants) = lock(&self.wants).clone();
        *lock(&copy.producers) = lock(&self.producers).clone();
        copy.order.copy(&self.order, copies);
        copy
    }

    /// A broker hands a producer id out.
    pub(in crate::kafka) fn grant(&self, producer: Producer) {
        self.add_producer(producer);
    }

    /// Whether a session waits for a producer id.
    pub(in crate::kafka) fn wants_producer(&self) -> bool {
        self.producers_wanted() > 0
    }

    /// Whether a session wants the leader of a partition of this topic.
    pub(in crate::kafka) fn wants(&self, topic: &TopicKey, now: Instant) -> bool {
        self.wanted(now).0.contains(topic)
    }

    /// A node is found to be up or down.
    pub(in crate::kafka) fn set_health(&self, node: i32, health: Health) {
        self.update(|view| view.nodes.get_mut(&node).unwrap().health = health);
    }

    /// Prints what is known and wanted.
    pub(in crate::kafka) fn print(&self, topic: &TopicKey, partitions: i32, now: Instant, print: &mut Print) {
        self.read(|view| {
            for node in view.nodes.values() {
                print.put(&matches!(node.health, Health::Down(_)));
            }
            for partition in 0..partitions {
                let leader = view.leader(topic, partition);
                print.put(&leader.map(|leader| (leader.node, leader.epoch)));
                print.date(leader.map(|leader| leader.asked));
            }
        });
        print.put(&self.wants(topic, now));
        let producers = lock(&self.producers);
        print.unordered(producers.wanted.iter(), |id| **id, Print::put);
        print.put(&producers.ready.iter().map(hash_of).collect::<Vec<_>>());
    }
}
