//! A short run of chaos: some events of a seed, all promises judged.

use std::time::{Duration, Instant};

use testbed::ZooKeeperVersion;
use testbed::chaos::Events;
use testbed::zookeeper::chaos::{Order, Size, prove, table};

#[test]
fn short_chaos() {
    let order = Order {
        // Its first events: a follower cut off from its leader, an outage of all servers, SIGKILL of the leader.
        seed: 1,
        lasts: Duration::from_secs(8),
        version: ZooKeeperVersion::V3_9_5,
        events: Events::All,
        size: Size::Short,
        binary: crate::binary().to_owned(),
        log: "info".to_owned(),
    };
    let start = Instant::now();
    let say = |text: &str| println!("[{:6.1} s] {text}", start.elapsed().as_secs_f64());
    let outcome = prove(&order, false, &say).unwrap();
    let (run, verdict) = (&outcome.run, &outcome.verdict);
    println!("{}", table(run, verdict));
    assert!(verdict.breaches.is_empty(), "{:#?}\nreplay: {}", verdict.breaches, order.replay());
    assert!(verdict.done > 100 && verdict.events > 10, "{}", table(run, verdict));
    assert!(run.events.iter().filter(|event| event.skipped.is_none()).count() >= 1, "{:?}", run.events);
}
