//! Evenkeel starts before any broker does.

use testbed::stories::cold_start;
use testbed::{KafkaVersion, Spec};

use crate::binary;

#[test]
fn without_brokers_it_holds_and_is_not_ready() {
    // The hold is long for the sake of a busy machine, on which brokers take their time.
    let spec = Spec::new(KafkaVersion::V3_9_2).fast();
    let start = cold_start(spec, binary(), "[hold]\nmax = \"110s\"\n").unwrap();
    println!("{start:?}");
    assert!(start.breaches().is_empty(), "{:#?}", start.breaches());
}
