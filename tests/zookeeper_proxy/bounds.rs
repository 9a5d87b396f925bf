//! Bounds, and bytes that are no client's: what is held has a limit and nothing of it is dropped; words and garbage.
//!
//! The texts of words, and of their refusal, are those of 3.8.6 and 3.9.5. A server ends the connection of an `auth` that it can't read.

use crate::bed::Bed;
use crate::client::{Client, LONG, hello};
use crate::fake::Act;
use crate::make::*;
use bytes::Bytes;
use evenkeel::zookeeper::wire::{Writer, reply};
use std::time::Duration;

/// By number and by bytes: a full hold stops reading, and everything is served in the end, in order.
#[tokio::test]
async fn a_full_hold_drops_nothing() {
    for (top, most) in
        [("hold.requests = 5", 5), ("hold.connection_bytes = \"4KiB\"\nhold.bytes = \"16KiB\"", 5)]
    {
        let bed = Bed::with(2, top, "").await;
        let mut client = bed.client().await;
        client.did(SYNC, &path("/")).await;
        bed.fake.all_down().await;
        let data = "x".repeat(1000);
        for round in 0..40 {
            client.send(CREATE, &create(&format!("/n{round:02}"), &data, 0)).await;
        }
        bed.until("it is full", |status| status["hold"]["waiting"].as_u64() >= Some(4)).await;
        client.is_quiet_for(Duration::from_millis(50)).await;
        let waiting = bed.status().await["hold"]["waiting"].as_u64().unwrap();
        assert!(waiting <= most, "{top}: {waiting} are held");
        bed.fake.forget();
        bed.fake.all_up().await;
        for round in 0..40 {
            let answer = client.answer().await;
            assert_eq!(reply::path(&answer.body).unwrap().lossy(), format!("/n{round:02}"));
        }
        assert_eq!(bed.fake.seen(CREATE).len(), 40);
        bed.end(client).await;
    }
}

/// A client that has gone: what was held for it, in a hold so full that its socket isn't read, comes to no server any more, and its
/// session is left to the connection that it may have come back on.
#[tokio::test]
async fn nothing_is_done_for_a_client_that_has_gone_from_a_full_hold() {
    let bed = Bed::with(2, "hold.requests = 5", "").await;
    let mut client = bed.client().await;
    client.did(SYNC, &path("/")).await;
    bed.fake.all_down().await;
    for round in 0..40 {
        client.send(CREATE, &create(&format!("/n{round:02}"), "x", 0)).await;
    }
    bed.until("it is full", |status| status["hold"]["waiting"].as_u64() >= Some(4)).await;
    bed.fake.forget();
    let session = client.session;
    drop(client);
    bed.fake.all_up().await;
    bed.settled().await;
    assert_eq!(bed.fake.seen(CREATE).len(), 0);
    assert!(bed.fake.attaches().iter().all(|attach| attach.request.session != session));
}

/// Its last words are its session's end, behind what is held: that is what a server gets.
#[tokio::test]
async fn the_end_of_a_session_overtakes_what_nobody_waits_for() {
    let bed = Bed::new(2).await;
    let mut client = bed.client().await;
    client.did(SYNC, &path("/")).await;
    bed.fake.all_down().await;
    for round in 0..3 {
        client.send(CREATE, &create(&format!("/n{round}"), "x", 0)).await;
    }
    client.send(CLOSE_SESSION, &[]).await;
    bed.holding(4).await;
    bed.fake.forget();
    drop(client);
    bed.fake.all_up().await;
    crate::bed::eventually("its session is over", || !bed.fake.seen(CLOSE_SESSION).is_empty()).await;
    bed.settled().await;
    assert_eq!(bed.fake.seen(CREATE).len(), 0);
}

/// A client that reads nothing: its server is read no further than the bounds allow, and nothing is lost.
#[tokio::test]
async fn a_slow_reader_is_waited_for() {
    let bed = Bed::with(1, "net.write_queue = \"64KiB\"", "").await;
    let mut client = bed.client().await;
    client.did(CREATE, &create("/big", &"x".repeat(500_000), 0)).await;
    for _ in 0..60 {
        client.send(GET_DATA, &read("/big", false)).await;
    }
    crate::bed::eventually("the server has them", || bed.fake.seen(GET_DATA).len() > 5).await;
    for _ in 0..60 {
        assert_eq!(reply::data(&client.answer().await.body).unwrap().0.unwrap().len(), 500_000);
    }
    bed.end(client).await;
}

/// A client's frame over the limit: the end, and no server gets it. One within it passes.
#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection() {
    let bed = Bed::with(1, "", "jute_maxbuffer = \"16KiB\"").await;
    let mut client = bed.client().await;
    client.did(CREATE, &create("/fits", &"x".repeat(16_000), 0)).await;
    client.send(SET_DATA, &set_data("/fits", &"x".repeat(17_000), -1)).await;
    client.closed().await;
    assert!(bed.fake.seen(SET_DATA).is_empty());
    bed.end(client).await;
}

