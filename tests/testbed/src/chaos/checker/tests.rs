//! A checker that can't fail proves nothing: each kind of bad history is found, and only that; a good one passes.

use std::collections::BTreeSet;

use super::*;
use crate::admin::Record;
use crate::chaos::history::{Reader, Seen, Writer, metrics};
use crate::judge::{ClientError, ConsumerEvent, Outcome};

const S: i64 = 1_000_000;
/// As Evenkeel writes it.
const TOLD: &str = "WARN evenkeel::unknown_outcome: unknown outcome cluster=\"bed\" api=\"Produce\" topic=\"chaos\" action=\"told\" code=7";

fn event(what: &str, class: Class, start: i64, end: i64) -> Event {
    Event {
        what: what.to_owned(),
        class,
        start_us: start * S,
        end_us: end * S,
        whole_us: end * S,
        served_us: end * S,
        skipped: None,
    }
}

/// Two producers write a record a second to each of two partitions for 100 s. From 20 to 25 there is a soft event, from 40 to
/// 65 a hard one, in which partition 0 is away for `outage` seconds. Writes to it end when it is back.
fn good(outage: i64) -> Run {
    let mut run = Run {
        events: vec![event("SIGTERM", Class::Soft, 20, 25), event("SIGKILL", Class::Hard, 40, 65)],
        outages: [(0, vec![(41 * S, (41 + outage) * S)]), (1, Vec::new())].into(),
        ..Run::default()
    };
    let mut ends = [0, 0];
    for name in ["one", "two"] {
        run.writers.push(Writer { name: name.to_owned(), sent: Some(200), ..Writer::default() });
    }
    for seq in 0..100 {
        for partition in 0..2 {
            for writer in &mut run.writers {
                let sent_us = seq * S;
                let away = partition == 0 && (41..41 + outage).contains(&seq);
                let done_us = if away { (41 + outage) * S } else { sent_us + 5000 };
                let offset: i64 = ends[usize::try_from(partition).unwrap()];
                ends[usize::try_from(partition).unwrap()] += 1;
                writer.outcomes.push(Outcome { partition, seq, sent_us, done_us, result: Ok(offset) });
                let value = Some(format!("{}|{partition}|{seq}|xxx", writer.name));
                run.log.push(Record { partition, offset, key: None, value });
            }
        }
    }
    run.log.sort_by_key(|record| (record.partition, record.offset));
    for (number, name) in ["group-1", "group-2"].into_iter().enumerate() {
        let partition = i32::try_from(number).unwrap();
        let mut events = vec![Seen {
            at_us: 0,
            event: ConsumerEvent::Assigned { partitions: vec![partition], generation: 1 },
            value: String::new(),
        }];
        for record in run.log.iter().filter(|record| record.partition == partition) {
            events.push(Seen {
                at_us: record.offset * S / 2 + 10_000,
                event: ConsumerEvent::Record { partition, offset: record.offset },
                value: record.value.clone().unwrap().replace("xxx", ""),
            });
        }
        run.readers.push(Reader { name: name.to_owned(), group: "group".to_owned(), events });
    }
    run.metrics = metrics(
        "evenkeel_hold_started_total{trigger=\"leader\"} 7\nevenkeel_hold_ended_total{reason=\"released\"} 5\n\
         evenkeel_hold_ended_total{reason=\"expired\"} 2\nevenkeel_hold_requests{cluster=\"bed\"} 0\n\
         evenkeel_request_seconds_count{api=\"Produce\"} 90\nevenkeel_kafka_injected_batches_total{cluster=\"bed\"} 80\n\
         evenkeel_client_errors_total{code=\"NOT_LEADER_OR_FOLLOWER\"} 0\nevenkeel_unknown_outcomes_total{action=\"error\"} 0\n",
    );
    run
}

/// The kinds of what is wrong with it.
fn kinds(run: &Run) -> BTreeSet<Kind> {
    check(run, &Rules::default()).breaches.into_iter().map(|breach| breach.kind).collect()
}

