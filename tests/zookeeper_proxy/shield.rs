//! The poison shield: a write that a server can't decode, or can't apply, is answered here and never sent on.
//!
//! On 3.9.0 to 3.9.6 one such request stops all writes of the ensemble until its leader is restarted; 3.8 answers −5. What is let
//! through here was seen to be harmless on both.

use crate::bed::Bed;
use crate::make::*;
use bytes::Bytes;
use evenkeel::zookeeper::wire::Writer;
use std::time::Duration;

const WRITES: [(i32, &str); 9] = [
    (1, "create"),
    (15, "create2"),
    (19, "createContainer"),
    (21, "createTTL"),
    (2, "delete"),
    (5, "setData"),
    (7, "setACL"),
    (14, "multi"),
    (16, "reconfig"),
];

/// A good one of each, without its header.
fn good(code: i32) -> Bytes {
    match code {
        1 | 15 => create("/p", "data", 0),
        19 => create("/p", "data", 4),
        21 => Writer::record().raw(&create("/p", "data", 5)).i64(1000).finish(),
        2 => delete("/p", 0),
        5 => set_data("/p", "data", 0),
        7 => set_acl("/p", 0),
        14 => multi(&[(CREATE, create("/p", "data", 0)), (DELETE, delete("/p", 0))]),
        _ => reconfig("server.1=h:1:2"),
    }
}

/// Where the lengths of a good one stand.
fn lengths(code: i32) -> Vec<usize> {
    match code {
        1 | 15 | 19 | 21 => vec![0, 6, 22, 31], // path, data, scheme and id of the entry of the list
        2 => vec![0],
        5 => vec![0, 6],
        7 => vec![0, 14, 23],
        14 => vec![9, 15],
        _ => vec![0, 4, 8],
    }
}

/// Cut anywhere, empty, or with a negative length: −5, and the next request works. No server ever sees one.
#[tokio::test]
async fn what_cant_be_decoded_is_answered_here() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    for (code, name) in WRITES {
        let whole = good(code);
        let mut poison: Vec<(String, Vec<u8>)> =
            (0..whole.len()).map(|end| (format!("cut at {end}"), whole[..end].to_vec())).collect();
        for at in lengths(code) {
            for length in [-2, i32::MIN, 1_000_000, i32::MAX] {
                let mut bytes = whole.to_vec();
                bytes[at..at + 4].copy_from_slice(&i32::to_be_bytes(length));
                poison.push((format!("length {length} at {at}"), bytes));
            }
        }
        for (_, bytes) in &poison {
            client.send(code, bytes).await;
        }
        client.send(EXISTS, &read("/", false)).await;
        for (what, _) in &poison {
            let answer = client.answer().await;
            assert_eq!((answer.err, answer.body.len()), (-5, 0), "{name}: {what}");
        }
        assert_eq!(client.answer().await.err, 0, "{name}: the next one works");
        assert!(bed.fake.seen(code).is_empty(), "{name}");
        let label = format!("\"{name}\"");
        assert_eq!(bed.metric("zookeeper_poison_refused_total", &label).await, poison.len() as f64);
    }
    client.did(CREATE, &create("/after", "", 0)).await;
    bed.end(client).await;
}

/// In a multi: a part that there is none of, one that is cut, reads among writes, no end.
#[tokio::test]
async fn a_multi_is_decoded_to_its_end() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let part =
        |kind: i32, payload: &[u8]| Writer::record().i32(kind).bool(false).i32(-1).raw(payload).finish();
    let end = Writer::record().i32(-1).bool(true).i32(-1).finish();
    let join = |parts: &[&[u8]]| parts.concat();
    let check = part(CHECK, &path_and("/", -1));
    for (what, bytes) in [
        ("a part of a kind that there isn't", join(&[&part(3, &read("/", false)), &end])),
        ("a part of no kind", join(&[&part(-1, &[]), &end])),
        ("a nested multi", join(&[&part(MULTI, &multi(&[])), &end])),
        ("a cut part", join(&[&check, &part(CREATE, &create("/x", "", 0))[..20]])),
        ("a read among writes", join(&[&check, &part(GET_DATA, &read("/", false)), &end])),
        ("no end", join(&[&check])),
        ("nothing", Vec::new()),
    ] {
        assert_eq!(client.ask(MULTI, &bytes).await.err, -5, "{what}");
    }
    assert!(bed.fake.seen(MULTI).is_empty());
    assert_eq!(client.did(MULTI, &multi(&[])).await.body[..], [255, 255, 255, 255, 1, 255, 255, 255, 255]);
    bed.end(client).await;
}

