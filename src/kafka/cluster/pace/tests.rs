//! The pace of one sidecar, and what ten thousand of them come to that lose the same broker.

use super::*;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::BinaryHeap;

const FIRST: Duration = Duration::from_millis(20);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The times of all looks until `end`, with answers that take `answer`.
fn looks(answer: Duration, end: Duration, seed: u64) -> Vec<Duration> {
    let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed));
    let (mut pace, mut at, mut all) = (Pace::new(start), Duration::ZERO, Vec::new());
    loop {
        at += pace.next(FIRST, start + at, &mut rng);
        if at > end {
            return all;
        }
        all.push(at);
        at += answer;
        pace.answered(answer);
    }
}

#[test]
fn looks_are_quick_for_an_election_and_slow_for_an_outage() {
    for seed in 0..20 {
        let all = looks(ms(1), Duration::from_secs(120), seed);
        let within = |from: u64, to: u64| all.iter().filter(|at| **at >= ms(from) && **at < ms(to)).count();
        assert!(within(0, 100) >= 3, "{all:?}");
        assert!((7..=13).contains(&within(0, 1000)), "{}", within(0, 1000));
        assert!((35..=50).contains(&within(1000, 10_000)), "{}", within(1000, 10_000));
        assert!((40..=75).contains(&within(60_000, 120_000)), "{}", within(60_000, 120_000));
    }
}

#[test]
fn a_broker_that_is_slow_to_answer_is_asked_less() {
    let all = looks(ms(50), Duration::from_secs(10), 1);
    let share = 50.0 * f64::from(u32::try_from(all.len()).unwrap()) / 10_000.0;
    assert!(share < 0.12, "{share}");
    // But never so rarely that a broker that has recovered goes unseen.
    assert!(looks(Duration::from_secs(2), Duration::from_secs(60), 1).len() >= 15);
}

#[test]
fn news_makes_the_next_looks_quick_within_the_budget() {
    let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(3));
    let (mut pace, mut at) = (Pace::new(start), Duration::ZERO);
    while at < Duration::from_secs(60) {
        at += pace.next(FIRST, start + at, &mut rng);
    }
    assert!(pace.news(start + at));
    let quick = pace.next(FIRST, start + at, &mut rng);
    assert!(quick <= FIRST, "{quick:?}");
    assert!(!pace.news(start + at + quick), "looks are quick yet");
    // News all the time.
    let (begun, mut count) = (at, 0);
    while at.saturating_sub(begun) < Duration::from_secs(10) {
        pace.news(start + at);
        at += pace.next(FIRST, start + at, &mut rng);
        count += 1;
    }
    assert!((100..=222).contains(&count), "{count} looks in 10 s of news");
}

#[test]
fn a_long_leader_poll_is_kept() {
    let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(3));
    let mut pace = Pace::new(start);
    pace.next(Duration::from_secs(5), start, &mut rng);
    for _ in 0..5 {
        assert!(pace.next(Duration::from_secs(5), start, &mut rng) >= Duration::from_millis(2500));
    }
}

/// A broker that works at one look at a time.
struct Broker {
    free_at: Duration,
    service: Duration,
}

/// What a fleet does to the brokers that are left, and how soon it knows the new leaders.
struct Fleet {
    /// Looks at each broker, by second.
    rate: Vec<u64>,
    /// The most looks that waited at one broker, by second.
    queue: Vec<u64>,
    /// From the election to knowledge, sorted.
    delays: Vec<Duration>,
}