/// What is found after a change of a good history.
fn spoiled(change: impl FnOnce(&mut Run)) -> Vec<Kind> {
    let mut run = good(10);
    change(&mut run);
    kinds(&run).into_iter().collect()
}

fn fail(run: &mut Run, partition: i32, seq: i64, class: &str, message: &str, after: i64) {
    let outcomes = &mut run.writers[0].outcomes;
    let outcome = outcomes.iter_mut().find(|o| (o.partition, o.seq) == (partition, seq)).unwrap();
    outcome.done_us = outcome.sent_us + after * S;
    outcome.result = Err(ClientError { class: class.to_owned(), message: message.to_owned() });
}

/// The first writer's record (partition 0, `seq`) in the log.
fn at(run: &Run, seq: i64) -> usize {
    let value = format!("one|0|{seq}|xxx");
    run.log.iter().position(|record| record.value.as_deref() == Some(value.as_str())).unwrap()
}

/// Shifts what comes after a hole or an addition: offsets are as the log has them, for producers and readers alike.
fn renumber(run: &mut Run) {
    let mut next = std::collections::HashMap::new();
    for record in &mut run.log {
        let end = next.entry(record.partition).or_insert(0);
        record.offset = *end;
        *end += 1;
    }
    let log = run.log.clone();
    let place = |name: &str, partition: i32, seq: i64| {
        let value = format!("{name}|{partition}|{seq}|xxx");
        log.iter()
            .find(|r| r.partition == partition && r.value.as_deref() == Some(value.as_str()))
            .map(|r| r.offset)
    };
    for writer in &mut run.writers {
        for outcome in &mut writer.outcomes {
            if let (Ok(offset), Some(there)) =
                (&mut outcome.result, place(&writer.name, outcome.partition, outcome.seq))
            {
                *offset = there;
            }
        }
    }
    for (number, reader) in run.readers.iter_mut().enumerate() {
        let partition = i32::try_from(number).unwrap();
        reader.events.truncate(1);
        reader.events.extend(log.iter().filter(|r| r.partition == partition).map(|record| Seen {
            at_us: record.offset * S / 2 + 10_000,
            event: ConsumerEvent::Record { partition, offset: record.offset },
            value: record.value.clone().unwrap().replace("xxx", ""),
        }));
    }
}

#[test]
fn a_good_history_passes_with_its_figures() {
    let verdict = check(&good(10), &Rules::default());
    assert_eq!(verdict.breaches, []);
    let [one, two] = &verdict.writes[..] else { panic!("{verdict:?}") };
    assert_eq!((one.sent, one.acked, one.lost, two.sent), (200, 200, 0, 200));
    // From the success at 40 s to the one at 51 s, of which the partition was away for 10 s.
    assert_eq!((one.stall_us / S, one.outage_us / S, one.excess_us <= 2 * S), (10, 10, true));
    let [group] = &verdict.readers[..] else { panic!("{verdict:?}") };
    assert_eq!((group.members, group.delivered, group.rebalances), (2, 400, 0));
}

#[test]
fn a_lost_record_is_found() {
    let found = spoiled(|run| {
        let index = at(run, 30);
        run.log.remove(index);
        renumber(run);
    });
    assert_eq!(found, [Kind::Lost]);
}

#[test]
fn a_repeated_record_is_found() {
    let found = spoiled(|run| {
        let index = at(run, 30);
        let copy = run.log[index].clone();
        run.log.insert(index + 3, copy);
        renumber(run);
    });
    assert_eq!(found, [Kind::Repeated]);
}

#[test]
fn a_reordered_record_is_found_though_the_other_producers_are_not() {
    let found = spoiled(|run| {
        let (a, b) = (at(run, 30), at(run, 31));
        run.log.swap(a, b);
        renumber(run);
    });
    assert_eq!(found, [Kind::Reordered]);
    // Two producers have no order between them.
    let found = spoiled(|run| {
        let index = at(run, 30);
        run.log.swap(index, index + 1);
        renumber(run);
    });
    assert_eq!(found, []);
}

