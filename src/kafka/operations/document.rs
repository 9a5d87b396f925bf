//! `docs/kafka-operations.md`, written from the table.

use super::{Absorb, OPERATIONS, Operation, Route, Unknown};
use crate::kafka::wire::{self, errors};
use std::fmt::Write;

const HEAD: &str = "\
# Kafka operations

Generated from the table in `src/kafka/operations/table.rs`; `BLESS=1 cargo test kafka_operations` writes it anew.

One row for every API that brokers of Kafka 2.8 to 4.3 offer: what Evenkeel does with it when the broker that the client
chose can't serve it, refuses it, or is lost with it. On a good day every request goes to that broker as the bytes it
came in. `tests/proxy/operations.rs` holds every row against what the proxy does.

**Goes to**, when the client's own choice can't take it:

- *any*: every broker can answer it.
- *leaders*: to the leaders of its partitions, in parts if there are several.
- *group (field)*, *transaction (field)*: to the coordinator of the group or transactional id in that field; *transaction*
  without an id: any broker.
- *controller*: in ZooKeeper mode to the controller; in KRaft any broker forwards it.
- *that node*: no other will do; it waits for it. On the bootstrap listener, any broker: the one that the connection has come to,
  and another when that is down.
- *nobody*: answered by Evenkeel itself.

**Spared errors** are kept from the client for as long as its request may be held (`hold.max` and the client's patience).
*Elsewhere*: it goes to where it belongs by then. *Later*: to the same place in a moment. *If the topic is known*: from a
broker that has just come back, for 5 s. *If sequenced*: only for batches with a producer id and sequence, whose repeat
brokers recognise. *If injected*: the sequence was Evenkeel's own, and is given anew. *After a replay*: not otherwise. Every
other error is passed on.

**Unknown** is the verdict on a request that was written whole and never answered:

- *replay*: sent again, since a repeat is harmless.
- *replay in order*: sent again, but not behind a later one of the same group.
- *replay, then n is success*: after Evenkeel's own replay, and only then.
- *replay if sequenced*: else REQUEST_TIMED_OUT, \"it may have been applied\".
- *error n*: the error with which the client's own protocol finds out.
- *disconnect*: nothing true can be said; the client's connection is closed, as its broker's was.

**Addresses**: where the answer names nodes; they are shown at their loopback ports.

";

/// The whole file.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    out.push_str("## For clients\n\n");
    out.push_str("| key | API | goes to | spared errors | unknown | addresses | why |\n|---:|---|---|---|---|---|---|\n");
    for row in OPERATIONS.iter().filter(|row| row.route != Route::Internal) {
        let addresses: Vec<String> = row
            .addresses
            .iter()
            .map(|at| if *at == "." { "itself".to_owned() } else { format!("`{at}`") })
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.key,
            wire::api_name(row.key),
            route(row.route),
            spared(row),
            unknown(row.unknown),
            addresses.join(", "),
            row.note
        );
    }
    out.push_str(
        "\n## Between brokers\n\nLeft out of ApiVersions; a client that sends one is disconnected.\n\n\
         | key | API | who |\n|---:|---|---|\n",
    );
    for row in OPERATIONS.iter().filter(|row| row.route == Route::Internal) {
        let _ = writeln!(out, "| {} | {} | {} |", row.key, wire::api_name(row.key), row.note);
    }
    out.push_str("\n## Errors named above\n\n| code | name |\n|---:|---|\n");
    for code in named() {
        let _ = writeln!(out, "| {code} | {} |", errors::name(code));
    }
    out
}

fn route(route: Route) -> String {
    match route {
        Route::Local => "nobody".to_owned(),
        Route::Any => "any".to_owned(),
        Route::Leader => "leaders".to_owned(),
        Route::Group(field) => format!("group (`{field}`)"),
        Route::Transaction(field) => format!("transaction (`{field}`)"),
        Route::Controller => "controller".to_owned(),
        Route::Node => "that node".to_owned(),
        Route::Internal => "not offered".to_owned(),
    }
}

fn spared(row: &Operation) -> String {
    let kinds = [
        (Absorb::Elsewhere, "elsewhere"),
        (Absorb::Later, "later"),
        (Absorb::TopicKnown, "if the topic is known"),
        (Absorb::Sequenced, "if sequenced"),
        (Absorb::Injected, "if injected"),
        (Absorb::AfterReplay, "after a replay"),
    ];
    let of = |(kind, word): (Absorb, &str)| {
        let codes = row.absorbs.iter().filter(|(_, how)| *how == kind).map(|(code, _)| code.to_string());
        let codes = codes.collect::<Vec<_>>().join(" ");
        (!codes.is_empty()).then(|| format!("{word}: {codes}"))
    };
    kinds.into_iter().filter_map(of).collect::<Vec<_>>().join("; ")
}

fn unknown(unknown: Unknown) -> String {
    match unknown {
        Unknown::Replay => "replay".to_owned(),
        Unknown::InOrder => "replay in order".to_owned(),
        Unknown::Sequenced => "replay if sequenced".to_owned(),
        Unknown::ReplayThen(codes) => {
            let codes = codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            format!("replay, then {codes} is success")
        }
        Unknown::Settle(code) => format!("error {code}"),
        Unknown::Disconnect => "disconnect".to_owned(),
    }
}

/// Every code that the table's columns name.
fn named() -> std::collections::BTreeSet<i16> {
    let mut codes = std::collections::BTreeSet::new();
    for row in OPERATIONS {
        codes.extend(row.absorbs.iter().map(|(code, _)| *code));
        match row.unknown {
            Unknown::ReplayThen(done) => codes.extend(done),
            Unknown::Settle(code) => drop(codes.insert(code)),
            Unknown::Replay | Unknown::InOrder | Unknown::Sequenced | Unknown::Disconnect => {}
        }
    }
    codes
}
