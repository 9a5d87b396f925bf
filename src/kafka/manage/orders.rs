//! Which replica orders change so that a broker leads nothing, and how they come back. Pure.

use std::collections::BTreeMap;

use crate::kafka::wire::{self, Struct};

/// A partition as the cluster has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Its leader; −1 if it has none.
    pub leader: i32,
    /// The nodes that shall have a copy, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub isr: Vec<i32>,
}

/// A partition and the order in which its replicas stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The nodes.
    pub replicas: Vec<i32>,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Brokers with their addresses.
    pub brokers: BTreeMap<i32, (String, u16)>,
    /// All partitions, sorted by topic and number.
    pub partitions: Vec<Partition>,
}

/// From an answer to Metadata.
///
/// # Errors
/// A topic can't be described, or the broker knows nobody.
pub fn read(metadata: &Struct) -> Result<Layout, String> {
    let broker = |row: &Struct| {
        let port = u16::try_from(row.i32("port")).ok()?;
        Some((row.i32("node_id"), (row.str("host")?.to_owned(), port)))
    };
    let mut layout =
        Layout { brokers: metadata.structs("brokers").filter_map(broker).collect(), partitions: Vec::new() };
    if layout.brokers.is_empty() {
        return Err("the broker has just come up and knows nobody".to_owned());
    }
    for topic in metadata.structs("topics") {
        let name = topic.str("name").unwrap_or_default();
        match topic.i16("error_code") {
            0 => {}
            code => return Err(format!("topic {name}: {}", wire::errors::name(code))),
        }
        layout.partitions.extend(topic.structs("partitions").map(|row| Partition {
            topic: name.to_owned(),
            partition: row.i32("partition_index"),
            leader: row.i32("leader_id"),
            replicas: row.i32s("replica_nodes"),
            isr: row.i32s("isr_nodes"),
        }));
    }
    layout.partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(layout)
}

impl Layout {
    fn find(&self, order: &Order) -> Option<&Partition> {
        let place = |p: &Partition| p.topic.cmp(&order.topic).then(p.partition.cmp(&order.partition));
        self.partitions.binary_search_by(place).ok().and_then(|at| self.partitions.get(at))
    }

    /// The partitions that `node` leads, or would be elected for: their orders as they are.
    pub fn led_by(&self, node: i32) -> Vec<Order> {
        let led = self.partitions.iter().filter(|partition| {
            partition.replicas.len() > 1
                && partition.replicas.contains(&node)
                && (partition.leader == node || partition.replicas.first() == Some(&node))
        });
        let order = |partition: &Partition| Order {
            topic: partition.topic.clone(),
            partition: partition.partition,
            replicas: partition.replicas.clone(),
        };
        led.map(order).collect()
    }

    /// Orders with `node` at the end. Those in sync come first: only they can lead.
    pub fn without(&self, node: i32, saved: &[Order]) -> Vec<Order> {
        let mut found = Vec::new();
        for order in saved {
            let Some(partition) =
                self.find(order).filter(|partition| same(&partition.replicas, &order.replicas))
            else {
                continue;
            };
            let mut replicas: Vec<i32> = order.replicas.iter().copied().filter(|id| *id != node).collect();
            replicas.sort_by_key(|id| !partition.isr.contains(id));
            replicas.push(node);
            found.push(Order { replicas, ..order.clone() });
        }
        found
    }

    /// Of these orders those that the cluster doesn't have. What is gone, or has other replicas by now, is not touched.
    pub fn missing(&self, wanted: &[Order]) -> Vec<Order> {
        let differs = |order: &&Order| {
            let partition = self.find(order);
            partition.is_some_and(|partition| {
                same(&partition.replicas, &order.replicas) && partition.replicas != order.replicas
            })
        };
        wanted.iter().filter(differs).cloned().collect()
    }

    /// Of these partitions those that are not led by the first of their replicas.
    pub fn to_elect(&self, wanted: &[Order]) -> Vec<Order> {
        let away = |order: &&Order| {
            let partition = self.find(order).filter(|partition| same(&partition.replicas, &order.replicas));
            partition.is_some_and(|partition| partition.replicas.first() != Some(&partition.leader))
        };
        wanted.iter().filter(away).cloned().collect()
    }

    /// Of these partitions those of which `node` has a copy that is not in sync.
    pub fn behind(&self, node: i32, of: &[Order]) -> Vec<Order> {
        let behind = |order: &&Order| {
            let partition = self.find(order);
            partition.is_some_and(|p| p.replicas.contains(&node) && !p.isr.contains(&node))
        };
        of.iter().filter(behind).cloned().collect()
    }
}

/// The same nodes, in whatever order.
fn same(one: &[i32], other: &[i32]) -> bool {
    let sorted = |list: &[i32]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    sorted(one) == sorted(other)
}
