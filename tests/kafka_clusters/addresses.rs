//! Brokers come back at other addresses under the same names, and another broker at an address that was one's own.

use testbed::stories::moves;
use testbed::{KafkaVersion, Load, Spec};

use crate::{assert_errors_agree, assert_planned, binary};

#[test]
fn brokers_move_and_an_old_address_becomes_another_brokers() {
    let producer = Load::java("plain").set("batch.size", "0");
    let moved = moves(Spec::new(KafkaVersion::V3_9_2).fast(), binary(), &[producer]).unwrap();
    println!(
        "at node 1's former address, where node 2 answered: {:?}; wrong_node {}, DNS changes {}",
        moved.at_former_address, moved.wrong_node, moved.dns_changes
    );
    assert!(moved.breaches().is_empty(), "{:#?}", moved.breaches());
    assert_planned(&moved.report, &moved.sidecar);
    assert_errors_agree(&moved.report, &moved.sidecar);
}
