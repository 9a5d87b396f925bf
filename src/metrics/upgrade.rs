//! What an upgrade shows: the plan, members' phases and versions, gates, drains. For both protocols.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{Histogram, IntGaugeVec};

use super::Metrics;
use super::closed::closed_set;
use super::series::Series;

closed_set! {
    /// Where a member is in its turn.
    UpgradePhase shown by UpgradePhases {
        /// Clients use it.
        Serving serving = "serving",
        /// Clients are leaving it.
        Draining draining = "draining",
        /// Nobody is there any more.
        Drained drained = "drained",
        /// It can't be reached.
        Down down = "down",
        /// It is back, and is being watched.
        Verifying verifying = "verifying",
    }
}

closed_set! {
    /// A gate of an upgrade.
    UpgradeGate shown by UpgradeGates {
        /// May the member stop?
        Stop stop = "stop",
        /// May the next one have its turn?
        Next next = "next",
        /// May the cluster's version be raised for good?
        Finalize finalize = "finalize",
        /// Can members go back?
        Rollback rollback = "rollback",
    }
}

impl UpgradePhases {
    /// Shows one of them.
    pub fn show(&self, phase: UpgradePhase) {
        use UpgradePhase::{Down, Drained, Draining, Serving, Verifying};
        for each in [Serving, Draining, Drained, Down, Verifying] {
            self.get(each).set(i64::from(each == phase));
        }
    }
}

/// Series of which the labels say everything: at most one for each key.
#[derive(Debug)]
struct Info {
    family: IntGaugeVec,
    scope: [String; 2],
    shown: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Info {
    fn new(family: &IntGaugeVec, scope: &[String; 2]) -> Self {
        Self { family: family.clone(), scope: scope.clone(), shown: Mutex::default() }
    }

    /// Shows these label values and no others.
    fn show(&self, rows: BTreeMap<String, Vec<String>>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown == rows {
            return;
        }
        let labels = |row: &[String]| [self.scope.as_slice(), row].concat();
        for row in shown.values().filter(|row| !rows.values().any(|new| new == *row)) {
            // An error says that there is no such series, which is what is wanted.
            let _ = self.family.remove_label_values(&labels(row));
        }
        for row in rows.values() {
            self.family.with_label_values(&labels(row)).set(1);
        }
        *shown = rows;
    }
}

/// What the upgrade of a cluster shows. Each field is the metric of that name.
#[derive(Debug)]
pub struct UpgradeMetrics {
    /// `upgrade_gate_ok`.
    pub gates: UpgradeGates,
    /// `upgrade_drain_seconds`.
    pub drain_seconds: Histogram,
    plan: Info,
    cluster_version: Info,
    member_versions: Info,
}

impl UpgradeMetrics {
    pub(super) fn new(m: &Metrics, series: &Series<'_>, scope: &[String; 2]) -> Self {
        let info = |name| Info::new(m.gauges(name), scope);
        Self {
            gates: UpgradeGates::new(series.gauges("upgrade_gate_ok")),
            drain_seconds: series.histogram("upgrade_drain_seconds"),
            plan: info("upgrade_plan_info"),
            cluster_version: info("upgrade_cluster_version_info"),
            member_versions: info("upgrade_member_version_info"),
        }
    }

    /// Shows the plan that lives, or the one that ended last.
    pub fn plan(&self, plan: Option<(&str, &str)>) {
        let rows = plan.map(|(id, phase)| (String::new(), vec![id.to_owned(), phase.to_owned()]));
        self.plan.show(rows.into_iter().collect());
    }

    /// Shows the version that the cluster as a whole speaks.
    pub fn cluster_version(&self, version: Option<&str>) {
        let rows = version.map(|version| (String::new(), vec![version.to_owned()]));
        self.cluster_version.show(rows.into_iter().collect());
    }

    /// Shows the versions of the members, by their ids.
    pub fn member_versions<'a>(&self, versions: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let row = |(id, version): (&str, &str)| (id.to_owned(), vec![id.to_owned(), version.to_owned()]);
        self.member_versions.show(versions.into_iter().map(row).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::UpgradePhase;

    #[test]
    fn what_is_shown_replaces_what_was() {
        let metrics = Metrics::new();
        let cluster = metrics.kafka("orders");
        let lines = |name: &str| {
            let text = metrics.render();
            let own = text.lines().filter(|line| line.starts_with(&format!("evenkeel_{name}{{")));
            own.map(|line| line.rsplit_once(' ').unwrap_or_default())
                .map(|(series, value)| {
                    (
                        series.split_once("protocol=\"kafka\",").unwrap_or_default().1.to_owned(),
                        value.to_owned(),
                    )
                })
                .filter(|(_, value)| value == "1")
                .map(|(labels, _)| labels)
                .collect::<Vec<_>>()
        };
        cluster.upgrade.plan(Some(("p", "rolling")));
        cluster.upgrade.plan(Some(("p", "finalized")));
        assert_eq!(lines("upgrade_plan_info").len(), 1);
        cluster.upgrade.member_versions([("1", "3.9"), ("2", "3.9")]);
        cluster.upgrade.member_versions([("1", "4.3"), ("2", "3.9")]);
        assert_eq!(lines("upgrade_member_version_info").len(), 2);
        cluster.upgrade.member_versions([]);
        cluster.upgrade.plan(None);
        assert_eq!((lines("upgrade_plan_info").len(), lines("upgrade_member_version_info").len()), (0, 0));
        let member = cluster.member("1");
        member.upgrade_phase.show(UpgradePhase::Drained);
        member.upgrade_phase.show(UpgradePhase::Down);
        assert_eq!(lines("upgrade_member_phase").len(), 1);
    }
}