#[test]
fn a_record_at_another_offset_than_acknowledged_is_found() {
    assert_eq!(spoiled(|run| run.writers[1].outcomes[4].result = Ok(77)), [Kind::Misplaced]);
}

#[test]
fn strangers_in_the_log_are_found() {
    for value in [None, Some("three|0|1|"), Some("one|1|30|"), Some("one|0|100|"), Some("nonsense")] {
        let found = spoiled(|run| {
            let index = at(run, 99);
            let mut record = run.log[index].clone();
            record.value = value.map(str::to_owned);
            // Behind the partition's last one, so that no offset moves.
            record.offset += 2;
            run.log.insert(index + 2, record.clone());
            run.readers[0].events.push(Seen {
                at_us: 99 * S,
                event: ConsumerEvent::Record { partition: 0, offset: record.offset },
                value: value.unwrap_or_default().to_owned(),
            });
        });
        assert_eq!(found, [Kind::Foreign], "{value:?}");
    }
}

#[test]
fn an_operation_without_an_end_is_found() {
    assert_eq!(spoiled(|run| run.writers[0].sent = Some(201)), [Kind::Unended]);
    assert_eq!(spoiled(|run| run.writers[0].sent = None), [Kind::Unended]);
    let twice = |run: &mut Run| {
        let outcome = run.writers[0].outcomes[7].clone();
        run.writers[0].outcomes[8] = outcome;
    };
    assert!(spoiled(twice).contains(&Kind::Unended));
}

#[test]
fn an_error_is_excused_by_a_long_outage_of_its_own_partition_alone() {
    let error = |partition, seq, after, outage| {
        let mut run = good(outage);
        fail(&mut run, partition, seq, "RemoteDisconnected", "", after);
        kinds(&run).into_iter().collect::<Vec<_>>()
    };
    // Partition 0 was away from 41 s on.
    assert_eq!(error(0, 42, 20, 21), [], "away for longer than the bound");
    assert_eq!(error(0, 42, 10, 10), [Kind::Error], "away for a time that is held");
    assert_eq!(error(0, 42, 5, 21), [Kind::Error], "too early: the bound was not over");
    assert_eq!(error(1, 42, 20, 21), [Kind::Error], "another partition was away");
    assert_eq!(error(0, 22, 1, 21), [Kind::Error], "at a soft event");
    assert_eq!(error(0, 80, 1, 21), [Kind::Error], "outside of events");
    assert_eq!(error(0, 38, 0, 21), [Kind::Error], "before any of it");
}

#[test]
fn errors_are_counted_where_they_were() {
    let mut run = good(21);
    for (seq, after) in [(21, 1), (43, 20), (45, 2), (80, 0), (90, 0)] {
        fail(&mut run, 0, seq, "RemoteDisconnected", "", after);
    }
    let verdict = check(&run, &Rules::default());
    let one = &verdict.writes[0];
    assert_eq!((one.soft_errors, one.hard_errors, one.excused, one.other_errors), (1, 1, 1, 2));
    assert!(verdict.breaches.iter().any(|b| b.text.contains("at the soft event \"SIGTERM\"")), "{verdict:?}");
}

#[test]
fn a_stall_that_no_outage_explains_is_found() {
    let late = |partition: i32| {
        move |run: &mut Run| {
            for outcome in &mut run.writers[0].outcomes {
                if outcome.partition == partition && (42..60).contains(&outcome.seq) {
                    outcome.done_us = 60 * S;
                }
            }
        }
    };
    // Partition 0 was away for 10 s of these 19, partition 1 never.
    assert_eq!(spoiled(late(0)), [Kind::Stall]);
    assert_eq!(spoiled(late(1)), [Kind::Stall]);
    let mut run = good(20);
    late(0)(&mut run);
    assert_eq!(kinds(&run).into_iter().collect::<Vec<_>>(), []);
    // One that lasts until the end counts as well.
    let never = spoiled(|run| {
        for seq in 85..100 {
            fail(run, 1, seq, "RemoteDisconnected", "", 0);
        }
    });
    assert_eq!(never, [Kind::Error, Kind::Stall]);
}

