//! Medians, ratios, and the page that they are written to.

use crate::Options;
use crate::contender::{Kind, haproxy_binary};
use crate::load::Done;
use crate::workload::{Unit, Workload};
use std::fmt::Write as _;
use std::process::Command;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of the measured process.
    pub seconds: f64,
    /// Bytes that its client sent and received.
    pub bytes: u64,
    /// Requests, each with its answer.
    pub requests: u64,
    /// Time on the wall.
    pub micros: u64,
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2⁵³")]
impl Sample {
    /// What a load came to, and the CPU time of the proxy meanwhile.
    pub(crate) fn of(seconds: f64, done: Done) -> Self {
        Self { seconds, bytes: done.bytes, requests: done.requests, micros: done.micros }
    }

    /// What it cost, in the workload's unit.
    pub(crate) fn cost(&self, workload: Workload) -> f64 {
        match workload.unit() {
            Unit::SecondsPerGigabyte => self.seconds / (self.bytes as f64 / 1e9),
            Unit::MicrosPerRequest => self.seconds * 1e6 / self.requests as f64,
        }
    }

    /// Seconds on the wall.
    pub(crate) fn wall(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// What went through, for a reader's feeling of proportion: GB/s, or thousands of requests a second.
    fn rate(&self, workload: Workload) -> f64 {
        match workload.unit() {
            Unit::SecondsPerGigabyte => self.bytes as f64 / 1e3 / self.micros as f64,
            Unit::MicrosPerRequest => self.requests as f64 * 1e3 / self.micros as f64,
        }
    }
}

/// All measurements of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<(Workload, Kind, Sample)>);

/// Of several numbers.
pub(crate) struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), min, max })
    }
}

impl Report {
    pub(crate) fn add(&mut self, workload: Workload, kind: Kind, sample: Sample) {
        self.0.push((workload, kind, sample));
    }

    fn spread(&self, workload: Workload, kind: Kind, value: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let of =
            |(w, k, sample): &(Workload, Kind, Sample)| (*w == workload && *k == kind).then(|| value(sample));
        Spread::of(self.0.iter().filter_map(of).collect())
    }

    fn median(&self, workload: Workload, kind: Kind) -> Option<f64> {
        self.spread(workload, kind, |sample| sample.cost(workload)).map(|spread| spread.median)
    }

    /// As a Markdown table, which reads well on a terminal too.
    pub(crate) fn table(&self, workloads: &[Workload]) -> String {
        let mut out = String::from(
            "| load | unit | proxy | median | min | max | to the floor | rate |\n|---|---|---|---:|---:|---:|---:|---:|\n",
        );
        for &workload in workloads {
            for kind in Kind::KAFKA {
                let Some(cost) = self.spread(workload, kind, |sample| sample.cost(workload)) else {
                    continue;
                };
                let rate =
                    self.spread(workload, kind, |sample| sample.rate(workload)).map_or(0.0, |r| r.median);
                let ratio = self.median(workload, Kind::Copy).map_or(f64::NAN, |floor| cost.median / floor);
                let places = if workload.unit() == Unit::SecondsPerGigabyte { 3 } else { 2 };
                let rate_unit = match workload.unit() {
                    Unit::SecondsPerGigabyte => "GB/s",
                    Unit::MicrosPerRequest => "k/s",
                };
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {:.places$} | {:.places$} | {:.places$} | {ratio:.2} | {rate:.1} {rate_unit} |",
                    workload.title(),
                    workload.unit().label(),
                    kind.title(),
                    cost.median,
                    cost.min,
                    cost.max,
                );
            }
        }
        out
    }

    /// One sentence for each load: what Evenkeel costs more or less than the others.
    fn verdicts(&self, workloads: &[Workload]) -> String {
        let mut out = String::new();
        for &workload in workloads {
            let Some(own) = self.median(workload, Kind::Evenkeel) else { continue };
            let mut parts = Vec::new();
            for (kind, name) in [
                (Kind::Copy, "the copy loop"),
                (Kind::Haproxy, "HAProxy"),
                (Kind::Uninjected, "with injection off"),
            ] {
                if let Some(other) = self.median(workload, kind) {
                    let percent = (own / other - 1.0) * 100.0;
                    let word = if percent > 0.0 { "more" } else { "less" };
                    parts.push(format!("{:.0} % {word} than {name}", percent.abs()));
                }
            }
            if !parts.is_empty() {
                let _ = writeln!(out, "- {}: {}.", workload.title(), parts.join(", "));
            }
        }
        out
    }
}

pub(crate) fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

pub(crate) fn says(program: &std::path::Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    // Envoy begins with an empty line.
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    model.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim()).to_owned()
}