/// `sidecars` lose one broker at the same moment; `left` others are there, which need `service` for a look. Leaders are
/// elected after `election`.
fn fleet(sidecars: usize, left: usize, service: Duration, election: Duration) -> Fleet {
    const TRAVEL: Duration = Duration::from_micros(500);
    let start = Instant::now();
    let mut rng = StdRng::seed_from_u64(10_000);
    let mut brokers: Vec<Broker> = (0..left).map(|_| Broker { free_at: Duration::ZERO, service }).collect();
    let mut paces: Vec<Pace> = (0..sidecars).map(|_| Pace::new(start)).collect();
    // What happens next: a look arrives at its broker. Each sidecar stays with one broker, as its connection does.
    let mut next: BinaryHeap<std::cmp::Reverse<(Duration, usize)>> = BinaryHeap::new();
    for (sidecar, pace) in paces.iter_mut().enumerate() {
        let at = pace.next(FIRST, start, &mut rng);
        next.push(std::cmp::Reverse((at + TRAVEL, sidecar)));
    }
    let mut fleet = Fleet { rate: Vec::new(), queue: Vec::new(), delays: Vec::new() };
    while let Some(std::cmp::Reverse((arrives, sidecar))) = next.pop() {
        let broker = &mut brokers[sidecar % left];
        let second = usize::try_from(arrives.as_secs()).unwrap();
        fleet.rate.resize(fleet.rate.len().max(second + 1), 0);
        fleet.queue.resize(fleet.queue.len().max(second + 1), 0);
        let ahead = broker.free_at.saturating_sub(arrives);
        let waiting = u64::try_from(ahead.as_nanos() / broker.service.as_nanos()).unwrap();
        fleet.queue[second] = fleet.queue[second].max(waiting);
        if sidecar % left == 0 {
            fleet.rate[second] += 1;
        }
        let served = arrives + ahead + broker.service;
        broker.free_at = served;
        let back = served + TRAVEL;
        if served >= election {
            fleet.delays.push(back.saturating_sub(election));
            continue;
        }
        let pace = &mut paces[sidecar];
        pace.answered(back.saturating_sub(arrives.saturating_sub(TRAVEL)));
        let at = back + pace.next(FIRST, start + back, &mut rng);
        next.push(std::cmp::Reverse((at + TRAVEL, sidecar)));
    }
    fleet.delays.sort();
    fleet
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// The table of ARCHITECTURE.md: `cargo test --lib ten_thousand -- --nocapture` prints it.
#[test]
fn ten_thousand_sidecars_that_lose_a_broker_are_no_storm() {
    const SIDECARS: usize = 10_000;
    println!(
        "| brokers left | a look takes them | leaders after | looks at each: 1st second | a second later on | waiting at one: at first | later on | known after, median | 99 % |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let row = |left: usize, service: u64, election: Duration| {
        let it = fleet(SIDECARS, left, Duration::from_micros(service), election);
        let last = usize::try_from(election.as_secs()).unwrap().saturating_sub(1);
        let (later, queue) = (it.rate.get(last).copied(), it.queue.iter().skip(1).max().copied());
        let (median, most) = (percentile(&it.delays, 50), percentile(&it.delays, 99));
        println!(
            "| {left} | {service} µs | {election:?} | {} | {} | {} | {} | {} ms | {} ms |",
            it.rate[0],
            later.unwrap_or(0),
            it.queue[0],
            queue.unwrap_or(0),
            median.as_millis(),
            most.as_millis()
        );
        let each = u64::try_from(SIDECARS / left).unwrap();
        assert!(it.rate[0] <= each * 13, "the first second");
        assert!(later.is_none_or(|rate| rate <= each * 11 / 2), "five looks a second and sidecar");
        assert!(queue.is_none_or(|queue| queue <= each / 8), "most of them pause");
        (it.rate, median, most)
    };
    // Kafka's own session time-out, after which it notices a kill.
    let (_, median, most) = row(2, 50, Duration::from_secs(9));
    assert!(median <= ms(150) && most <= ms(600), "{median:?} {most:?}");
    let (_, median, most) = row(29, 50, Duration::from_secs(9));
    assert!(median <= ms(120) && most <= ms(300), "{median:?} {most:?}");
    // An outage that lasts.
    let (rate, ..) = row(2, 20, Duration::from_secs(60));
    assert!(rate[59] <= 7_000, "{}", rate[59]);
    // An ordinary election.
    let (_, median, _) = row(29, 50, ms(150));
    assert!(median <= ms(40), "{median:?}");
}