/// Servers bound what they read, not what they answer: the list of many children is longer than any request.
#[tokio::test]
async fn an_answer_may_be_longer_than_any_request() {
    let bed = Bed::with(2, "", "jute_maxbuffer = \"16KiB\"").await;
    let mut client = bed.client().await;
    bed.fake.script_all(GET_CHILDREN, &Act::Body(Bytes::from(vec![7; 4_000_000])));
    assert_eq!(client.did(GET_CHILDREN, &read("/", false)).await.body.len(), 4_000_000);
    assert_eq!(bed.fake.seen(GET_CHILDREN).len(), 1);
    bed.end(client).await;
}

/// A request at which every server hangs up: tried a few times, and then the client's loss, as it would be without
/// Evenkeel. It isn't tried for ever.
#[tokio::test]
async fn what_no_server_survives_is_given_up() {
    for (code, act) in [(GET_DATA, Act::Close), (SYNC, Act::Close), (AUTH, Act::Close)] {
        let bed = Bed::new(2).await;
        let mut client = bed.client().await;
        let mut other = bed.client().await;
        for _ in 0..50 {
            bed.fake.script_all(code, &act);
        }
        let payload = match code {
            AUTH => auth("a:1"),
            SYNC => path("/"),
            _ => read("/", false),
        };
        client.send(code, &payload).await;
        client.closed().await;
        let times = bed.fake.seen(code).len();
        assert!((2..=12).contains(&times), "{code}: {times}");
        bed.fake.forget_scripts();
        other.did(GET_DATA, &read("/", false)).await;
        drop(other);
        bed.end(client).await;
    }
}

/// What no ZooKeeper client sends ends its own connection, and no other.
#[tokio::test]
async fn garbage_ends_its_own_connection() {
    let bed = Bed::new(1).await;
    let mut good = bed.client().await;
    let frame = |payload: &[u8]| Writer::frame().raw(payload).finish().to_vec();
    let greeting = hello(LONG, None).encode();
    let first: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc].to_vec()),
        ("2 GiB", [0x7f, 0xff, 0xff, 0xff, 1].to_vec()),
        ("negative", [0xff, 0xff, 0xff, 0xf0, 1].to_vec()),
        ("empty frame", frame(&[])),
        ("short frame", frame(&[0, 0, 0, 0, 1])),
        (
            "a password longer than the frame",
            frame(&[0; 24].into_iter().chain([0, 0, 1, 0]).collect::<Vec<_>>()),
        ),
    ];
    for (what, bytes) in &first {
        let mut client = Client::connect(bed.listen).await;
        client.write(bytes).await;
        assert!(client.rest().await.is_empty(), "{what}");
        good.did(GET_DATA, &read("/", false)).await;
    }
    assert_eq!(bed.fake.attaches().len(), 1, "no server heard of them");
    for (what, bytes) in [
        ("negative", vec![0xff, 0xff, 0xff, 0xf0]),
        ("2 GiB", vec![0x7f, 0xff, 0xff, 0xff]),
        ("empty frame", frame(&[])),
        ("short header", frame(&[0, 0, 0, 1, 0, 0])),
    ] {
        let mut client = bed.client().await;
        client.write(&bytes).await;
        client.closed().await;
        good.did(GET_DATA, &read("/", false)).await;
        bed.fake.expire(client.session);
        drop((client, what));
    }
    // Half a frame, and gone.
    let mut half = Client::connect(bed.listen).await;
    half.write(&greeting[..20]).await;
    drop(half);
    bed.until("they are gone", |status| status["clients"] == 1).await;
    bed.end(good).await;
}

