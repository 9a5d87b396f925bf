//! The binary in front of real Kafka clusters, with real clients: short runs of the promises.
//!
//! Run with `--test-threads=1`: each test has three brokers, and a small machine carries one such cluster at a time. The
//! brokers' session time-out is short here; the acceptance runs have Kafka's own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects")]

mod addresses;
mod chaos;
mod closed_gates;
mod cold_start;
mod consumers;
mod dead;
mod driven;
mod gates;
mod newer_groups;
mod operations;
mod rolls;
mod sasl;
mod silent;
mod tls;
mod upgrade;
mod zookeeper_mode;

use std::path::Path;

use testbed::scene::{is, unbalanced};
use testbed::{Report, Sidecar};

/// The binary that Cargo built for this test.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_evenkeel"))
}

/// The sum of a metric's series that have these labels.
fn metric(sidecar: &Sidecar, name: &str, labels: &[&str]) -> f64 {
    sidecar.metric_sum(&format!("evenkeel_{name}"), labels).unwrap()
}

/// Whether a count is none.
fn is_zero(count: f64) -> bool {
    is(count, 0.0)
}

/// A planned fault kept its promise, and Evenkeel's account adds up. Ends the load's story: its clients are gone.
fn assert_planned(report: &Report, sidecar: &Sidecar) {
    let found = report.breaches_of_planned();
    let figures = figures(report);
    println!("{figures}");
    assert!(found.is_empty(), "{found:#?}\n{figures}\nits log ends with:\n{}", sidecar.log_tail(40));
    let found = unbalanced(sidecar, &[1, 2, 3]).unwrap();
    assert!(found.is_empty(), "{found:#?}\n{}", sidecar.get("/metrics").unwrap().1);
}

/// The errors that a producer saw are those that Evenkeel says it gave. For a producer whose batches have one record each.
fn assert_errors_agree(report: &Report, sidecar: &Sidecar) {
    let seen = f64::from(u32::try_from(report.all.errors).unwrap());
    let given = metric(sidecar, "client_errors_total", &["code=\"REQUEST_TIMED_OUT\""]);
    assert!(is(seen, given), "{seen} errors seen, {given} given");
    // A broker's own REQUEST_TIMED_OUT passes as it is; nothing here makes one.
    let unknown = metric(sidecar, "unknown_outcomes_total", &["action=\"error\""]);
    assert!(is(seen, unknown), "{seen} errors seen, {unknown} unknown outcomes told");
}

fn figures(report: &Report) -> String {
    let (all, consumer) = (&report.all, &report.consumer);
    format!(
        "{} sent, {} errors {:?} (by stop {:?}), {} of them in the log, {} lost, {} repeated, {} out of order, longest \
         pause {} ms; {} delivered, {} missed, {} twice, {} rebalances",
        all.sent,
        all.errors,
        all.by_class,
        report.writers.iter().map(|w| &w.errors_by_stop).collect::<Vec<_>>(),
        all.errors_in_log,
        all.lost.len(),
        all.repeated.len(),
        all.reordered.len(),
        all.longest_pause_us / 1000,
        consumer.delivered,
        consumer.missed.len(),
        consumer.twice.len(),
        consumer.rebalances,
    )
}
