//! Brokers at other addresses.

use testbed::scene::unbalanced;
use testbed::stories::moves;
use testbed::{KafkaVersion, Result, Spec};

use super::{Bench, Finding, rolls};

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let moved = moves(Spec::new(KafkaVersion::V3_9_2), &bench.binary, &rolls::producers(bench))?;
    let mut breaches = moved.report.breaches_of_planned();
    breaches.extend(moved.breaches());
    breaches.extend(unbalanced(&moved.sidecar, &moved.cluster.ids())?);
    let requests: Vec<String> = moved
        .at_former_address
        .requests
        .iter()
        .map(|(key, count)| format!("{count} with API key {key}"))
        .collect();
    let figures = format!(
        "{}\nKafka 3.9.2; names with a TTL of 1 s; brokers 3, 2 and 1 moved in this order. Evenkeel noticed {} changes of names. At \
         broker 1's former address broker 2 answered for a while: {} attempts to connect to broker 1 ended there, each noticed \
         and dropped ({} connections in all). Requests that reached it there: {}. These are the handshake with which \
         Evenkeel asks who answers (18 ApiVersions, 3 Metadata, 32 DescribeConfigs); no request of a client was among them.\n",
        rolls::table(&moved.report),
        moved.dns_changes,
        moved.wrong_node,
        moved.at_former_address.connections,
        requests.join(", "),
    );
    Ok(Finding { figures, breaches })
}
