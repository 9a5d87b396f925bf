//! What concerns consumers and topics: reading in one's own zone, offsets that are out of range, topics made anew, idle
//! connections.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use evenkeel::kafka::wire::{self, Struct};
use testbed::judge::{ClientError, parse};
use testbed::{
    ConsumerProgram, ConsumerSpec, KafkaVersion, ProducerProgram, ProducerSpec, Roll, Scene, Spec,
    judge_consumer, judge_producers, wait,
};

use crate::{binary, is_zero, metric};

const PATIENCE: Duration = Duration::from_secs(120);
const FETCH: i16 = 1;

/// Bytes that Evenkeel has read from each of three brokers.
fn received(scene: &Scene) -> Vec<f64> {
    let from = |id: u8| {
        let member = format!("member=\"{id}\"");
        metric(&scene.sidecar, "upstream_bytes_total", &[&member, "direction=\"received\""])
    };
    (1..=3).map(from).collect()
}

#[test]
fn a_consumer_reads_in_its_own_zone() {
    let spec = Spec::new(KafkaVersion::V3_9_2).fast().zones();
    let mut scene = Scene::with(spec, binary(), "", "zone = \"zone-2\"").unwrap();
    scene.cluster.create_topic("t", 6, 3, &[]).unwrap();
    scene.cluster.admin().elect_preferred().unwrap();
    let through = scene.front.listen.to_string();
    let spec = ConsumerSpec::new("reader", &through, "t", "g");
    // Nothing says which zone it is in; that it learns of new leaders soon keeps the test short.
    let consumer = ConsumerProgram::start(&spec).unwrap();
    consumer.wait_assigned(PATIENCE).unwrap();
    let produce = |scene: &Scene, id: &str| {
        let direct = scene.cluster.bootstrap();
        let mut spec = ProducerSpec::new(id, &direct, "t", 6).rate(500.0).count(3000);
        spec.padding = 2000;
        ProducerProgram::start(&spec).unwrap()
    };
    // Its first fetches are told where to read from; what counts is what comes after.
    let mut histories = vec![produce(&scene, "first").finish(PATIENCE).unwrap()];
    assert!(consumer.wait_delivered(3000, PATIENCE), "{} delivered", consumer.delivered());
    let before = received(&scene);
    histories.push(produce(&scene, "second").finish(PATIENCE).unwrap());
    assert!(consumer.wait_delivered(6000, PATIENCE), "{} delivered", consumer.delivered());
    let read: Vec<f64> = received(&scene).iter().zip(&before).map(|(now, then)| now - then).collect();
    println!("bytes read from the brokers of zones 1, 2, 3: {read:?}");
    assert!(read[1] > 6e6, "6 MB in its own zone: {read:?}");
    assert!(read[0] + read[2] < 0.1 * read[1], "and next to nothing elsewhere: {read:?}");
    // Its zone is gone: it reads elsewhere.
    scene.cluster.kill(2).unwrap();
    let producer = ProducerProgram::start(&ProducerSpec::new("third", &through, "t", 6)).unwrap();
    let more = consumer.delivered() + 1000;
    assert!(consumer.wait_delivered(more, PATIENCE), "{}", scene.sidecar.log_tail(60));
    histories.push(producer.stop().unwrap());
    scene.cluster.start_node(2).unwrap();
    scene.cluster.wait_ready().unwrap();
    let log = scene.cluster.admin().read_topic("t").unwrap();
    consumer.wait_delivered(log.len(), Duration::from_secs(60));
    let verdict = judge_consumer(&[consumer.stop().unwrap()], &log);
    assert!(verdict.missed.is_empty() && verdict.twice.is_empty(), "{verdict:?}");
    assert!(verdict.errors.is_empty() && verdict.rebalances == 0, "{verdict:?}");
    assert!(judge_producers(&histories, &log).is_exact());
}

/// One request and its answer on a connection.
fn ask(stream: &mut TcpStream, key: i16, version: i16, body: &Struct) -> Struct {
    let frame = wire::encode_request(key, version, 1, "bare", body).unwrap();
    stream.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut frame).unwrap();
    wire::decode_response(key, version, &frame.into()).unwrap().1
}

/// The error and the number of bytes of records that a Fetch of one partition from `offset` gets.
fn fetch(addr: SocketAddr, offset: i64) -> (i16, usize) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = wire::request(FETCH).unwrap().new();
    request.set_i32("max_wait_ms", 10_000);
    request.set_i32("min_bytes", 1);
    request.set_i32("max_bytes", 1 << 20);
    request.set_i32("session_epoch", -1);
    let mut topic = request.new_struct("topics");
    topic.set_str("topic", "t");
    let mut row = topic.new_struct("partitions");
    row.set_i64("fetch_offset", offset);
    row.set_i32("partition_max_bytes", 1 << 20);
    row.set_i32("current_leader_epoch", -1);
    topic.push_struct("partitions", row);
    request.push_struct("topics", topic);
    let answer = ask(&mut stream, FETCH, 11, &request);
    let row = answer.structs("responses").next().unwrap().structs("partitions").next().unwrap().clone();
    (row.i16("error_code"), row.bytes_field("records").map_or(0, bytes::Bytes::len))
}

