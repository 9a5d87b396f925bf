//! The table of what encryption costs, and its page.

use super::Load;
use crate::contender::{Kind, haproxy_binary};
use crate::report::{Spread, says};
use std::fmt::Write as _;

/// All measurements of a run: whether clients encrypt, too; the load, the proxy, and its cost.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(bool, Load, Kind, f64)>);

impl Report {
    pub(super) fn add(&mut self, both: bool, load: Load, kind: Kind, cost: f64) {
        self.0.push((both, load, kind, cost));
    }

    fn spread(&self, both: bool, load: Load, kind: Kind) -> Option<Spread> {
        let of = self.0.iter().filter(|(b, l, k, _)| (*b, *l, *k) == (both, load, kind));
        Spread::of(of.map(|(.., cost)| *cost).collect())
    }

    /// As a Markdown table.
    pub(super) fn table(&self) -> String {
        let mut out = String::from(
            "| encrypted | load | unit | HAProxy: median | min | max | Evenkeel: median | min | max | Evenkeel to HAProxy |\n\
             |---|---|---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for both in [false, true] {
            for load in Load::ALL.into_iter().filter(|load| load.is_of(both)) {
                let Some(own) = self.spread(both, load, Kind::Evenkeel) else { continue };
                let places = if matches!(load, Load::Requests(_)) { 3 } else { 0 };
                let cells = |spread: Option<&Spread>| {
                    let figures =
                        spread.map(|s| [s.median, s.min, s.max].map(|figure| format!("{figure:.places$}")));
                    figures.unwrap_or_default().join(" | ")
                };
                let other = self.spread(both, load, Kind::Haproxy);
                let ratio = other
                    .as_ref()
                    .map_or_else(String::new, |other| format!("{:.2}", own.median / other.median));
                let _ = writeln!(
                    out,
                    "| {} | {} | {} | {} | {} | {ratio} |",
                    if both { "both sides" } else { "to the broker" },
                    load.title(),
                    load.unit(),
                    cells(other.as_ref()),
                    cells(Some(&own)),
                );
            }
        }
        out
    }
}

/// The page of results.
pub(super) fn document(table: &str, rounds: usize, quick: bool, one_core: bool, machine: &str) -> String {
    let haproxy = haproxy_binary().and_then(|binary| says(&binary, &["-v"]));
    format!(
        "# What encryption costs (`make bench ARGS=tls`)\n\nWritten by the run itself; [README.md](README.md) says how to read it.\n\n\
         {machine}- HAProxy: {}; TCP mode, `nbthread 1`, `tune.bufsize 65536`\n- {rounds} rounds{}; {}\n\n{table}",
        haproxy.unwrap_or_else(|| "not installed, left out".to_owned()),
        if quick { " of a tenth of the load (--quick)" } else { "" },
        if one_core { "load, proxy and broker share one core" } else { "the kernel chooses the cores" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_is_of_its_own_measurements() {
        let mut report = Report::default();
        let resumed = Load::Connections { full: false };
        for (both, kind, cost) in [
            (false, Kind::Haproxy, 100.0),
            (false, Kind::Evenkeel, 150.0),
            (false, Kind::Evenkeel, 250.0),
            (true, Kind::Evenkeel, 700.0),
        ] {
            report.add(both, resumed, kind, cost);
        }
        let table = report.table();
        let row = "| to the broker | connections, sessions resumed | CPU µs/connection | 100 | 100 | 100 | 200 | 150 | 250 | 2.00 |";
        assert!(table.contains(row), "{table}");
        let alone = "| both sides | connections, sessions resumed | CPU µs/connection |  |  |  | 700 | 700 | 700 |  |";
        assert!(table.contains(alone), "{table}");
    }
}
