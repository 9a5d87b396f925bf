//! Leaders of partitions, and features: what the driver asks of the Kafka cluster itself.

use super::event::Order;
use super::exit::{Exit, Halt};
use super::plan::{PlanFile, split};
use crate::config;
use crate::dns::{DnsOptions, Resolver};
use crate::kafka::manage::{Access, Manager, orders};
use crate::upgrade::kafka_level;
use std::time::Duration;

/// See the module.
pub(super) struct Leaders {
    access: Access,
    brokers: Vec<(String, u16)>,
}

fn to_wire(saved: &[Order]) -> Vec<orders::Order> {
    let order = |order: &Order| orders::Order {
        topic: order.topic.clone(),
        partition: order.partition,
        replicas: order.replicas.clone(),
    };
    saved.iter().map(order).collect()
}

fn node(member: &str) -> Result<i32, String> {
    member.parse().map_err(|_| format!("{member} is no node id"))
}

/// How many partitions of how many.
fn some(what: &str, list: &[orders::Order]) -> String {
    let first = list.first().map(|order| format!("{}-{}", order.topic, order.partition)).unwrap_or_default();
    format!("{} partitions {what}, {first} for one", list.len())
}

/// The cluster in the sidecar's configuration that the plan names; without one, in plain text and without credentials.
fn configured(plan: &PlanFile) -> Result<config::Kafka, String> {
    let Some(path) = plan.kafka.as_ref().and_then(|kafka| kafka.config.as_deref()) else {
        return Ok(config::Kafka::default());
    };
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = config::load(path, variables).map_err(|problems| problems.to_string())?;
    let found = loaded.kafka.into_iter().find(|kafka| kafka.name == plan.cluster);
    found.ok_or_else(|| format!("{}: no [[kafka]] is called {:?}", path.display(), plan.cluster))
}

impl Leaders {
    /// Through the brokers that the plan names.
    ///
    /// # Errors
    /// Names can't be resolved on this host, or the configuration that says how brokers are connected can't be used.
    pub(super) fn new(plan: &PlanFile) -> Result<Self, Halt> {
        let (min_ttl, timeout) = (Duration::from_secs(2), Duration::from_secs(2));
        let resolver = Resolver::new(DnsOptions { servers: Vec::new(), min_ttl, timeout }, None);
        let resolver = resolver.map_err(|error| Halt::new(Exit::Broken, format!("dns: {error}")))?;
        let named = plan.kafka.as_ref().map_or(&[][..], |kafka| &kafka.bootstrap);
        let brokers = named.iter().filter_map(|address| split(address));
        let access = Access::new(resolver, &configured(plan).map_err(|text| Halt::new(Exit::Usage, text))?);
        Ok(Self { access, brokers: brokers.map(|(host, port)| (host.to_owned(), port)).collect() })
    }

    async fn connect(&self) -> Result<Manager, String> {
        Manager::connect(&self.access, &self.brokers).await.map_err(|error| error.to_string())
    }

    /// The replica orders that have to change for a member to lead nothing.
    pub(super) async fn orders_of(&self, member: &str) -> Result<Vec<Order>, String> {
        let mut manager = self.connect().await?;
        let layout = manager.layout().await.map_err(|error| error.to_string())?;
        let order = |order: orders::Order| Order {
            topic: order.topic,
            partition: order.partition,
            replicas: order.replicas,
        };
        Ok(layout.led_by(node(member)?).into_iter().map(order).collect())
    }

    /// One step of moving leaders away from a member: done when it leads nothing of these. Harmless to repeat.
    pub(super) async fn move_away(&self, member: &str, saved: &[Order]) -> Result<(), String> {
        let member = node(member)?;
        let mut manager = self.connect().await?;
        let layout = manager.layout().await.map_err(|error| error.to_string())?;
        let wanted = layout.without(member, &to_wire(saved));
        self.arrange(&mut manager, &layout, &wanted).await
    }

    /// One step of restoring orders: done when they are as they were, and led so. Harmless to repeat.
    pub(super) async fn restore(&self, member: &str, saved: &[Order]) -> Result<(), String> {
        let member = node(member)?;
        let mut manager = self.connect().await?;
        let layout = manager.layout().await.map_err(|error| error.to_string())?;
        let wanted = to_wire(saved);
        let behind = layout.behind(member, &wanted);
        if !behind.is_empty() {
            return Err(some("are not in sync yet", &behind));
        }
        self.arrange(&mut manager, &layout, &wanted).await
    }

    async fn arrange(
        &self,
        manager: &mut Manager,
        layout: &orders::Layout,
        wanted: &[orders::Order],
    ) -> Result<(), String> {
        let missing = layout.missing(wanted);
        if !missing.is_empty() {
            manager.reorder(&missing).await.map_err(|error| error.to_string())?;
            return Err(some("get another replica order", &missing));
        }
        let elect = layout.to_elect(wanted);
        if !elect.is_empty() {
            manager.elect(&elect).await.map_err(|error| error.to_string())?;
            return Err(some("get another leader", &elect));
        }
        Ok(())
    }

    /// Raises `metadata.version` to the highest level that all brokers, and `to`, have; the level.
    pub(super) async fn raise(&self, to: Option<&str>) -> Result<i16, String> {
        let mut manager = self.connect().await?;
        let layout = manager.layout().await.map_err(|error| error.to_string())?;
        let mut highest = to.and_then(kafka_level).unwrap_or(i16::MAX);
        let mut finalized = 0;
        for broker in layout.brokers.values() {
            let one = Manager::connect(&self.access, std::slice::from_ref(broker)).await;
            let one = one.map_err(|error| error.to_string())?;
            let (supported, level) = one.levels().ok_or("the brokers have no metadata.version")?;
            highest = highest.min(supported);
            finalized = finalized.max(level);
        }
        if finalized >= highest {
            return Ok(finalized);
        }
        manager.raise(highest).await.map_err(|error| error.to_string())?;
        Ok(highest)
    }
}
