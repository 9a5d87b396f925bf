//! Which batches are given a producer's identity, what of them changes, and where the identity comes from.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, Fake, gate};
use crate::make::*;
use bytes::Bytes;
use evenkeel::kafka::wire::{self, Struct, batch as wire_batch};
use std::time::{Duration, Instant};

/// Evenkeel with injection, and topic `t` with a partition for each of `leaders`.
pub async fn injecting(nodes: &[i32], leaders: &[i32], more: &str) -> Bed {
    let fake = Fake::start(nodes).await;
    fake.topic("t", leaders);
    let bed = Bed::over(fake, "", &format!("idempotence = \"inject\"\n{more}")).await;
    bed.ready().await;
    bed
}

/// Of the batch with this text in a frame: where it begins.
fn find(frame: &[u8], text: &str) -> usize {
    let at = frame.windows(text.len()).position(|window| window == text.as_bytes());
    at.expect("the text is in the frame") - 61
}

/// Producer id, epoch and base sequence of the batch with this text in a frame.
pub fn identity(frame: &[u8], text: &str) -> (i64, i16, i32) {
    let header = wire_batch::headers(&frame[find(frame, text)..]).next().unwrap();
    (header.producer_id, header.producer_epoch, header.base_sequence)
}

/// The checksum that is written less the one that would be right.
fn wrong_by(frame: &[u8], text: &str) -> u32 {
    let at = find(frame, text);
    let header = wire_batch::headers(&frame[at..]).next().unwrap();
    header.crc ^ crc32c::crc32c(&frame[at + 21..at + header.size])
}

/// The frame with this batch's identity and checksum wiped out.
fn without_identity(frame: &[u8], text: &str) -> Vec<u8> {
    let (at, mut frame) = (find(frame, text), frame.to_vec());
    frame[at + 17..at + 21].fill(0);
    frame[at + 43..at + 57].fill(0);
    frame
}

fn bare(text: &str, records: i32) -> Bytes {
    batch_of(text, records, -1, -1, -1)
}

#[tokio::test]
async fn only_the_identity_and_the_checksum_change() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    let texts = [("three", 3), ("one", 1), ("seven", 7), ("last", 1)];
    let mut sent = Vec::new();
    for (text, records) in texts {
        sent.push(client.send(PRODUCE, 9, &produce(-1, &[(0, bare(text, records))])).await);
    }
    for first in [0, 3, 4, 11] {
        assert_eq!(produced(&client.receive().await), [(0, first)]);
    }
    let seen = bed.fake.seen(PRODUCE);
    let id = identity(&seen[0].frame, "three").0;
    assert!(id >= 1000, "one of those that were handed out");
    for (((text, _), base), (seen, sent)) in texts.into_iter().zip([0, 3, 4, 11]).zip(seen.iter().zip(&sent))
    {
        assert_eq!(identity(&seen.frame, text), (id, 0, base), "{text}");
        assert_eq!(wrong_by(&seen.frame, text), 0, "the checksum of {text} is right");
        assert_eq!(without_identity(&seen.frame, text), without_identity(sent, text));
    }
    assert_eq!(bed.metric("evenkeel_kafka_injected_batches_total").await, 4.0);
    bed.balanced().await;
}

/// Each connection is a producer of its own, and each partition has its own sequence.
#[tokio::test]
async fn connections_have_ids_and_partitions_have_sequences() {
    let bed = injecting(&[1], &[1, 1], "").await;
    let (mut one, mut two) = (bed.client_of(1).await, bed.client_of(1).await);
    for text in ["a", "b"] {
        let both = [(0, bare(&format!("{text}-of-0"), 2)), (1, bare(&format!("{text}-of-1"), 1))];
        assert_eq!(codes(&one.ask(PRODUCE, 9, &produce(-1, &both)).await), [0, 0]);
    }
    two.ask(PRODUCE, 9, &produce(-1, &[(0, bare("other", 1))])).await;
    let seen = bed.fake.seen(PRODUCE);
    let (id, ..) = identity(&seen[0].frame, "a-of-0");
    assert_eq!(identity(&seen[0].frame, "a-of-1"), (id, 0, 0));
    assert_eq!(identity(&seen[1].frame, "b-of-0"), (id, 0, 2));
    assert_eq!(identity(&seen[1].frame, "b-of-1"), (id, 0, 1));
    let (other, _, base) = identity(&seen[2].frame, "other");
    assert!(other != id && base == 0);
}

