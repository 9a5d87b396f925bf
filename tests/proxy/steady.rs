//! All is well: bytes are forwarded as they came.

use crate::bed::Bed;
use crate::make::*;

/// What the broker got is what the client sent, and what the client got is what the broker sent.
#[tokio::test]
async fn requests_and_answers_are_forwarded_byte_for_byte() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    let mut rounds: Vec<(i16, i16, evenkeel::kafka::wire::Struct)> = Vec::new();
    for version in [3, 7, 8, 9, 12, 13] {
        rounds.push((PRODUCE, version, produce(-1, &[(0, batch("a", None))])));
    }
    for version in [4, 11, 12, 13, 17, 18] {
        rounds.push((FETCH, version, fetch(100, &[(0, 0)])));
    }
    rounds.push((LIST_OFFSETS, 7, request(LIST_OFFSETS)));
    rounds.push((HEARTBEAT, 4, of_group(HEARTBEAT)));
    rounds.push((OFFSET_COMMIT, 8, commit(5)));
    for key in [15, 16, 29, 35, 48, 61, 66, 75] {
        let message = evenkeel::kafka::wire::request(key).unwrap();
        rounds.push((key, *message.versions().end(), message.new()));
    }
    for (key, version, body) in rounds {
        let sent = client.send(key, version, &body).await;
        let got = client.receive_frame().await;
        client.taken(&got);
        let seen = bed.fake.seen(key).pop().unwrap();
        assert_eq!((seen.node, seen.version), (1, version), "at the node that the client chose");
        assert_eq!(seen.frame, sent, "request {key} v{version}");
        assert_eq!(seen.answer, Some(got), "answer {key} v{version}");
    }
    bed.balanced().await;
    assert_eq!(bed.held().await["started"], 0, "nothing was held");
}

/// Five requests of different APIs in one write: answered in order.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let bed = Bed::new(&[1]).await;
    let mut client = bed.client().await;
    for round in 0..20 {
        client.send(PRODUCE, 9, &produce_text(&format!("r{round}"))).await;
        client.send(METADATA, 9, &metadata(&["t"])).await;
        client.send(API_VERSIONS, 3, &request(API_VERSIONS)).await;
        client.send(FIND_COORDINATOR, 3, &find_coordinator(3, "g")).await;
        client.send(FETCH, 11, &fetch(100, &[(0, 0)])).await;
        for _ in 0..5 {
            client.receive().await;
        }
    }
    assert_eq!(bed.fake.texts("t", 0).len(), 20);
}

/// An answer of several megabytes, and one that comes byte by byte.
#[tokio::test]
async fn large_and_torn_answers_arrive_whole() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    let large = "x".repeat(3 << 20);
    assert_eq!(produced(&client.ask(PRODUCE, 9, &produce_text(&large)).await), [(0, 0)]);
    let answer = client.ask(FETCH, 11, &fetch(100, &[(0, 0)])).await;
    assert_eq!(fetched(&answer), [(0, 0, 1, 61 + large.len())]);
    bed.fake.script(1, HEARTBEAT, crate::fake::Act::Drip);
    bed.fake.script(1, METADATA, crate::fake::Act::Drip);
    assert_eq!(codes(&client.ask(HEARTBEAT, 4, &of_group(HEARTBEAT)).await), [0]);
    assert_eq!(leaders(&client.ask(METADATA, 9, &metadata(&["t"])).await), [1]);
}

/// A client that splits its frames at every byte is served like any other.
#[tokio::test]
async fn requests_may_come_byte_by_byte() {
    use tokio::io::AsyncWriteExt;
    let bed = Bed::new(&[1]).await;
    let mut client = bed.client().await;
    let frame =
        evenkeel::kafka::wire::encode_request(PRODUCE, 9, 4711, "test", &produce_text("slow")).unwrap();
    let mut bytes = Vec::from((frame.len() as i32).to_be_bytes());
    bytes.extend_from_slice(&frame);
    for byte in bytes {
        client.stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.stream.readable().await.unwrap();
    crate::bed::eventually("the record is in the log", || bed.fake.texts("t", 0) == ["slow"]).await;
    assert_eq!(bed.fake.seen(PRODUCE)[0].frame, frame);
}
