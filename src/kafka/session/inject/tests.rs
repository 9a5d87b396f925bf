//! Sequences as they are counted, without a broker.

use super::*;
use crate::kafka::honest::REQUEST_TIMED_OUT;
use crate::kafka::split::{Split, shape};
use crate::kafka::wire::{self, Struct};

const VERSION: i16 = 9;
const US: Producer = Producer { id: 7, epoch: 0 };

fn topic() -> TopicKey {
    TopicKey::Name(Bytes::from_static(b"t"))
}

fn batch_of(magic: u8, attributes: u8, last_offset_delta: i32, producer: i64, sequence: i32) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[8..12].copy_from_slice(&52i32.to_be_bytes());
    bytes[16] = magic;
    bytes[22] = attributes;
    bytes[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
    bytes[43..51].copy_from_slice(&producer.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    bytes
}

fn plain(records: i32) -> Vec<u8> {
    batch_of(2, 0, records - 1, -1, -1)
}

fn request(rows: &[(i32, Vec<u8>)]) -> Struct {
    let mut request = wire::request(0).unwrap().new();
    let mut topic = request.new_struct("topic_data");
    topic.set_str("name", "t");
    for (partition, records) in rows {
        let mut row = topic.new_struct("partition_data");
        row.set_i32("index", *partition);
        row.set_bytes("records", Some(records.clone().into()));
        topic.push_struct("partition_data", row);
    }
    request.push_struct("topic_data", topic);
    request
}

fn body(rows: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    wire::request(0).unwrap().encode(VERSION, &request(rows), &mut out).unwrap();
    out.to_vec()
}

fn injection() -> Injection {
    let mut injection = Injection::new(1, Idempotence::Inject, RaiseAcks::Acks1);
    injection.named = Some(US);
    injection
}

/// What the batches of this request are given.
fn assigned(injection: &mut Injection, rows: &[(i32, Vec<u8>)]) -> Vec<(i64, i32)> {
    injection.assign(VERSION, &body(rows), US);
    injection.plan.iter().map(|(_, _, producer, sequence)| (producer.id, *sequence)).collect()
}

fn next(injection: &Injection) -> i32 {
    injection.sequences[&b"t"[..]][&0].next
}

#[test]
fn sequences_wrap_to_0() {
    assert_eq!(after(0, 0), 1);
    assert_eq!(after(10, 4), 15);
    assert_eq!(after(i32::MAX - 1, 0), i32::MAX);
    assert_eq!(after(i32::MAX, 0), 0);
    assert_eq!(after(i32::MAX - 2, 4), 2);
    assert_eq!(after(i32::MAX, i32::MAX), i32::MAX, "a whole turn less one");
}

#[test]
fn only_one_whole_plain_batch_is_bare() {
    assert!(bare(&plain(3)).is_some_and(|header| header.last_offset_delta == 2));
    let others = [
        ("format 1", batch_of(1, 0, 0, -1, -1)),
        ("format 0", batch_of(0, 0, 0, -1, -1)),
        ("a format to come", batch_of(3, 0, 0, -1, -1)),
        ("its own producer id", batch_of(2, 0, 0, 0, 0)),
        ("transactional", batch_of(2, 0x10, 0, -1, -1)),
        ("control", batch_of(2, 0x20, 0, -1, -1)),
        ("a negative delta", batch_of(2, 0, -1, -1, -1)),
        ("two", [plain(1), plain(1)].concat()),
        ("a tail", [plain(1), vec![0; 3]].concat()),
        ("cut off", plain(1)[..63].to_vec()),
        ("nothing", Vec::new()),
    ];
    for (what, records) in others {
        assert!(bare(&records).is_none(), "{what}");
    }
    assert!(bare(&batch_of(2, 0x0c, 0, -1, -1)).is_some(), "compressed, with the log's time");
}

#[test]
fn what_nobody_else_sees_is_stamped_in_its_place() {
    let frame = BytesMut::from(&[3; 100][..]).freeze();
    let place = frame.as_ptr();
    let mut alone = own(frame);
    alone[0] = 4;
    assert_eq!(alone.as_ptr(), place);
    let shared = alone.freeze();
    let mut copy = own(shared.clone());
    copy[0] = 5;
    assert_eq!((shared[0], copy[0]), (4, 5), "what still waits to be written is not changed");
}

#[test]
fn each_partition_counts_its_records() {
    let mut injection = injection();
    assert_eq!(assigned(&mut injection, &[(0, plain(3)), (1, plain(1))]), [(7, 0), (7, 0)]);
    assert_eq!(assigned(&mut injection, &[(1, plain(1)), (0, plain(2))]), [(7, 1), (7, 3)]);
    assert_eq!(assigned(&mut injection, &[(0, batch_of(2, 0, 0, 5, 9)), (1, plain(1))]), [(7, 2)]);
}

#[test]
fn a_sequence_is_given_back_unless_a_later_one_is_taken() {
    let mut injection = injection();
    assigned(&mut injection, &[(0, plain(2))]);
    assigned(&mut injection, &[(0, plain(3))]);
    let back = |injection: &mut Injection, producer, records, sequence| {
        let records = batch_of(2, 0, records - 1, producer, sequence).into();
        injection.give_back(&topic(), 0, Some(&records));
        next(injection)
    };
    assert_eq!(back(&mut injection, 7, 2, 0), 5, "a later one is taken");
    assert_eq!(back(&mut injection, 8, 3, 2), 5, "of another producer");
    assert_eq!(back(&mut injection, 7, 3, 2), 2);
    assert_eq!(back(&mut injection, 7, 3, 2), 2, "once");
    injection.give_back(&topic(), 0, None);
    injection.give_back(&topic(), 1, Some(&plain(1).into()));
    assert_eq!(next(&injection), 2);
    assert_eq!(assigned(&mut injection, &[(0, plain(1))]), [(7, 2)]);
}

#[test]
fn a_sequence_is_given_back_across_the_wrap() {
    let mut injection = injection();
    assigned(&mut injection, &[(0, plain(1))]);
    injection.sequences.get_mut(&b"t"[..]).unwrap().get_mut(&0).unwrap().next = i32::MAX;
    assert_eq!(assigned(&mut injection, &[(0, plain(4))]), [(7, i32::MAX)]);
    assert_eq!(next(&injection), 3);
    injection.give_back(&topic(), 0, Some(&batch_of(2, 0, 3, 7, i32::MAX).into()));
    assert_eq!(next(&injection), i32::MAX);
}

#[test]
fn a_partition_has_room_for_five() {
    let mut injection = injection();
    let (zero, one) = (body(&[(0, plain(1))]), body(&[(1, plain(1))]));
    assigned(&mut injection, &[(0, plain(1))]);
    assert!(!injection.has_room(VERSION, &zero), "the first goes alone");
    injection.decided_whole(VERSION, &zero);
    for _ in 0..REMEMBERED {
        assert!(injection.has_room(VERSION, &zero) && !injection.sequences[&b"t"[..]][&0].is_full());
        assigned(&mut injection, &[(0, plain(1))]);
    }
    assert!(!injection.has_room(VERSION, &zero) && injection.sequences[&b"t"[..]][&0].is_full());
    assert!(injection.has_room(VERSION, &one), "another partition has its own");
    injection.decided_whole(VERSION, &zero);
    assert!(injection.has_room(VERSION, &zero));
    assigned(&mut injection, &[(0, plain(1))]);
    assert!(!injection.has_room(VERSION, &zero));
    injection.decided_item(&topic(), 0);
    assert!(injection.has_room(VERSION, &zero));
    for _ in 0..10 {
        injection.decided_item(&topic(), 0);
    }
    assert_eq!(injection.sequences[&b"t"[..]][&0].undecided, 0);
}

#[test]
fn parts_that_found_no_room_go_together() {
    let mut injection = injection();
    assigned(&mut injection, &[(0, plain(1))]);
    injection.decided_item(&topic(), 0);
    let keeps_back =
        |injection: &mut Injection| injection.known_mut(b"t", 0).is_some_and(Sequence::keeps_back);
    for _ in 0..4 {
        assigned(&mut injection, &[(0, plain(1))]);
        assert!(!keeps_back(&mut injection));
    }
    injection.decided_item(&topic(), 0);
    assert!(!keeps_back(&mut injection), "there was room for all");
    assigned(&mut injection, &[(0, plain(1))]);
    assigned(&mut injection, &[(0, plain(1))]);
    for _ in 0..5 {
        assert!(keeps_back(&mut injection));
        injection.decided_item(&topic(), 0);
    }
    assert!(!keeps_back(&mut injection), "nothing is out");
}

#[test]
fn a_part_goes_under_the_producer_of_its_partition() {
    let mut injection = injection();
    let part = |injection: &mut Injection, records: Vec<u8>, restamp| {
        let split = Split::new(shape(0).unwrap(), request(&[(0, records)]), Instant::now());
        let mut item = split.into_items().remove(0);
        item.restamp = restamp;
        injection.producer_for(&item)
    };
    let under = |id, epoch| Some(Producer { id, epoch });
    injection.named = None;
    assert_eq!(part(&mut injection, plain(1), false), None, "it may be handed out any moment");
    injection.named = Some(US);
    assert_eq!(part(&mut injection, plain(1), false), under(7, 0), "the first of its partition");
    assigned(&mut injection, &[(0, plain(1))]);
    assert_eq!(part(&mut injection, batch_of(2, 0, 0, 5, 0), false), under(5, 0), "its own");
    assert_eq!(part(&mut injection, batch_of(2, 0, 0, 7, 0), true), None, "the first behind a gap");
    of_partition(&mut injection, 0).producer.epoch = 1;
    assert_eq!(part(&mut injection, batch_of(2, 0, 0, 7, 0), true), under(7, 1), "those behind it");
    assert_eq!(
        part(&mut injection, batch_of(2, 0, 0, 7, 0), false),
        under(7, 0),
        "not known to be behind a gap"
    );
    assert_eq!(part(&mut injection, plain(1), false), under(7, 1));
    of_partition(&mut injection, 0).unproven = true;
    assert_eq!(part(&mut injection, plain(1), false), None, "nothing under this epoch is in the log");
    injection.on = false;
    assert_eq!(part(&mut injection, plain(1), false), Some(Producer::NONE));
}

fn of_partition(injection: &mut Injection, partition: i32) -> &mut Sequence {
    injection.sequences.get_mut(&b"t"[..]).unwrap().get_mut(&partition).unwrap()
}

#[test]
fn what_comes_late_of_an_epoch_that_is_over_changes_nothing() {
    let mut injection = injection();
    assigned(&mut injection, &[(0, plain(2))]);
    let sequence = of_partition(&mut injection, 0);
    (sequence.producer.epoch, sequence.unproven) = (1, true);
    injection.give_back(&topic(), 0, Some(&batch_of(2, 0, 1, 7, 0).into()));
    assert_eq!(next(&injection), 2, "the same sequences, of another epoch");
    let under = |epoch: i16| {
        let mut batch = batch_of(2, 0, 1, 7, 0);
        batch[51..53].copy_from_slice(&epoch.to_be_bytes());
        Bytes::from(batch)
    };
    injection.landed(&topic(), 0, Some(&under(0)));
    assert!(of_partition(&mut injection, 0).unproven);
    injection.landed(&topic(), 0, Some(&under(1)));
    assert!(!of_partition(&mut injection, 0).unproven);
}

/// Answers that come with the first count once; who is slow again and again is left alone for longer.
#[test]
fn acks_are_lowered_for_longer_where_followers_stay_slow() {
    let (mut sequence, begin) = (Sequence::new(US), Instant::now());
    let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
    let mut lowered = Vec::new();
    for second in 0..200 {
        let now = at(f64::from(second));
        if !sequence.is_lowered(now) {
            sequence.lower(REQUEST_TIMED_OUT, now);
            sequence.lower(REQUEST_TIMED_OUT, now + Duration::from_millis(1));
            lowered.push(second);
        }
    }
    assert_eq!(lowered, [0, 6, 12, 18, 24, 30, 41, 52, 63, 84, 105, 136, 167, 198]);
    let long_after = at(400.0);
    sequence.lower(REQUEST_TIMED_OUT, long_after);
    assert!(sequence.is_lowered(long_after + Duration::from_millis(4_900)));
    assert!(!sequence.is_lowered(long_after + Duration::from_secs(5)));
    for missing in [19, 20] {
        let mut sequence = Sequence::new(US);
        sequence.lower(missing, begin);
        assert!(sequence.is_lowered(at(0.9)) && !sequence.is_lowered(at(1.0)), "{missing}");
    }
    sequence.lower(REQUEST_TIMED_OUT, at(500.0));
    sequence.lower(19, at(500.0));
    assert!(sequence.is_lowered(at(504.9)), "a missing one makes no less of it");
}

#[test]
fn what_was_given_up_counts_until_a_later_batch_lands() {
    let mut injection = injection();
    assigned(&mut injection, &[(0, plain(2))]);
    let at = |sequence: i32| Bytes::from(batch_of(2, 0, 1, 7, sequence));
    let open = |injection: &Injection, producer: Producer| {
        let body = request(&[(0, at(0).to_vec())]);
        let mut item = Split::new(shape(0).unwrap(), body, Instant::now()).into_items().remove(0);
        item.producer = producer;
        injection.has_given_up(&item)
    };
    assert!(!open(&injection, US), "nothing was given up");
    injection.give_up(&topic(), 0, Some(&at(i32::MAX - 1)));
    injection.landed(&topic(), 0, Some(&at(i32::MAX - 3)));
    assert!(open(&injection, US), "what landed stands before it");
    injection.give_up(&topic(), 0, Some(&at(2)));
    injection.give_up(&topic(), 0, Some(&at(0)));
    injection.landed(&topic(), 0, Some(&at(2)));
    assert!(open(&injection, US), "the last of them counts, and sequences wrap");
    injection.landed(&topic(), 0, Some(&at(4)));
    assert!(!open(&injection, US), "what is behind it can only stand behind it");
    injection.give_up(&topic(), 0, Some(&at(6)));
    assert!(!open(&injection, Producer { id: 7, epoch: 1 }), "another epoch's");
    of_partition(&mut injection, 0).producer.epoch = 1;
    assert!(!open(&injection, US), "of an epoch that is over");
}

#[test]
fn an_identity_is_left_once_under_the_highest_epoch_of_any_partition() {
    let mut injection = injection();
    assigned(&mut injection, &[(0, plain(1)), (1, plain(1)), (2, plain(1))]);
    of_partition(&mut injection, 1).producer.epoch = 2;
    of_partition(&mut injection, 1).undecided = 0;
    of_partition(&mut injection, 2).producer = Producer { id: 8, epoch: 0 };
    of_partition(&mut injection, 2).undecided = 0;
    assert_eq!(injection.left(), [Producer { id: 7, epoch: 2 }], "one of partition 0 is undecided");
    of_partition(&mut injection, 0).undecided = 0;
    assert_eq!(injection.left(), []);
    of_partition(&mut injection, 2).given_up = Some(1);
    assert_eq!(injection.left(), [Producer { id: 8, epoch: 0 }], "it may lie unread at a broker");
}

#[test]
fn an_identity_is_used_up_at_its_last_epoch() {
    let at = |epoch| Producer { id: 7, epoch };
    assert_eq!(at(0).bumped(), Some(at(1)));
    assert_eq!(at(i16::MAX - 2).bumped(), Some(at(i16::MAX - 1)));
    assert_eq!((at(i16::MAX - 1).bumped(), at(i16::MAX).bumped()), (None, None));
}

#[test]
fn what_landed_is_forgotten_before_sequences_come_round_to_it() {
    let mut sequence = Sequence::new(US);
    sequence.landed(5);
    sequence.next = 1 << 29;
    sequence.take(0);
    assert!(sequence.has_landed_behind(0) && !sequence.has_landed_behind(6));
    assert!(sequence.has_landed_behind(6 + (1 << 30)), "which is why");
    sequence.next = (1 << 29) + 5;
    sequence.take(0);
    assert_eq!(sequence.landed, None);
    assert!(!sequence.has_landed_behind(6 + (1 << 30)));
}

#[test]
fn what_ends_unwritten_gives_its_sequence_back_or_breaks_the_row() {
    let mut injection = injection();
    assigned(&mut injection, &[(0, plain(2)), (1, plain(1))]);
    assigned(&mut injection, &[(0, plain(2))]);
    let at = |base: i32| Bytes::from(batch_of(2, 0, 1, 7, base));
    injection.end(&topic(), 0, Some(&at(2)), false);
    assert_eq!(next(&injection), 2, "the last one: nothing has taken a later one");
    assert!(!of_partition(&mut injection, 0).broken);
    assigned(&mut injection, &[(0, plain(2))]);
    injection.end(&topic(), 0, Some(&at(0)), false);
    assert!(of_partition(&mut injection, 0).broken, "a later one would meet the gap");
    assert!(
        of_partition(&mut injection, 0).is_full(),
        "the one that begins anew waits for those that are out"
    );
    assert!(!of_partition(&mut injection, 1).broken);
    injection.end(&topic(), 1, Some(&Bytes::from(batch_of(2, 0, 0, 7, 0))), true);
    assert!(of_partition(&mut injection, 1).broken, "the last one, and its sequence was refused");
}

/// Neither another epoch nor another id: what starts over waits a while, and goes as its client sent it; until there is an id again.
#[test]
fn a_batch_whose_identity_is_used_up_is_not_kept_for_another_for_ever() {
    let crate::config::Config { net, limits, hold, retry, .. } = crate::config::Config::default();
    let kafka = crate::config::Kafka::default();
    let cluster = Cluster::modelled(&crate::kafka::cluster::Settings { net, limits, hold, retry, kafka });
    let (mut injection, start) = (injection(), Instant::now());
    let last = Producer { id: 7, epoch: i16::MAX - 1 };
    injection.named = Some(last);
    let mut items =
        Split::new(shape(0).unwrap(), request(&[(0, plain(1)), (0, plain(1))]), start).into_items();
    let sent = |item: &Item| {
        let records = item.request.bytes_field("records").cloned().unwrap();
        let header = batch::headers(&records).next().unwrap();
        (of_header(&header), header.base_sequence)
    };
    let [first, second] = &mut items[..] else { panic!("two") };
    assert!(injection.stamp_item(&cluster, first, start));
    assert_eq!(sent(first), (last, 0));
    first.restamp = true;
    assert!(!injection.stamp_item(&cluster, first, start), "another id is asked for");
    assert!(!injection.stamp_item(&cluster, first, start + PATIENCE));
    let late = start + PATIENCE + Duration::from_millis(1);
    assert!(injection.stamp_item(&cluster, first, late));
    assert_eq!((sent(first), first.producer, first.restamp), ((Producer::NONE, -1), Producer::NONE, false));
    // One that is handed out late serves what comes then.
    let next = Producer { id: 9, epoch: 0 };
    cluster.grant(next);
    injection.decided_item(&topic(), 0);
    of_partition(&mut injection, 0).broken = true;
    assert!(injection.stamp_item(&cluster, second, late));
    assert_eq!(sent(second), (next, 0));
    assert_eq!(injection.asked, None, "the next time it waits again");
}