/// Real leaders answer what the offset guard asks of them: what is out of range is passed on after a move.
#[test]
fn a_true_out_of_range_is_passed_on_after_a_move() {
    for version in [KafkaVersion::V3_9_2, KafkaVersion::V4_3_1] {
        let mut scene = Scene::start(Spec::new(version).fast(), binary()).unwrap();
        scene.cluster.create_topic("t", 1, 3, &[]).unwrap();
        let through = scene.front.listen.to_string();
        let producer = ProducerProgram::start(&ProducerSpec::new("p", &through, "t", 1)).unwrap();
        producer.wait_outcomes(200, PATIENCE).unwrap();
        let leader =
            |scene: &mut Scene| u8::try_from(scene.cluster.admin().topic("t").unwrap()[0].leader).unwrap();
        let first = leader(&mut scene);
        scene.cluster.restart(first, Roll::Soft).unwrap();
        let now = producer.progress().outcomes;
        producer.wait_outcomes(now + 200, PATIENCE).unwrap();
        let leader = leader(&mut scene);
        let door = scene.front.broker(leader);
        assert_eq!(fetch(door, 1 << 40), (1, 0), "{}", scene.sidecar.log_tail(40));
        let out_of_range = metric(&scene.sidecar, "kafka_offset_guard_total", &["outcome=\"out_of_range\""]);
        assert!(out_of_range > 0.5, "the leader was asked and said so\n{}", scene.sidecar.log_tail(40));
        assert!(fetch(door, 0).1 > 0);
        assert!(producer.stop().unwrap().outcomes.iter().all(|outcome| outcome.result.is_ok()));
    }
}

/// Records that are held for a topic when it is deleted do not land in the one that has its name then.
#[test]
fn nothing_lands_in_a_topic_made_anew() {
    let mut scene = Scene::start(Spec::new(KafkaVersion::V3_9_2).fast(), binary()).unwrap();
    // On one broker alone: when that is dead there is no leader.
    scene.cluster.create_topic("t", 1, 1, &[("min.insync.replicas", "1")]).unwrap();
    let through = scene.front.listen.to_string();
    let spec =
        ProducerSpec::new("p", &through, "t", 1).rate(20.0).set("max.in.flight.requests.per.connection", "1");
    let producer = ProducerProgram::start(&spec).unwrap();
    producer.wait_outcomes(40, PATIENCE).unwrap();
    let leader = scene.cluster.admin().topic("t").unwrap()[0].leader;
    scene.cluster.kill(u8::try_from(leader).unwrap()).unwrap();
    wait::until("no leader", PATIENCE, || {
        scene.cluster.admin().topic("t").is_ok_and(|partitions| partitions.iter().all(|p| p.leader < 0))
    })
    .unwrap();
    wait::until("something held", PATIENCE, || metric(&scene.sidecar, "hold_requests", &[]) > 0.5).unwrap();
    let sent_before = producer.history().outcomes.len();
    scene.cluster.admin().delete_topic("t").unwrap();
    let placed = Duration::from_secs(30);
    scene.cluster.admin().ask_until(&["create", "t", "1", "1", "min.insync.replicas=1"], placed).unwrap();
    let now = producer.progress().outcomes;
    producer.wait_outcomes(now + 40, PATIENCE).unwrap();
    let history = producer.stop().unwrap();
    let errors: Vec<_> =
        history.outcomes.iter().filter_map(|o| Some((o.seq, o.result.as_ref().err()?))).collect();
    let first_error = errors.first().expect("what was held is told an error").0;
    let acknowledged: Vec<i64> =
        history.outcomes.iter().filter(|o| o.result.is_ok() && o.seq > first_error).map(|o| o.seq).collect();
    assert!(!acknowledged.is_empty());
    let log = scene.cluster.admin().read_topic("t").unwrap();
    let seqs: Vec<i64> = log.iter().map(|r| parse(r.value.as_deref().unwrap()).unwrap().2).collect();
    println!(
        "{sent_before} outcomes before it was deleted; errors {errors:?}; the new topic begins with {:?}",
        seqs.first()
    );
    assert!(
        acknowledged.iter().all(|seq| seqs.contains(seq)),
        "acknowledged {acknowledged:?}\nin the log {seqs:?}\n{}",
        scene.sidecar.log_tail(60)
    );
    // What had been written to the broker that was killed may be in the log that is deleted: that is the honest word for it.
    let told =
        |error: &ClientError| error.class == "UnknownTopicOrPartitionException" || error.is_honest_unknown();
    assert!(errors.iter().all(|(_, error)| told(error)), "{errors:?}");
    assert!(seqs.iter().all(|seq| *seq > first_error), "{seqs:?}");
    assert!(seqs.is_sorted() && !seqs.is_empty(), "{seqs:?}");
    assert!(errors.iter().all(|(seq, _)| !seqs.contains(seq)), "what failed is not there");
}

/// Brokers close connections that are idle for 2 s; the application never hears of it, and no batch is in doubt.
#[test]
fn idle_connections_are_closed_unseen() {
    let spec = Spec::new(KafkaVersion::V4_3_1).fast().set("connections.max.idle.ms", 2000);
    let mut scene = Scene::with(spec, binary(), "", "idempotence = \"off\"").unwrap();
    scene.cluster.create_topic("t", 3, 3, &[]).unwrap();
    scene.cluster.admin().elect_preferred().unwrap();
    let through = scene.front.listen.to_string();
    let spec = ProducerSpec::new("p", &through, "t", 3).rate(0.2).count(7);
    let history = ProducerProgram::start(&spec).unwrap().finish(PATIENCE).unwrap();
    assert!(history.outcomes.iter().all(|outcome| outcome.result.is_ok()), "{:?}", history.outcomes);
    let verdict = judge_producers(&[history], &scene.cluster.admin().read_topic("t").unwrap());
    assert!(verdict.is_exact() && verdict.acked == 7, "{verdict:?}");
    let closed = metric(&scene.sidecar, "upstream_errors_total", &[]);
    assert!(closed > 2.5, "only {closed} connections were closed: nothing was shown");
    assert!(is_zero(metric(&scene.sidecar, "unknown_outcomes_total", &[])));
    assert!(is_zero(metric(&scene.sidecar, "client_errors_total", &[])));
}
