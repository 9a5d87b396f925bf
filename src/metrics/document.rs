//! `docs/metrics.md`, written from the table.

use std::fmt::Write;

use super::catalogue::Extra::{Closed, Seen};
use super::catalogue::Kind::Histogram;
use super::catalogue::{PARTS, PREFIX, Part, Spec, all};
use super::protocol::Protocol;

const HEAD: &str = "# Metrics

Generated from the table in `src/metrics`; `BLESS=1 cargo test metrics_catalogue` writes it anew.

- Units are seconds and bytes. Counters end in `_total`.
- Series with a closed set of values are there at zero from the start; those of a member from when it becomes known until \
it is forgotten.
- `cluster` is the name in the configuration, `protocol` is `kafka` or `zookeeper`, `member` is the node id of a broker or \
the address of a server. No client can add values to a label without bound.
";

/// `docs/metrics.md`.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    for (part, specs) in PARTS {
        let heading = match part {
            Part::Common => "Every cluster, and the process",
            Part::Process => "The process and its limits",
            Part::Of(Protocol::Kafka) => "Kafka only",
            Part::Of(Protocol::ZooKeeper) => "ZooKeeper only",
            Part::Fleet => "`evenkeel upgrade --serve` only",
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "\n## {heading}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n");
        for spec in specs {
            let labels = spec.labels().iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
            let (name, kind) = (spec.name, spec.kind.word());
            let _ = writeln!(out, "| `{PREFIX}{name}` | {kind} | {labels} | {} |", spec.help);
        }
    }
    out.push_str("\n## Values of labels\n\n| label | of | where | values |\n|---|---|---|---|\n");
    for (part, specs) in PARTS {
        let only = if let Part::Of(protocol) = part { Some(protocol) } else { None };
        for spec in specs {
            values(&mut out, spec, only);
        }
    }
    out.push_str("\n## Upper bounds of histograms\n\n| name | seconds |\n|---|---|\n");
    for spec in all() {
        if let Histogram(bounds) = spec.kind {
            let bounds = bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "| `{}` | {bounds} |", spec.name);
        }
    }
    out
}

/// A line for each closed label; one for each protocol where they differ.
fn values(out: &mut String, spec: &Spec, only: Option<Protocol>) {
    let mut line = |label: &str, protocol: Option<Protocol>, values: &[&str]| {
        let values = values.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(" ");
        let place = protocol.map_or("", Protocol::as_str);
        let _ = writeln!(out, "| `{label}` | `{}` | {place} | {values} |", spec.name);
    };
    match spec.extra {
        Closed(labels) => {
            for (label, values) in labels {
                let each = Protocol::ALL.map(values);
                match (only, &each) {
                    (Some(only), _) => line(label, Some(only), &values(only)),
                    (None, [one, other]) if one == other => line(label, None, one),
                    (None, _) => {
                        for (protocol, values) in Protocol::ALL.into_iter().zip(&each) {
                            line(label, Some(protocol), values);
                        }
                    }
                }
            }
        }
        Seen(["library", ..]) => {
            for protocol in Protocol::ALL {
                line("library", Some(protocol), protocol.libraries());
            }
        }
        _ => {}
    }
}
