//! Clients see Evenkeel's doors and never a broker's address, in any answer of any version.

use crate::bed::Bed;
use crate::client::Client;
use crate::fake::Fake;
use crate::make::*;
use evenkeel::kafka::wire::Struct;

/// Host and port by node id of an array of nodes.
fn shown(answer: &Struct, array: &str, id: &str) -> Vec<(i32, String, i32)> {
    let row = |row: &Struct| (row.i32(id), row.str("host").unwrap().to_owned(), row.i32("port"));
    let mut shown: Vec<_> = answer.structs(array).map(row).collect();
    shown.sort();
    shown
}

fn doors(bed: &Bed, host: &str, nodes: &[i32]) -> Vec<(i32, String, i32)> {
    nodes.iter().map(|&node| (node, host.to_owned(), i32::from(bed.door(node).port()))).collect()
}

#[tokio::test]
async fn metadata_of_every_version_shows_the_doors() {
    let bed = Bed::new(&[1, 2, 3]).await;
    let mut client = bed.client().await;
    for version in 0..=13 {
        let answer = client.ask(METADATA, version, &metadata(&["t"])).await;
        assert_eq!(shown(&answer, "brokers", "node_id"), doors(&bed, "127.0.0.1", &[1, 2, 3]), "v{version}");
        assert_eq!(leaders(&answer), [1], "node ids are never changed");
    }
}

#[tokio::test]
async fn coordinators_of_every_version_are_at_their_doors() {
    let bed = Bed::new(&[1, 2]).await;
    bed.fake.world().coordinators.insert("g".to_owned(), 2);
    let mut client = bed.client().await;
    let door = i32::from(bed.door(2).port());
    for version in 0..=6 {
        let answer = client.ask(FIND_COORDINATOR, version, &find_coordinator(version, "g")).await;
        let row = if version < 4 { &answer } else { answer.structs("coordinators").next().unwrap() };
        let found = (row.i32("node_id"), row.str("host"), row.i32("port"));
        assert_eq!(found, (2, Some("127.0.0.1"), door), "v{version}");
    }
}

#[tokio::test]
async fn describe_cluster_shows_the_doors() {
    let bed = Bed::new(&[1, 2]).await;
    let mut client = bed.client().await;
    for version in 0..=2 {
        let answer = client.ask(DESCRIBE_CLUSTER, version, &request(DESCRIBE_CLUSTER)).await;
        assert_eq!(shown(&answer, "brokers", "broker_id"), doors(&bed, "127.0.0.1", &[1, 2]), "v{version}");
    }
}

/// The hints of Produce v10+ and Fetch v16+ carry addresses (KIP-951), in answers without an error too.
#[tokio::test]
async fn node_endpoints_show_the_doors() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    let leak = |answer: &mut Struct| {
        let mut endpoint = answer.new_struct("node_endpoints");
        endpoint.set_i32("node_id", 2);
        endpoint.set_str("host", "kafka-2.internal");
        endpoint.set_i32("port", 9092);
        answer.push_struct("node_endpoints", endpoint);
    };
    for version in 10..=13 {
        bed.fake.script(1, PRODUCE, crate::fake::change(leak));
        let answer = client.ask(PRODUCE, version, &produce_text("x")).await;
        assert_eq!(
            shown(&answer, "node_endpoints", "node_id"),
            doors(&bed, "127.0.0.1", &[2]),
            "Produce v{version}"
        );
        assert_eq!(codes(&answer), [0]);
    }
    for version in 16..=18 {
        bed.fake.script(1, FETCH, crate::fake::change(leak));
        let answer = client.ask(FETCH, version, &fetch(100, &[(0, 0)])).await;
        assert_eq!(
            shown(&answer, "node_endpoints", "node_id"),
            doors(&bed, "127.0.0.1", &[2]),
            "Fetch v{version}"
        );
        assert_eq!(fetched(&answer)[0].3, 62 * 4, "its records are with it");
    }
}

/// A broker that is restarting is missing from Metadata: clients keep it all the same. And none listed at all is no answer.
#[tokio::test]
async fn brokers_that_are_down_stay_listed() {
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client().await;
    bed.fake.down(2).await;
    bed.fake.broker(2, |broker| broker.listed = false);
    let answer = client.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(shown(&answer, "brokers", "node_id"), doors(&bed, "127.0.0.1", &[1, 2]));
    bed.fake.broker(1, |broker| broker.listed = false);
    client.send(METADATA, 9, &metadata(&["t"])).await;
    bed.holding(1).await;
    bed.fake.broker(1, |broker| broker.listed = true);
    assert_eq!(shown(&client.receive().await, "brokers", "node_id"), doors(&bed, "127.0.0.1", &[1, 2]));
    bed.balanced().await;
}

#[tokio::test]
async fn the_advertised_host_is_told() {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "", "advertise = \"sidecar.example.net\"").await;
    let mut client = bed.client().await;
    let answer = client.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(shown(&answer, "brokers", "node_id"), doors(&bed, "sidecar.example.net", &[1]));
}

/// The host that a client is told is the one that it connected to, and its ports are open there.
#[tokio::test]
async fn the_host_is_the_one_that_was_connected_to() {
    let fake = Fake::start(&[1]).await;
    fake.topic("t", &[1]);
    let bed = Bed::over(fake, "", "listen = [\"[::1]:0\", \"127.0.0.1:0\"]").await;
    assert!(bed.bootstrap.is_ipv6());
    let mut six = bed.client().await;
    let answer = six.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(shown(&answer, "brokers", "node_id"), doors(&bed, "::1", &[1]));
    let mut four = bed.client_of(1).await;
    let answer = four.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(shown(&answer, "brokers", "node_id"), doors(&bed, "127.0.0.1", &[1]));
    let port = bed.door(1).port();
    let mut broker = Client::connect(std::net::SocketAddr::new("::1".parse().unwrap(), port)).await;
    assert_eq!(codes(&broker.ask(PRODUCE, 9, &produce_text("v6")).await), [0]);
}

/// A new broker gets a door of its own as soon as an answer shows it.
#[tokio::test]
async fn a_new_broker_gets_a_door() {
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    bed.fake.add(4).await;
    let mut client = bed.client().await;
    let answer = client.ask(METADATA, 9, &metadata(&["t"])).await;
    assert_eq!(shown(&answer, "brokers", "node_id"), doors(&bed, "127.0.0.1", &[1, 4]));
    bed.fake.elect("t", 0, 4);
    let mut client = bed.client_of(4).await;
    assert_eq!(codes(&client.ask(PRODUCE, 9, &produce_text("new")).await), [0]);
}

/// An offline partition must not slow every Metadata of a client of old versions down for ever.
#[tokio::test]
async fn a_partition_that_stays_without_a_leader_is_not_waited_for_each_time() {
    for version in [1, 5, 9] {
        let fake = Fake::start(&[1]).await;
        fake.topic("t", &[-1]);
        let bed = Bed::over(fake, "hold.max = \"600ms\"", "").await;
        bed.ready().await;
        let mut client = bed.client().await;
        assert_eq!(leaders(&client.ask(METADATA, version, &metadata(&["t"])).await), [-1]);
        let began = std::time::Instant::now();
        for _ in 0..10 {
            assert_eq!(leaders(&client.ask(METADATA, version, &metadata(&["t"])).await), [-1]);
        }
        assert!(began.elapsed().as_millis() < 3000, "v{version}: ten in {:?}", began.elapsed());
        bed.balanced().await;
    }
}