/// SIGTERM: what is under way is answered, nothing new is taken, and the process ends when its clients have their answers.
#[tokio::test]
async fn a_stop_lets_answers_go_out() {
    let bed = Bed::new(1).await;
    let mut client = bed.client().await;
    let gate = crate::fake::gate();
    bed.fake.script(1, CREATE, Act::AnswerLater(gate.clone()));
    client.send(CREATE, &create("/a", "", 0)).await;
    crate::bed::eventually("it is under way", || bed.fake.seen(CREATE).len() == 1).await;
    bed.signals.send(evenkeel::lifecycle::Signal::Terminate).await.unwrap();
    let gone = |addr| async move { tokio::net::TcpStream::connect(addr).await.is_err() };
    let end = std::time::Instant::now() + crate::client::PATIENCE;
    while !gone(bed.listen).await {
        assert!(std::time::Instant::now() < end, "it still listens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.send(GET_DATA, &read("/a", false)).await;
    gate.add_permits(1);
    assert_eq!(client.answer().await.err, 0);
    client.closed().await;
    assert!(bed.fake.seen(GET_DATA).is_empty(), "what came behind the stop is not begun");
    let exit = tokio::time::timeout(crate::client::PATIENCE, bed.run).await.unwrap().unwrap();
    assert!(matches!(exit, evenkeel::app::Exit::Drained), "{exit:?}");
}

async fn word(bed: &Bed, word: &str) -> String {
    let mut client = Client::connect(bed.listen).await;
    client.write(word.as_bytes()).await;
    String::from_utf8(client.rest().await).unwrap()
}

/// Words: two are answered here, one is a server's, the rest are refused unless they are allowed.
#[tokio::test]
async fn four_letter_words() {
    let bed = Bed::with(2, "", "four_letter_words = [\"mntr\"]").await;
    let known = |status: &serde_json::Value| status["members"][0]["mode"].is_string();
    bed.until("the mode is known", known).await;
    let client = bed.client().await;
    assert_eq!(word(&bed, "ruok").await, "imok");
    let srvr = word(&bed, "srvr").await;
    assert!(srvr.contains("Zookeeper version: 3.9.6, through evenkeel"), "{srvr}");
    assert!(srvr.contains("Mode: leader\n") || srvr.contains("Mode: follower\n"), "{srvr}");
    assert_eq!(word(&bed, "isro").await, "rw");
    assert_eq!(word(&bed, "mntr").await, "mntr of a server");
    assert_eq!(word(&bed, "wchp").await, "wchp is not executed because it is not in the whitelist.");
    assert_eq!(bed.fake.world().words, ["isro", "mntr"]);
    for (fate, count) in [("answered", 2.0), ("forwarded", 2.0), ("refused", 1.0)] {
        assert_eq!(bed.metric("zookeeper_four_letter_words_total", fate).await, count, "{fate}");
    }
    bed.fake.all_down().await;
    assert_eq!(word(&bed, "ruok").await, "imok", "this is about Evenkeel");
    drop(client);
    bed.settled().await;
}

/// `/zookeeper/config` names the sidecar for every server, in reads and in the answer to reconfig; other nodes are as they are.
#[tokio::test]
async fn the_config_node_names_the_sidecar() {
    for advertise in [None, Some("sidecar.example.net")] {
        let cluster = advertise.map_or(String::new(), |host| format!("advertise = \"{host}\""));
        let bed = Bed::with(1, "", &cluster).await;
        let mut client = bed.client().await;
        let text = "server.1=zk-1:2888:3888:participant;0.0.0.0:2181\nserver.2=zk-2:2888:3888:observer;zk-2:2181\nversion=ZXID";
        bed.fake.world().tree.set_config(text);
        bed.fake.create("/x");
        bed.fake.set("/x", text);
        let version = format!("{:x}", bed.fake.stat("/zookeeper/config").unwrap().mzxid);
        let host = advertise.unwrap_or("127.0.0.1");
        let here = format!("{host}:{}", bed.listen.port());
        let answer = client.did(GET_DATA, &read("/zookeeper/config", true)).await;
        let (data, stat) = reply::data(&answer.body).unwrap();
        let shown = String::from_utf8(data.unwrap().to_vec()).unwrap();
        assert_eq!(
            shown,
            format!(
                "server.1=zk-1:2888:3888:participant;{here}\nserver.2=zk-2:2888:3888:observer;{here}\nversion={version}"
            )
        );
        assert_eq!(stat.data_length as usize, shown.len());
        // What a client was shown is no list to change the members by: servers would move their ports here.
        let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("server.")).collect();
        let joining = Writer::record().text(lines[1].as_bytes()).i32(-1).i32(-1).i64(-1).finish();
        for refused in [reconfig(&lines.join(",")), joining] {
            assert_eq!(client.ask(RECONFIG, &refused).await.err, -8, "{advertise:?}");
        }
        assert_eq!(bed.fake.seen(RECONFIG).len(), 0);
        assert_eq!(bed.fake.stat("/zookeeper/config").unwrap().mzxid, stat.mzxid);
        let answer = client.did(RECONFIG, &reconfig("server.9=zk-9:2888:3888;zk-9:2181")).await;
        let shown = String::from_utf8(reply::data(&answer.body).unwrap().0.unwrap().to_vec()).unwrap();
        assert!(shown.starts_with(&format!("server.9=zk-9:2888:3888;{here}\n")), "{shown}");
        let answer = client.did(GET_DATA, &read("/x", false)).await;
        assert_eq!(reply::data(&answer.body).unwrap().0.unwrap(), text.as_bytes());
        bed.end(client).await;
    }
}
