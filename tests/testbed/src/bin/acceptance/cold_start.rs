//! No broker at the start.

use std::fmt::Write as _;
use std::time::Duration;

use testbed::stories::cold_start;
use testbed::{KafkaVersion, Result, Spec};

use super::{Bench, Finding};

/// Brokers of a busy machine may need longer to start than a request is held by default (20 s).
const HOLD: &str = "[hold]\nmax = \"110s\"\n";

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut finding = Finding::default();
    for version in [KafkaVersion::V3_9_2, KafkaVersion::V4_3_1] {
        bench.say(&format!("Kafka {version}"));
        let start = cold_start(Spec::new(version), &bench.binary, HOLD)?;
        let seconds = |duration: Duration| format!("{:.1} s", duration.as_secs_f64());
        let [bootstrap, broker] = start.answered;
        let _ = write!(
            finding.figures,
            "Kafka {version}: without brokers `/readyz` said {} (\"{}\"), `/healthz` {}. Clients that connected then, at the bootstrap \
             address and at a broker's port, were held (`hold.max` 110 s for this proof: the machine's brokers may be slow). From the start of the three brokers it took {} until the first had its \
             answer, {} until the second had, {} until Evenkeel was ready, and {} until the cluster was whole. A Java producer \
             started with the brokers: {} records sent, {} acknowledged, {} lost, {} repeated, {} out of order.\n\n",
            start.not_ready.0,
            start.not_ready.1.trim().replace('\n', "; "),
            start.alive,
            seconds(bootstrap),
            seconds(broker),
            seconds(start.ready),
            seconds(start.cluster_ready),
            start.early.sent,
            start.early.acked,
            start.early.lost.len(),
            start.early.repeated.len(),
            start.early.reordered.len(),
        );
        finding
            .breaches
            .extend(start.breaches().into_iter().map(|breach| format!("Kafka {version}: {breach}")));
    }
    Ok(finding)
}