#[test]
fn what_readers_must_not_see_is_found() {
    let record = |at_us, offset| {
        let value = String::new();
        Seen { at_us, event: ConsumerEvent::Record { partition: 0, offset }, value }
    };
    assert_eq!(spoiled(|run| drop(run.readers[0].events.remove(50))), [Kind::Missed]);
    assert_eq!(spoiled(|run| run.readers[0].events.swap(50, 51)), [Kind::Backwards]);
    assert_eq!(spoiled(|run| run.readers[0].events[50].value = "one|0|3|".to_owned()), [Kind::Garbled]);
    assert_eq!(spoiled(|run| run.readers[0].events.push(record(99 * S, 5000))), [Kind::Garbled]);
    let again = |at: i64, rebalanced: bool| {
        spoiled(move |run| {
            if rebalanced {
                let event = ConsumerEvent::Assigned { partitions: vec![0], generation: 2 };
                run.readers[1].events.push(Seen { at_us: (at - 2) * S, event, value: String::new() });
            }
            let mut copy = run.readers[0].events[20].clone();
            copy.at_us = at * S;
            run.readers[0].events.push(copy);
        })
    };
    assert_eq!((again(23, false), again(90, false)), (vec![Kind::Twice], vec![Kind::Twice]));
    assert_eq!(again(23, true), [Kind::Twice, Kind::Rebalance]);
    assert_eq!(again(50, false), [Kind::Twice], "its position was set back");
    assert_eq!(again(50, true), [], "after a kill a member may be replaced before it commits");
}

#[test]
fn who_ends_last_may_be_given_what_the_others_had() {
    let given = |left: i64, at: i64| {
        let mut run = good(10);
        let mut add = |reader: usize, at: i64, event: ConsumerEvent| {
            run.readers[reader].events.push(Seen { at_us: at, event, value: String::new() });
        };
        add(0, left, ConsumerEvent::Revoked(vec![0]));
        add(1, at, ConsumerEvent::Assigned { partitions: vec![0, 1], generation: 3 });
        kinds(&run).into_iter().collect::<Vec<_>>()
    };
    let end = 1000 * S;
    assert_eq!(given(end, end + 1), []);
    assert_eq!(given(end, end - 1), [Kind::Rebalance], "before anybody had left");
    assert_eq!(given(22 * S, 22 * S + 1), [Kind::Rebalance], "in the middle");
}

#[test]
fn a_rebalance_or_a_failed_call_of_a_reader_is_found() {
    let add = |at: i64, outage: i64, event: ConsumerEvent| {
        let mut run = good(outage);
        run.readers[0].events.push(Seen { at_us: at * S, event, value: String::new() });
        kinds(&run).into_iter().collect::<Vec<_>>()
    };
    let assigned = || ConsumerEvent::Assigned { partitions: vec![0], generation: 2 };
    assert_eq!(add(22, 10, assigned()), [Kind::Rebalance]);
    assert_eq!(add(30, 10, ConsumerEvent::Lost(vec![0])), [Kind::Rebalance]);
    assert_eq!(add(50, 10, assigned()), [], "at a hard event");
    assert_eq!(add(10, 10, assigned()), [], "while the group forms");
    let failed = || ConsumerEvent::Failed {
        call: "commit".to_owned(),
        error: ClientError { class: "TimeoutException".to_owned(), message: String::new() },
    };
    assert_eq!(add(22, 22, failed()), [Kind::ReaderError]);
    assert_eq!(add(50, 10, failed()), [Kind::ReaderError]);
    assert_eq!(add(62, 22, failed()), []);
}

