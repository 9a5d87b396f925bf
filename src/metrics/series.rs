//! How handles are resolved: the series of one cluster or member, by the name of their metric.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::Metrics;
use super::catalogue::Scope;
use super::protocol::Protocol;

/// The series of one cluster or member, or those of them that share one more label value.
pub(super) struct Series<'a> {
    metrics: &'a Metrics,
    at: Vec<&'a str>,
}

impl<'a> Series<'a> {
    pub(super) fn new(metrics: &'a Metrics, at: &[&'a str]) -> Self {
        Self { metrics, at: at.to_vec() }
    }

    /// Those with one more label value.
    pub(super) fn with(&self, value: &'a str) -> Self {
        Self { metrics: self.metrics, at: [self.at.as_slice(), &[value]].concat() }
    }

    pub(super) fn counter(&self, name: &str) -> IntCounter {
        self.metrics.counters(name).with_label_values(&self.at)
    }

    pub(super) fn gauge(&self, name: &str) -> IntGauge {
        self.metrics.gauges(name).with_label_values(&self.at)
    }

    pub(super) fn fraction(&self, name: &str) -> Gauge {
        self.metrics.fractions(name).with_label_values(&self.at)
    }

    pub(super) fn histogram(&self, name: &str) -> Histogram {
        self.metrics.histograms(name).with_label_values(&self.at)
    }

    /// The counters of a closed set.
    pub(super) fn counters(&self, name: &str) -> impl Fn(&'static str) -> IntCounter {
        move |value| self.with(value).counter(name)
    }

    /// The gauges of a closed set.
    pub(super) fn gauges(&self, name: &str) -> impl Fn(&'static str) -> IntGauge {
        move |value| self.with(value).gauge(name)
    }
}

/// The members of one cluster, each with handles of type `M`.
#[derive(Debug)]
pub(super) struct Members<M> {
    cluster: String,
    protocol: Protocol,
    make: fn(&Series<'_>) -> M,
    known: Mutex<BTreeMap<String, Arc<M>>>,
    metrics: Weak<Metrics>,
}

impl<M> Members<M> {
    pub(super) fn new(
        metrics: &Arc<Metrics>,
        cluster: &str,
        protocol: Protocol,
        make: fn(&Series<'_>) -> M,
    ) -> Self {
        let (cluster, metrics) = (cluster.to_owned(), Arc::downgrade(metrics));
        Self { cluster, protocol, make, known: Mutex::default(), metrics }
    }

    /// The handles of a member; made, with every series at zero, when it wasn't known.
    pub(super) fn get(&self, id: &str) -> Arc<M> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = known.get(id) {
            return Arc::clone(member);
        }
        // Without the registry (the process is going down) the handles still work; nobody reads them.
        let metrics = self.metrics.upgrade().unwrap_or_else(Metrics::new);
        let series = Series::new(&metrics, &[&self.cluster, self.protocol.as_str(), id]);
        let member = Arc::new((self.make)(&series));
        known.insert(id.to_owned(), Arc::clone(&member));
        member
    }

    /// Removes the series of a member. Handles still held count unseen.
    pub(super) fn forget(&self, id: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.remove(id).is_some()
            && let Some(metrics) = self.metrics.upgrade()
        {
            metrics.remove(Scope::Member, self.protocol, &[&self.cluster, self.protocol.as_str(), id]);
        }
    }
}
