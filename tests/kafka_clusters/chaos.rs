//! A short run of chaos: some soft and some hard events, in the order of a seed.

use std::time::{Duration, Instant};

use testbed::KafkaVersion;
use testbed::chaos::{Events, Order, Size, prove, table};

use crate::binary;

#[test]
fn short_chaos() {
    let order = Order {
        // Its first events: SIGKILL of the controller, resets, SIGTERM of the controller, SIGTERM with a dead name server.
        seed: 1,
        lasts: Duration::from_secs(30),
        version: KafkaVersion::V3_9_2,
        events: Events::All,
        size: Size::Short,
        binary: binary().to_owned(),
        log: "info".to_owned(),
    };
    let start = Instant::now();
    let say = |text: &str| println!("[{:6.1} s] {text}", start.elapsed().as_secs_f64());
    let outcome = prove(&order, false, &say).unwrap();
    let (run, verdict) = (&outcome.run, &outcome.verdict);
    println!("{}", table(run, verdict));
    assert!(verdict.breaches.is_empty(), "{:#?}\nreplay: {}", verdict.breaches, order.replay());
    assert!(run.events.iter().filter(|event| event.skipped.is_none()).count() >= 2, "{:?}", run.events);
}