#[test]
fn counters_that_tell_another_story_are_found() {
    let set = |name: &str, value: f64| {
        let name = format!("evenkeel_{name}");
        spoiled(move |run| _ = run.metrics.insert(name, value))
    };
    let wrong = [Kind::Counter];
    assert_eq!(set("hold_ended_total{reason=\"cancelled\"}", 1.0), wrong, "more ended than started");
    assert_eq!(set("hold_started_total{trigger=\"order\"}", 1.0), wrong, "one never ended");
    assert_eq!(set("hold_bytes{cluster=\"bed\"}", 512.0), wrong, "bytes are left");
    assert_eq!(set("client_connections{cluster=\"bed\"}", 1.0), wrong, "a connection is left");
    assert_eq!(set("client_errors_total{code=\"REQUEST_TIMED_OUT\"}", 1.0), wrong, "nobody saw it");
    assert_eq!(set("request_seconds_count{api=\"Produce\"}", 401.0), wrong, "more requests than records");
    assert_eq!(set("kafka_injected_batches_total{cluster=\"bed\"}", 0.0), wrong, "nothing was stamped");
    assert_eq!(spoiled(|run| run.metrics.clear()), wrong, "no counters at all");
    let log = |line: &str| {
        let line = line.to_owned();
        spoiled(move |run| run.sidecar_log.push(line))
    };
    assert_eq!(log(TOLD), wrong, "nobody saw it");
    assert_eq!(log("thread 'main' panicked at src/main.rs"), [Kind::Panic]);
}

#[test]
fn errors_that_clients_saw_are_counted() {
    let unknown = |change: fn(&mut Run)| {
        let mut run = good(21);
        fail(&mut run, 0, 42, "TimeoutException", "The request timed out.", 20);
        change(&mut run);
        kinds(&run).into_iter().collect::<Vec<_>>()
    };
    let said = |run: &mut Run| {
        run.sidecar_log.push(TOLD.to_owned());
        run.metrics.insert("evenkeel_unknown_outcomes_total{action=\"error\"}".to_owned(), 1.0);
    };
    assert_eq!(unknown(|_| {}), [Kind::Counter], "told to a client, and neither logged nor counted");
    assert_eq!(unknown(said), []);
    assert_eq!(unknown(|run| run.sidecar_log.push(TOLD.to_owned())), [Kind::Counter]);
    let mut run = good(21);
    fail(&mut run, 0, 42, "NotLeaderOrFollowerException", "", 20);
    assert!(kinds(&run).contains(&Kind::Counter));
    run.metrics.insert("evenkeel_client_errors_total{code=\"NOT_LEADER_OR_FOLLOWER\"}".to_owned(), 1.0);
    assert!(kinds(&run).is_empty());
}

/// A leader whose followers can't reach it has a leader in all metadata, and takes no writes for twice the time at most.
#[test]
fn a_leader_cut_off_from_its_followers_is_away_for_twice_that_time() {
    let stalled = |what: &str, away: i64| {
        let mut run = good(away);
        run.outages.clear();
        run.events = vec![event(what, Class::Hard, 41, 46)];
        let found = check(&run, &Rules::default()).breaches;
        found.iter().any(|breach| breach.kind == Kind::Stall)
    };
    assert!(!stalled("cut off from brokers of the leader of 0", 12));
    assert!(stalled("cut off from brokers of the leader of 0", 18), "longer than that");
    assert!(stalled("SIGTERM of the leader of 0", 12), "another event");
}

#[test]
fn a_client_that_is_never_served_again_is_found() {
    assert_eq!(spoiled(|run| run.events[1].served_us = 0), [Kind::Unserved]);
    let skipped = |run: &mut Run| {
        run.events[1].served_us = 0;
        run.events[1].skipped = Some("not here".to_owned());
    };
    assert_eq!(spoiled(skipped), []);
}