/// What servers would decode and could not apply: −8, and the next request works. What `setquota` writes passes.
#[tokio::test]
async fn what_cant_be_applied_is_answered_here() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let (astray, limits) = ("/zookeeper/quota/zookeeper_limits", "/zookeeper/quota/a/zookeeper_limits");
    let good = "count=5,bytes=-1";
    for (what, code, payload) in [
        ("limits of no node", CREATE, create(astray, good, 0)),
        ("in a multi", MULTI, multi(&[(CHECK, path_and("/", -1)), (CREATE, create(astray, good, 0))])),
        ("limits that can't be deleted", DELETE, delete("/zookeeper/zookeeper_limits", -1)),
        ("no amounts", SET_DATA, set_data(limits, "count=x", -1)),
        ("no amounts, in a new one", CREATE, create(limits, "", 0)),
    ] {
        let answer = client.ask(code, &payload).await;
        assert_eq!((answer.err, answer.body.len()), (-8, 0), "{what}");
        assert!(bed.fake.seen(code).is_empty(), "{what}");
    }
    assert_eq!(bed.metric("zookeeper_poison_refused_total", "").await, 5.0);
    let xid = client.ask(CREATE, &create(limits, good, 0)).await.xid;
    assert_eq!(bed.fake.seen_of(CREATE, xid).len(), 1);
    bed.end(client).await;
}

/// What servers take, or answer themselves, is theirs.
#[tokio::test]
async fn what_is_harmless_passes() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let record = Writer::record;
    let rest = |w: Writer| open_acl(w.text(b"")).i32(0).finish();
    let cases: [(&str, i32, Bytes, i32); 7] = [
        ("null path", CREATE, rest(record().i32(-1)), -8),
        ("null list", CREATE, record().text(b"/n").text(b"").i32(-1).i32(0).finish(), -114),
        ("negative number of entries", CREATE, record().text(b"/n").text(b"").i32(-7).i32(0).finish(), -114),
        ("no UTF-8", CREATE, rest(record().text(b"/\xff\xfe")), 0),
        ("bytes behind the end", CREATE, record().raw(&create("/t", "", 0)).raw(b"more").finish(), 0),
        ("null data", CREATE, open_acl(record().text(b"/d").i32(-1)).i32(0).finish(), 0),
        ("flags of no kind", CREATE, create("/f", "", 77), -8),
    ];
    for (what, code, payload, err) in cases {
        let answer = client.ask(code, &payload).await;
        assert_eq!(answer.err, err, "{what}");
        assert_eq!(&bed.fake.seen_of(code, answer.xid)[0].frame[8..], &payload[..], "{what}");
    }
    assert_eq!(bed.metric("zookeeper_poison_refused_total", "").await, 0.0);
    // A read that can't be decoded is the server's to answer; it stops nothing.
    assert_eq!(client.ask(EXISTS, b"\0\0\0\x09/").await.err, -5);
    assert_eq!(bed.fake.seen(EXISTS).len(), 1);
    bed.end(client).await;
}

/// While its server is away, too: the refusal waits for its turn and nothing poisonous is kept for the next server.
#[tokio::test]
async fn the_shield_stands_while_a_session_is_held() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    bed.fake.all_down().await;
    client.send(CREATE, &create("/a", "", 0)).await;
    client.send(SET_DATA, b"\0\0\0\x10").await;
    client.send(EXISTS, &read("/a", false)).await;
    bed.holding(2).await;
    bed.fake.all_up().await;
    let answers = [client.answer().await.err, client.answer().await.err, client.answer().await.err];
    assert_eq!(answers, [0, -5, 0]);
    assert!(bed.fake.seen(SET_DATA).is_empty());
    bed.end(client).await;
}

/// Half a tick leaves nothing of a short session's lease for what is made here: a refusal goes along with what the server says, to a ping
/// or to the request behind it.
#[tokio::test]
async fn a_refusal_reaches_a_client_whose_time_out_is_short_against_the_tick() {
    let bed = Bed::with(1, "", "tick_time = \"2s\"").await;
    let mut client = bed.client_of(1, 3000, Some(false)).await;
    for _ in 0..6 {
        // Until what the attach itself allows for is over.
        tokio::time::sleep(Duration::from_millis(250)).await;
        client.pong().await;
    }
    client.send(CREATE, &[]).await;
    client.ping().await;
    assert_eq!(client.answer().await.err, -5);
    client.send(CHECK, &path_and("/a", 1)).await;
    client.send(EXISTS, &read("/a", false)).await;
    assert_eq!(client.answer().await.err, -6);
    assert_eq!(client.answer().await.err, -101);
    bed.end(client).await;
}
