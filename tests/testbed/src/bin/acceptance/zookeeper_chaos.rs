//! Chaos of six seeds on ensembles of `ZooKeeper`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use testbed::ZooKeeperVersion;
use testbed::chaos::Events;
use testbed::zookeeper::chaos::{Order, Size, prove};

use super::{Bench, Finding};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;
const LASTS: Duration = Duration::from_secs(180);

pub(super) fn run(bench: &Bench) -> Finding {
    let mut finding = Finding::default();
    let mut diverged = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    finding.figures.push_str(
        "| seed | version | events | left out | requests | done | refused | unknown (of them done) | cut off | connections ended | \
         sessions expired | watch events | transactions | longest stall |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for seed in SEEDS {
        let version =
            if seed.is_multiple_of(2) { ZooKeeperVersion::V3_8_6 } else { ZooKeeperVersion::V3_9_5 };
        let order = Order {
            seed,
            lasts: LASTS,
            version,
            events: Events::All,
            size: Size::Full,
            binary: bench.binary.clone(),
            log: "info".to_owned(),
        };
        // Of a seed that can't be carried through the others still have their say.
        let outcome = match prove(&order, false, &|text| bench.say(text)) {
            Ok(outcome) => outcome,
            Err(error) => {
                finding.breaches.push(format!("seed {seed} could not be carried through: {error}"));
                continue;
            }
        };
        let (run, verdict) = (&outcome.run, &outcome.verdict);
        for event in run.events.iter().filter(|event| event.skipped.is_none()) {
            // What was done, without to whom.
            let what = event.what.split(['(']).next().unwrap_or_default();
            let what = what.split(" of the ").next().unwrap_or_default();
            let what = what.split(|sign: char| sign.is_ascii_digit()).next().unwrap_or_default();
            *kinds.entry(what.trim_end_matches([' ', ',']).to_owned()).or_default() += 1;
        }
        let left_out = run.events.iter().filter(|event| event.skipped.is_some()).count();
        let _ = writeln!(
            finding.figures,
            "| {seed} | {version} | {} | {left_out} | {} | {} | {} | {} ({}) | {} | {} | {} | {} | {} | {} |",
            run.events.len() - left_out,
            verdict.asked,
            verdict.done,
            verdict.refused,
            verdict.unknown,
            verdict.unknown_done,
            verdict.cut,
            verdict.lost,
            verdict.expired,
            verdict.events,
            run.truth.log.len(),
            seconds(verdict.stall_us),
        );
        diverged.extend(run.truth.diverged.iter().map(|server| format!("seed {seed}: {server}")));
        finding.breaches.extend(verdict.breaches.iter().map(|breach| format!("seed {seed}: {breach}")));
        if !verdict.breaches.is_empty() {
            finding.breaches.push(format!("seed {seed} is replayed by `{}`", order.replay()));
        }
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    let _ = writeln!(
        finding.figures,
        "\nEach seed: events for 3 minutes, three servers (a tick of 500 ms, `syncLimit` 4), 16 sessions of 10 s without retries and with \
         up to three requests under way: getData with watches, setData with and without a version, multi (a check and a set; two sets), create, \
         delete, sequential and ephemeral create, on six nodes. Judged: an order of all writes of each node that fits times and outcomes; \
         each verdict and each read against the servers' own transaction logs; sequential numbers; sessions that go back; watches; \
         ephemeral nodes; Evenkeel's counters. Refused: BadVersion, NodeExists, NoNode, each true. A connection is ended only when \
         no server has answered for two thirds of the time-out. Done: {}.",
        kinds.join(", ")
    );
    if !diverged.is_empty() {
        let _ = writeln!(
            finding.figures,
            "\nServers that lost at the end what their peers and their own transaction logs have (ZooKeeper's own, as ZOOKEEPER-4712): {}.",
            diverged.join("; ")
        );
    }
    finding
}

fn seconds(micros: i64) -> String {
    format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
}