/// What a client leaves in a broker's socket may be appended late. Its next connection goes on under the next epoch, so that
/// the broker refuses that from then on.
#[tokio::test]
async fn a_client_that_comes_back_takes_its_identity_over_under_the_next_epoch() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    client.ask(PRODUCE, 9, &produce(-1, &[(0, bare("landed", 1))])).await;
    let gate = gate();
    bed.fake.script(1, PRODUCE, Act::Wait(gate.clone()));
    client.send(PRODUCE, 9, &produce(-1, &[(0, bare("stale", 1))])).await;
    eventually("the stale batch at its broker", || bed.fake.seen(PRODUCE).len() == 2).await;
    drop(client);
    let came = |text: &str| {
        let all = bed.fake.seen(PRODUCE);
        let of = all.iter().find(|seen| seen.frame.windows(text.len()).any(|w| w == text.as_bytes()));
        identity(&of.unwrap().frame, text)
    };
    for (n, text) in ["next", "another"].into_iter().enumerate() {
        let mut client = bed.client_of(1).await;
        client.ask(18, 3, &wire::request(18).unwrap().new()).await; // by then the end of the first is noticed
        client.ask(18, 3, &wire::request(18).unwrap().new()).await;
        client.ask(PRODUCE, 9, &produce(-1, &[(0, bare(text, 1))])).await;
        let ((id, ..), (its, epoch, base)) = (came("stale"), came(text));
        // The one after that has its own: nothing is left.
        assert_eq!((its == id, epoch, base), (n == 0, i16::from(n == 0), 0), "{text}");
    }
    gate.add_permits(1);
}

/// A client names a topic by its id as soon as it knows that, and by its name until then (Java, v12 and v13 on one
/// connection): the broker has one partition, whatever it is called.
#[tokio::test]
async fn a_topic_that_is_named_otherwise_does_not_repeat_its_sequences() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    for (n, version) in [12, 13, 12, 13].into_iter().enumerate() {
        let answer = client.ask(PRODUCE, version, &produce_text(&format!("number {n}"))).await;
        assert_eq!(produced(&answer), [(0, n as i64)]);
    }
    assert_eq!(bed.fake.texts("t", 0), ["number 0", "number 1", "number 2", "number 3"]);
}

fn of_format(magic: u8) -> Bytes {
    let mut bytes = vec![0; 8];
    bytes.extend(40i32.to_be_bytes());
    bytes.extend([9, 9, 9, 9, magic, 0]);
    bytes.resize(52, 1);
    bytes.into()
}

fn with_attributes(attributes: u8, id: i64) -> Bytes {
    let mut bytes = batch_of("attributes", 1, id, if id < 0 { -1 } else { 0 }, -1).to_vec();
    bytes[22] = attributes;
    sealed(bytes)
}

#[tokio::test]
async fn what_is_not_ours_to_stamp_passes_byte_for_byte() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    let mut transactional = produce(-1, &[(0, bare("of a transaction", 1))]);
    transactional.set_str("transactional_id", "x");
    let two = [bare("first", 1), bare("second", 1)].concat();
    let bodies: Vec<(&str, Struct)> = vec![
        ("its own sequence", produce(-1, &[(0, batch("own", Some(0)))])),
        ("its own sequence, acks=1", produce(1, &[(0, batch("own 2", Some(1)))])),
        ("transactional batch", produce(-1, &[(0, with_attributes(0x10, 5))])),
        ("transactional attribute", produce(-1, &[(0, with_attributes(0x10, -1))])),
        ("control", produce(-1, &[(0, with_attributes(0x20, -1))])),
        ("transactional id", transactional),
        ("format 0", produce(-1, &[(0, of_format(0))])),
        ("format 1", produce(1, &[(0, of_format(1))])),
        ("two batches", produce(-1, &[(0, two.into())])),
        ("cut off", produce(-1, &[(0, bare("cut off", 1).slice(..50))])),
        ("more than it says", produce(-1, &[(0, [&bare("more", 1)[..], b"xyz"].concat().into())])),
        ("empty", produce(-1, &[(0, Bytes::new())])),
    ];
    let asked = bed.fake.world().identities.asked;
    for (what, body) in bodies {
        let sent = client.send(PRODUCE, 9, &body).await;
        client.receive().await;
        assert_eq!(bed.fake.seen(PRODUCE).last().unwrap().frame, sent, "{what}");
    }
    assert_eq!(bed.fake.world().identities.asked, asked, "no id was needed");
    assert_eq!(bed.metric("evenkeel_kafka_injected_batches_total").await, 0.0);
    bed.balanced().await;
}

/// A batch that was damaged before it came here is refused by its broker, as it is without Evenkeel; the next takes its
/// sequence.
#[tokio::test]
async fn a_corrupt_batch_stays_corrupt() {
    let bed = injecting(&[1], &[1], "").await;
    let mut client = bed.client_of(1).await;
    let mut damaged = bare("damaged", 1).to_vec();
    damaged[62] ^= 0x40;
    damaged[61 + 6] ^= 0x01;
    let text = String::from_utf8(damaged[61..].to_vec()).unwrap();
    let sent = client.send(PRODUCE, 9, &produce(-1, &[(0, damaged.into())])).await;
    assert_eq!(produced(&client.receive().await), [(2, -1)]);
    let seen = bed.fake.seen(PRODUCE).remove(0);
    assert!(wrong_by(&sent, &text) != 0);
    assert_eq!(wrong_by(&seen.frame, &text), wrong_by(&sent, &text), "as wrong as it was");
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text("sound")).await), [(0, 0)]);
    assert_eq!(identity(&bed.fake.seen(PRODUCE)[1].frame, "sound").2, 0);
}