/// When, on what machine and with which Evenkeel: lines of a list.
pub(crate) fn machine() -> String {
    let evenkeel = testbed::sidecar::Sidecar::binary().ok().and_then(|b| says(&b, &["--version"]));
    let date = says("date".as_ref(), &["-u", "+%F %H:%M UTC"]).unwrap_or_default();
    let commit = says("git".as_ref(), &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "- Date: {date}\n- Machine: {}, {cores} cores, kernel {}\n- Evenkeel: {} (commit {commit}), release build, one worker thread\n",
        cpu_model(),
        first_line("/proc/sys/kernel/osrelease"),
        evenkeel.unwrap_or_default()
    )
}

/// The page of results.
pub(crate) fn document(report: &Report, workloads: &[Workload], options: &Options, one_core: bool) -> String {
    let congestion = first_line("/proc/sys/net/ipv4/tcp_congestion_control");
    let haproxy = haproxy_binary().and_then(|binary| says(&binary, &["-v"]));
    let haproxy = haproxy.unwrap_or_else(|| "not installed, left out".to_owned());
    let busy = first_line("/proc/loadavg");
    let busy = busy.split(' ').next().unwrap_or_default();
    let mut out = String::from(
        "# Results of `make bench`\n\nWritten by the run itself; [README.md](README.md) says how to read it.\n\n",
    );
    out += &machine();
    let _ = writeln!(out, "- HAProxy: {haproxy}; TCP mode, `nbthread 1`, `tune.bufsize 65536`");
    let bbr = if congestion == "bbr" {
        ", the default of this machine: it paces what is sent over loopback too, for all contenders alike"
    } else {
        ""
    };
    let _ = writeln!(out, "- Congestion control: {congestion}{bbr}");
    let place =
        if one_core { "load, proxy and broker share one core" } else { "the kernel chooses the cores" };
    let _ = writeln!(
        out,
        "- {} rounds{}; {place}; load average at the end {busy}",
        options.rounds,
        if options.quick { " of a tenth of the load (--quick)" } else { "" }
    );
    let _ =
        write!(out, "\n{}\n## Evenkeel in words\n\n{}", report.table(workloads), report.verdicts(workloads));
    out
}

/// Where the part about `ZooKeeper` begins. It is the last one, and comes from a run of its own.
const PART: &str = "\n## ZooKeeper (";

/// A page with this part about `ZooKeeper`, in place of the one that it had.
pub(crate) fn with_part(page: &str, part: &str) -> String {
    let before = page.split_once(PART).map_or(page, |(before, _)| before).trim_end();
    format!("{before}\n\n{part}")
}

/// A page with the part about `ZooKeeper` that `old` has, if any.
pub(crate) fn keeping_part(page: String, old: &str) -> String {
    match old.split_once(PART) {
        Some((_, part)) => format!("{}\n{PART}{part}", page.trim_end()),
        None => page,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64) -> Sample {
        Sample { seconds, bytes: 2_000_000_000, requests: 20_000, micros: 1_000_000 }
    }

    #[test]
    fn each_run_leaves_the_others_part_alone() {
        let part = "## ZooKeeper (x)\n\n| old |\n";
        let page = with_part("# Results\n\nkafka\n", part);
        assert_eq!(page, "# Results\n\nkafka\n\n## ZooKeeper (x)\n\n| old |\n");
        assert_eq!(with_part(&page, "## ZooKeeper (y)\n"), "# Results\n\nkafka\n\n## ZooKeeper (y)\n");
        assert_eq!(keeping_part("# Results\n\nnew\n".to_owned(), &page), page.replace("kafka", "new"));
    }

    #[test]
    fn medians_and_ratios_are_of_the_right_rows() {
        let mut report = Report::default();
        for seconds in [0.5, 0.4, 9.0] {
            report.add(Workload::Produce, Kind::Copy, sample(seconds));
        }
        for seconds in [0.6, 0.4] {
            report.add(Workload::Produce, Kind::Evenkeel, sample(seconds));
        }
        report.add(Workload::Small, Kind::Evenkeel, sample(0.2));
        let table = report.table(&[Workload::Produce, Workload::Small]);
        assert!(
            table.contains("| CPU-s/GB | copy loop | 0.250 | 0.200 | 4.500 | 1.00 | 2.0 GB/s |"),
            "{table}"
        );
        assert!(table.contains("| CPU-s/GB | Evenkeel | 0.250 | 0.200 | 0.300 | 1.00 |"), "{table}");
        assert!(table.contains("| CPU µs/request | Evenkeel | 10.00 |"), "{table}");
        assert!(!table.contains("HAProxy"), "what was not measured is not in the table");
        assert!(report.verdicts(&[Workload::Produce]).contains("0 % less than the copy loop"));
    }
}
