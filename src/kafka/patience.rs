//! How long a client's library waits, and so how long its requests may be held.
//!
//! Known libraries are told by their own name (KIP-511: `ApiVersions` v3+ carries it) or by their default client id, which
//! kafka-go's `Writer` alone leaves empty.

use crate::config::HOLD_MAX;
use crate::metrics::Library;
use std::time::Duration;

/// The library behind a KIP-511 software name or a client id.
pub fn library(software_name: &str, client_id: &str) -> Library {
    match software_name {
        "apache-kafka-java" => return Library::Java,
        "librdkafka" => return Library::Librdkafka,
        "sarama" => return Library::Sarama,
        "kafkajs" => return Library::Kafkajs,
        "kgo" => return Library::FranzGo,
        "kafka-python" => return Library::KafkaPython,
        "aiokafka" => return Library::Aiokafka,
        name if name.starts_with("confluent-kafka") || name.starts_with("librdkafka") => {
            return Library::Librdkafka;
        }
        _ => {}
    }
    let starts = |prefix: &str| client_id.starts_with(prefix);
    if starts("kafka-python") {
        Library::KafkaPython
    } else if starts("aiokafka") {
        Library::Aiokafka
    } else if client_id == "rdkafka" {
        Library::Librdkafka
    } else if client_id == "sarama" {
        Library::Sarama
    } else if client_id == "kafkajs" {
        Library::Kafkajs
    } else if client_id == "kgo" {
        Library::FranzGo
    } else if client_id.contains("kafka-go") || client_id.is_empty() {
        Library::KafkaGo
    } else {
        Library::Other
    }
}

/// How long a library waits for an answer by default before it gives the request or the socket up. Sources: their
/// documented defaults (`request.timeout.ms`, `socket.timeout.ms`, Sarama's `Net.ReadTimeout`, kafka-go's
/// `Transport`/`Writer` time-outs).
fn waits(library: Library) -> Option<Duration> {
    let seconds = match library {
        Library::Java | Library::KafkaPython | Library::Kafkajs | Library::Sarama => 30,
        Library::Librdkafka => 60,
        Library::Aiokafka => 40,
        // `RequestTimeoutOverhead`; what a request carries comes on top (`connTimeouter`).
        Library::FranzGo => 10,
        // Of a group's requests (`ConsumerGroupConfig.Timeout`); what its `Writer` sends carries a deadline.
        Library::KafkaGo => 5,
        Library::Other => return None,
    };
    Some(Duration::from_secs(seconds))
}

/// What a client can be expected to wait: 0.8 of what its library waits; of an unknown library 0.6 of the deadline that the request
/// carries, if it carries one.
fn patience(library: Library, deadline: Option<Duration>) -> Option<Duration> {
    match (waits(library), deadline) {
        // It writes half of what it waits into its requests (`Client.timeout`).
        (_, Some(deadline)) if library == Library::KafkaGo => Some(deadline.saturating_mul(2).mul_f64(0.8)),
        (Some(waits), Some(deadline)) if library == Library::FranzGo => Some((waits + deadline).mul_f64(0.8)),
        (Some(waits), _) => Some(waits.mul_f64(0.8)),
        (None, Some(deadline)) => Some(deadline.mul_f64(0.6)),
        (None, None) => None,
    }
}

/// The deadline that a field of a request says, in milliseconds; one that isn't positive says none.
pub fn millis(field: i32) -> Option<Duration> {
    u64::try_from(field).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

/// How long a request may be held: as long as its client can be expected to wait, and at most `max`.
pub fn hold_bound(library: Library, deadline: Option<Duration>, max: Duration) -> Duration {
    patience(library, deadline).unwrap_or(max).min(max)
}

/// How long a Produce may stand in line behind earlier ones of its partitions while these get on: as long as its client can be expected
/// to wait. A `max` below its default says that clients wait less than their libraries do by default; nothing is held for longer then.
pub fn line_bound(library: Library, deadline: Option<Duration>, max: Duration) -> Duration {
    let held = hold_bound(library, deadline, max);
    if max < HOLD_MAX {
        held
    } else {
        patience(library, deadline).map_or(held, |patience| patience.max(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_software_name_or_client_id() {
        assert_eq!(library("apache-kafka-java", "anything"), Library::Java);
        assert_eq!(library("confluent-kafka-python", ""), Library::Librdkafka);
        assert_eq!(library("", "kafka-python-2.0.2"), Library::KafkaPython);
        assert_eq!(library("", "rdkafka"), Library::Librdkafka);
        assert_eq!(library("", "billing"), Library::Other);
        assert_eq!(library("", "kafka-go@host (github.com/segmentio/kafka-go)"), Library::KafkaGo);
        assert_eq!(library("", ""), Library::KafkaGo);
        assert_eq!(library("apache-kafka-java", ""), Library::Java);
    }

    #[test]
    fn the_bound_is_a_part_of_the_clients_patience_and_never_above_the_maximum() {
        let (max, secs) = (Duration::from_secs(20), Duration::from_secs);
        assert_eq!(hold_bound(Library::Java, None, max), secs(20));
        assert_eq!(hold_bound(Library::Librdkafka, None, max), secs(20));
        assert_eq!(hold_bound(Library::KafkaGo, None, max), secs(4));
        assert_eq!(hold_bound(Library::KafkaGo, Some(secs(5)), max), secs(8), "its default: it waits 10 s");
        assert_eq!(hold_bound(Library::KafkaGo, Some(secs(30)), max), secs(20));
        assert_eq!(hold_bound(Library::FranzGo, None, max), secs(8));
        assert_eq!(hold_bound(Library::FranzGo, Some(secs(10)), max), secs(16), "its default for Produce");
        assert_eq!(hold_bound(Library::Other, Some(secs(10)), max), secs(6));
        assert_eq!(hold_bound(Library::Other, None, max), secs(20));
        assert_eq!(hold_bound(Library::Java, None, secs(5)), secs(5));
    }

    #[test]
    fn in_a_line_that_moves_a_client_is_taken_at_its_whole_patience() {
        let (max, secs) = (HOLD_MAX, Duration::from_secs);
        assert_eq!(line_bound(Library::Librdkafka, None, max), secs(48));
        assert_eq!(line_bound(Library::Librdkafka, None, secs(60)), secs(48));
        assert_eq!(line_bound(Library::Librdkafka, None, secs(19)), secs(19), "its users wait less");
        assert_eq!(line_bound(Library::Java, None, max), secs(24));
        assert_eq!(line_bound(Library::KafkaGo, Some(secs(5)), max), secs(8));
        assert_eq!(line_bound(Library::Other, Some(secs(10)), max), secs(6));
        assert_eq!(line_bound(Library::Other, None, max), max);
        assert_eq!(line_bound(Library::Other, None, Duration::ZERO), Duration::ZERO);
    }
}
