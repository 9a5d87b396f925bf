//! A full hold: it stops reading, stays within its budget, and drops nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testbed::pushers::Pushers;
use testbed::scene::unbalanced;
use testbed::{KafkaVersion, Result, Scene, Spec, judge_producers};

use super::garbage::resident_kib;
use super::{Bench, Finding, PATIENCE};

/// The whole hold.
const BUDGET_KIB: u64 = 64 << 10;
/// What is pushed: far more than the hold and the sockets take.
struct Case {
    pushers: u32,
    /// Of each.
    batches: i32,
    /// Bytes of a batch's record.
    size: usize,
    /// The cluster's configuration.
    keys: &'static str,
}

/// 400 MB of large batches; and small ones, of which each costs more in memory than in bytes. These go without an identity: with one no
/// more than five of a partition would be let in.
const CASES: [Case; 2] = [
    Case { pushers: 40, batches: 100, size: 100_000, keys: "" },
    Case { pushers: 8, batches: 25_000, size: 300, keys: "idempotence = \"off\"" },
];
const TOPIC: &str = "pushed";
const PARTITIONS: u32 = 12;

impl Case {
    /// What may come on top of the budget: an allocator's slack (an eighth), one request of each client, which is always let in,
    /// the bytes of frames that are being read, and what the process needs besides.
    fn slack_kib(&self) -> u64 {
        BUDGET_KIB / 8 + u64::from(self.pushers) * 2 * (self.size as u64 >> 10) + (8 << 10)
    }
}

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut finding = Finding::default();
    for case in &CASES {
        let one = pushed(bench, case)?;
        finding.figures.push_str(&one.figures);
        finding.figures.push('\n');
        finding.breaches.extend(one.breaches);
    }
    Ok(finding)
}

fn pushed(bench: &Bench, case: &Case) -> Result<Finding> {
    // The brokers' own start is part of the outage: more time to hold than any machine needs for it.
    let config = "[hold]\nmax = \"150s\"\nbytes = \"64MiB\"\n";
    let spec = Spec::new(KafkaVersion::V3_9_2).set("log.retention.bytes", -1);
    let mut scene = Scene::with(spec, &bench.binary, config, case.keys)?;
    scene.cluster.create_topic(TOPIC, PARTITIONS, 3, &[])?;
    let go = Arc::new(AtomicBool::new(false));
    let pushers =
        Pushers::start(scene.front.listen, TOPIC, PARTITIONS, case.pushers, (case.batches, case.size), &go)?;
    let before = resident_kib(&scene.sidecar)?;
    bench.say("all brokers are killed, then the clients push");
    for id in scene.cluster.ids() {
        scene.cluster.kill(id)?;
    }
    go.store(true, Ordering::Release);
    let stuck = pushers.wait_stuck(Duration::from_secs(4), PATIENCE)?;
    let full = resident_kib(&scene.sidecar)?;
    let held = scene.sidecar.metric_sum("evenkeel_hold_bytes", &[])?;
    bench.say(&format!("{} MB are written, {full} KiB are resident; the brokers start", stuck / 1_000_000));

    // From here on the largest value counts, until all is through.
    let (over, peak) = (AtomicBool::new(false), std::sync::Mutex::new(full));
    let histories = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                let now = resident_kib(&scene.sidecar).unwrap_or(0);
                let mut peak = peak.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                *peak = (*peak).max(now);
                drop(peak);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let done = start_all(&mut scene.cluster).and_then(|()| pushers.finish());
        over.store(true, Ordering::Release);
        done
    })?;
    let peak = peak.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let log = scene.cluster.admin().read_topic(TOPIC)?;
    let verdict = judge_producers(&histories, &log);

    let mut breaches = unbalanced(&scene.sidecar, &scene.cluster.ids())?;
    let all = usize::try_from(case.batches).unwrap_or(0) * usize::try_from(case.pushers).unwrap_or(0);
    if !verdict.is_exact() || verdict.acked != all {
        breaches.push(format!(
            "of {all} batches {} were acknowledged, {} failed {:?}; {} lost, {} repeated, {} out of order, {} foreign",
            verdict.acked,
            verdict.errors,
            verdict.by_class,
            verdict.lost.len(),
            verdict.repeated.len(),
            verdict.reordered.len(),
            verdict.foreign
        ));
    }
    if stuck >= all * case.size {
        breaches.push("everything was taken: nothing was held back".to_owned());
    }
    let slack = case.slack_kib();
    let allowed = before + BUDGET_KIB + slack;
    if peak > allowed {
        breaches.push(format!("{peak} KiB were resident, more than {allowed}"));
    }
    let figures = format!(
        "`hold.bytes` 64 MiB. All three brokers (Kafka 3.9.2) were killed; {} clients then pushed {} MB in batches of {} bytes, with \
         no bound of their own on what is in flight. Their connections took {} MB and then nothing for 4 s (the kernel's socket buffers are in \
         that figure); {held} bytes were held. Resident: {before} KiB before, {full} KiB when full, {peak} KiB at most until all \
         was written (allowed: {allowed}, which is the first figure, the budget and {slack} KiB). When the brokers were back: {} batches acknowledged, {} errors, {} lost, \
         {} repeated, {} out of order; the slowest took {:.1} s.\n",
        case.pushers,
        all * case.size / 1_000_000,
        case.size,
        stuck / 1_000_000,
        verdict.acked,
        verdict.errors,
        verdict.lost.len(),
        verdict.repeated.len(),
        verdict.reordered.len(),
        f64::from(i32::try_from(verdict.max_latency_us / 1000).unwrap_or(i32::MAX)) / 1000.0,
    );
    Ok(Finding { figures, breaches })
}

fn start_all(cluster: &mut testbed::Cluster) -> Result<()> {
    for id in cluster.ids() {
        cluster.start_node(id)?;
    }
    cluster.wait_ready().map(drop)
}