/// However many are pipelined: a broker remembers five, so no more of a partition are undecided.
#[tokio::test]
async fn never_more_than_five_of_a_partition_are_undecided() {
    let bed = injecting(&[1, 2], &[1, 1], "").await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 9, &metadata(&["t"])).await;
    client.ask(PRODUCE, 9, &produce_text("0")).await;
    let gate = gate();
    bed.fake.script(1, PRODUCE, Act::AnswerLater(gate.clone()));
    let mut bytes = 0;
    for n in 1..=12 {
        let frame = client.send(PRODUCE, 9, &produce_text(&n.to_string())).await;
        // What a request costs besides its frame is charged, too.
        bytes += if n <= 6 { frame.len() + 1024 } else { 0 };
    }
    bed.until("the sixth was read and waits", |status| status["hold"]["bytes"] == bytes).await;
    assert_eq!(bed.metric("evenkeel_kafka_injected_batches_total").await, 6.0, "five behind the first");
    let of_broker = |status: &serde_json::Value| status["members"][0]["in_flight"].clone();
    assert_eq!(of_broker(&bed.status().await), 5);
    // Its answer is lost with the connection, and what was written behind it is lost, too.
    bed.fake.down(1).await;
    bed.fake.elect("t", 0, 2);
    for n in 1..=12 {
        assert_eq!(produced(&client.receive().await), [(0, n)]);
    }
    let expected: Vec<String> = (0..=12).map(|n| n.to_string()).collect();
    assert_eq!(bed.fake.texts("t", 0), expected, "each once, in order");
    assert_eq!(bed.fake.log("t", 0)[12].sequence.unwrap().1, 12, "with one identity throughout");
    bed.balanced().await;
}

/// Right after a cluster's start brokers have no ids to give: batches wait for one.
#[tokio::test]
async fn brokers_without_ids_are_asked_again() {
    let bed = injecting(&[1], &[1], "").await;
    bed.fake.world().identities.codes = [14, 15, 14].into();
    let mut client = bed.client_of(1).await;
    for n in 0..7 {
        client.send(PRODUCE, 9, &produce_text(&format!("early {n}"))).await;
    }
    for n in 0..7 {
        assert_eq!(produced(&client.receive().await), [(0, n)]);
    }
    for (n, seen) in bed.fake.seen(PRODUCE).iter().enumerate() {
        let (id, epoch, base) = identity(&seen.frame, &format!("early {n}"));
        assert_eq!((id >= 1000, epoch, base), (true, 0, n as i32));
    }
    assert!(bed.fake.world().identities.asked >= 4);
    bed.balanced().await;
}

/// A cluster that doesn't authorize ids is asked once, and batches pass as they came.
#[tokio::test]
async fn without_authorization_batches_pass_as_they_are() {
    let bed = injecting(&[1], &[1], "").await;
    bed.fake.world().identities.codes = [31].into();
    for text in ["one", "two"] {
        let mut client = bed.client_of(1).await;
        let sent = client.send(PRODUCE, 9, &produce(1, &[(0, bare(text, 1))])).await;
        assert_eq!(codes(&client.receive().await), [0]);
        assert_eq!(bed.fake.seen(PRODUCE).last().unwrap().frame, sent, "its acks, too");
    }
    assert_eq!(bed.fake.world().identities.asked, 1);
    bed.balanced().await;
}

/// Records matter more than their identity. Once ids come, they are used.
#[tokio::test]
async fn what_waits_for_an_id_too_long_passes_as_it_is() {
    let bed = injecting(&[1], &[1], "").await;
    bed.fake.world().identities.silent = true;
    let mut client = bed.client_of(1).await;
    let began = Instant::now();
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(client.send(PRODUCE, 9, &produce_text(&format!("late {n}"))).await);
    }
    for n in 0..7 {
        assert_eq!(produced(&client.receive().await), [(0, n)]);
    }
    assert!(began.elapsed() >= Duration::from_secs(5), "after {:?}", began.elapsed());
    let seen = bed.fake.seen(PRODUCE);
    assert!(seen.iter().map(|seen| &seen.frame).eq(&sent), "as they came, in order");
    bed.fake.world().identities.silent = false;
    eventually("an id", || bed.fake.world().identities.next > 1002).await;
    let end = Instant::now() + crate::client::PATIENCE;
    while bed.metric("evenkeel_kafka_injected_batches_total").await == 0.0 {
        assert!(Instant::now() < end, "never stamped");
        assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text("later")).await), [0]);
    }
    bed.balanced().await;
}
