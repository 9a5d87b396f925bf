//! Medians and ratios of a run in front of a `ZooKeeper` server, and its part of the page.

use std::fmt::Write as _;

use super::load::Done;
use super::workload::Workload;
use crate::contender::{Kind, envoy_binary, haproxy_binary};
use crate::report::{Spread, machine, says};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// CPU time of the measured process.
    pub seconds: f64,
    /// What the load generator says.
    pub done: Done,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2⁵³")]
impl Sample {
    /// CPU microseconds for each request.
    fn cost(&self) -> f64 {
        self.seconds * 1e6 / self.done.requests as f64
    }

    fn p50(&self) -> f64 {
        self.done.p50 as f64 / 1e3
    }

    fn p99(&self) -> f64 {
        self.done.p99 as f64 / 1e3
    }

    /// What it came to, for a terminal.
    pub(super) fn line(&self) -> String {
        let rate = self.done.requests as f64 * 1e3 / self.done.micros as f64;
        let (cost, p50, p99) = (self.cost(), self.p50(), self.p99());
        format!("{cost:7.3} CPU µs/request, {rate:6.1} k/s, p50 {p50:6.1} µs, p99 {p99:6.1} µs")
    }
}

/// All measurements of a run.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(Workload, Kind, Sample)>);

impl Report {
    pub(super) fn add(&mut self, workload: Workload, kind: Kind, sample: Sample) {
        self.0.push((workload, kind, sample));
    }

    fn spread(&self, workload: Workload, kind: Kind, value: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let of = self.0.iter().filter(|(w, k, _)| *w == workload && *k == kind);
        Spread::of(of.map(|(_, _, sample)| value(sample)).collect())
    }

    fn cost(&self, workload: Workload, kind: Kind) -> Option<f64> {
        self.spread(workload, kind, Sample::cost).map(|spread| spread.median)
    }

    /// CPU time of each, then times of those that were timed.
    pub(super) fn tables(&self, workloads: &[Workload]) -> String {
        let mut out = String::from(
            "| load | proxy | requests per CPU-second | CPU µs/request | min | max | to HAProxy | to Envoy |\n\
             |---|---|---:|---:|---:|---:|---:|---:|\n",
        );
        let ratio = |own: f64, other: Option<f64>| {
            other.map_or("–".to_owned(), |other| format!("{:.2}", own / other))
        };
        for &workload in workloads {
            for kind in Kind::ZOOKEEPER.into_iter().filter(|kind| *kind != Kind::Direct) {
                let Some(cost) = self.spread(workload, kind, Sample::cost) else { continue };
                let _ = writeln!(
                    out,
                    "| {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {} | {} |",
                    workload.title(),
                    kind.title(),
                    1e6 / cost.median,
                    cost.median,
                    cost.min,
                    cost.max,
                    ratio(cost.median, self.cost(workload, Kind::Haproxy)),
                    ratio(cost.median, self.cost(workload, Kind::Envoy)),
                );
            }
        }
        out += "\n| load | proxy | p50, µs | added | p99, µs | added |\n|---|---|---:|---:|---:|---:|\n";
        for &workload in workloads.iter().filter(|workload| workload.is_timed()) {
            for kind in Kind::ZOOKEEPER {
                let of =
                    |kind, value: fn(&Sample) -> f64| self.spread(workload, kind, value).map(|s| s.median);
                let (Some(p50), Some(p99)) = (of(kind, Sample::p50), of(kind, Sample::p99)) else { continue };
                let added = |own: f64, value| match of(Kind::Direct, value) {
                    Some(direct) if kind != Kind::Direct => format!("{:.1}", own - direct),
                    _ => "–".to_owned(),
                };
                let _ = writeln!(
                    out,
                    "| {} | {} | {p50:.1} | {} | {p99:.1} | {} |",
                    workload.title(),
                    kind.title(),
                    added(p50, Sample::p50),
                    added(p99, Sample::p99),
                );
            }
        }
        out
    }
}

/// This run's part of the page.
pub(super) fn part(tables: &str, notes: &str, one_core: bool) -> String {
    let version = |binary: Option<std::path::PathBuf>, word: &str| {
        binary.and_then(|binary| says(&binary, &[word])).unwrap_or_else(|| "not here, left out".to_owned())
    };
    let place =
        if one_core { "load, proxy and server share one core" } else { "the kernel chooses the cores" };
    let busy = crate::report::first_line("/proc/loadavg");
    format!(
        "## ZooKeeper (`make bench ARGS=zookeeper`)\n\n{}- HAProxy: {}; TCP mode, `nbthread 1`, `tune.bufsize 65536`\n\
         - Envoy: {}; `zookeeper_proxy` in front of `tcp_proxy`, `--concurrency 1`\n\
         - {notes}{place}; load average at the end {}\n\n{tables}",
        machine(),
        version(haproxy_binary(), "-v"),
        // What stands before it is the binary's place.
        version(envoy_binary().ok(), "--version").rsplit("version: ").next().unwrap_or_default(),
        busy.split(' ').next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_differences_are_of_the_right_rows() {
        let mut report = Report::default();
        for (kind, seconds, p50) in
            [(Kind::Direct, 0.0, 20_000), (Kind::Haproxy, 0.4, 50_000), (Kind::Evenkeel, 0.5, 60_000)]
        {
            let done = Done { requests: 20_000, micros: 1, p50, p99: p50 * 2 };
            report.add(Workload::Get, kind, Sample { seconds, done });
        }
        let tables = report.tables(&[Workload::Get, Workload::GetPiped]);
        assert!(tables.contains("| Evenkeel | 40000 | 25.00 | 25.00 | 25.00 | 1.25 | – |"), "{tables}");
        assert!(tables.contains("| Evenkeel | 60.0 | 40.0 | 120.0 | 80.0 |"), "{tables}");
        assert!(tables.contains("| none | 20.0 | – | 40.0 | – |"), "{tables}");
        assert!(!tables.contains("| Envoy |"), "{tables}");
    }
}
