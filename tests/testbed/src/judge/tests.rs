//! Bad histories: a judge that can't convict proves nothing.

use super::*;

/// A producer `p` whose records went well, seq 0 to 4 of partition 1, acknowledged each 10 ms.
fn history() -> History {
    let outcomes = (0..5)
        .map(|seq| Outcome {
            partition: 1,
            seq,
            sent_us: seq * 10_000,
            done_us: seq * 10_000 + 2_000,
            result: Ok(seq),
        })
        .collect();
    History { producer: "p".to_owned(), outcomes }
}

fn log(seqs: &[i64]) -> Vec<Record> {
    (0i64..)
        .zip(seqs)
        .map(|(offset, seq)| Record { partition: 1, offset, key: None, value: Some(format!("p|1|{seq}|xx")) })
        .collect()
}

fn error(class: &str, message: &str) -> ClientError {
    ClientError { class: class.to_owned(), message: message.to_owned() }
}

#[test]
fn a_good_history_passes() {
    let verdict = judge_producers(&[history()], &log(&[0, 1, 2, 3, 4]));
    assert!(verdict.is_exact());
    assert_eq!((verdict.sent, verdict.acked, verdict.errors), (5, 5, 0));
    assert_eq!((verdict.longest_pause_us, verdict.max_latency_us), (10_000, 2_000));
}

#[test]
fn a_partition_s_pause_is_not_hidden_by_the_others() {
    let mut history = history();
    for outcome in history.outcomes.iter_mut().skip(1).take(3) {
        outcome.partition = 2;
    }
    let verdict = judge_producers(&[history], &[]);
    assert_eq!((verdict.longest_pause_us, verdict.longest_partition_pause_us), (10_000, 40_000));
}

#[test]
fn a_lost_record_is_caught() {
    let verdict = judge_producers(&[history()], &log(&[0, 1, 3, 4]));
    assert_eq!(verdict.lost, [("p".to_owned(), 1, 2)]);
    assert!(verdict.repeated.is_empty() && verdict.reordered.is_empty() && !verdict.is_exact());
}

#[test]
fn a_repeated_record_is_caught_once_and_is_no_reordering() {
    let verdict = judge_producers(&[history()], &log(&[0, 1, 2, 1, 3, 4]));
    assert_eq!(verdict.repeated, [("p".to_owned(), 1, 1)]);
    assert!(verdict.lost.is_empty() && verdict.reordered.is_empty() && !verdict.is_exact());
}

#[test]
fn a_reordered_record_is_caught() {
    let verdict = judge_producers(&[history()], &log(&[0, 2, 1, 3, 4]));
    assert_eq!(verdict.reordered, [("p".to_owned(), 1, 1)]);
    assert!(verdict.lost.is_empty() && verdict.repeated.is_empty() && !verdict.is_exact());
}

#[test]
fn the_first_record_behind_a_later_one_is_caught() {
    let verdict = judge_producers(&[history()], &log(&[1, 0, 2, 3, 4]));
    assert_eq!(verdict.reordered, [("p".to_owned(), 1, 0)]);
}

#[test]
fn strangers_and_strayed_records_are_caught() {
    let mut records = log(&[0, 1, 2, 3, 4]);
    records.push(Record { partition: 2, offset: 0, key: None, value: Some("p|1|9|".to_owned()) });
    records.push(Record { partition: 1, offset: 9, key: None, value: Some("q|1|0|".to_owned()) });
    records.push(Record { partition: 1, offset: 10, key: None, value: None });
    let verdict = judge_producers(&[history()], &records);
    assert_eq!(verdict.foreign, 3);
    assert!(!verdict.is_exact());
}

#[test]
fn an_error_is_no_loss_and_an_honest_one_is_told_from_others() {
    let mut history = history();
    history.outcomes[1].result = Err(error("TimeoutException", "The request timed out."));
    history.outcomes[2].result = Err(error("TimeoutException", "Expiring 1 record(s) for t-1:30000 ms"));
    history.outcomes[3].result = Err(error("NetworkException", "Disconnected from node 2"));
    let verdict = judge_producers(&[history], &log(&[0, 2, 4]));
    assert!(verdict.is_exact());
    assert_eq!((verdict.errors, verdict.unknown, verdict.dishonest_errors()), (3, 1, 2));
    assert_eq!(verdict.errors_in_log, 1);
    assert_eq!(verdict.by_class["TimeoutException"], 2);
    assert_eq!(verdict.longest_pause_us, 40_000);
}

#[test]
fn each_library_s_own_expiry_is_no_honest_answer() {
    assert!(error("REQUEST_TIMED_OUT", "Broker: Request timed out").is_honest_unknown());
    assert!(!error("_MSG_TIMED_OUT", "Local: Message timed out").is_honest_unknown());
    assert!(error("RequestTimedOutError", "[Error 7] RequestTimedOutError").is_honest_unknown());
    let own = "[Error 7] RequestTimedOutError: Request timed out after 30000 ms";
    assert!(!error("RequestTimedOutError", own).is_honest_unknown());
}

fn records(offsets: &[i64]) -> Vec<ConsumerEvent> {
    let mut events = vec![ConsumerEvent::Assigned { partitions: vec![1], generation: 1 }];
    events.extend(offsets.iter().map(|&offset| ConsumerEvent::Record { partition: 1, offset }));
    events
}

#[test]
fn a_good_consumer_passes() {
    let verdict = judge_consumer(&[records(&[0, 1, 2])], &log(&[0, 1, 2]));
    assert_eq!(verdict, ConsumerVerdict { delivered: 3, ..ConsumerVerdict::default() });
}

#[test]
fn missed_repeated_foreign_and_backward_deliveries_are_caught() {
    let verdict = judge_consumer(&[records(&[0, 2, 1, 2, 7])], &log(&[0, 1, 2, 3]));
    assert_eq!(verdict.missed, [(1, 3)]);
    assert_eq!(verdict.twice, [(1, 2)]);
    assert_eq!((verdict.foreign, verdict.backwards), (1, 1));
}

#[test]
fn a_second_member_s_repeat_and_a_second_assignment_count() {
    let mut second = records(&[1]);
    second.push(ConsumerEvent::Assigned { partitions: vec![], generation: 2 });
    second.push(ConsumerEvent::Lost(vec![1]));
    second
        .push(ConsumerEvent::Failed { call: "commit".to_owned(), error: error("CommitFailedException", "") });
    let verdict = judge_consumer(&[records(&[0, 1]), second], &log(&[0, 1]));
    assert_eq!((verdict.twice.len(), verdict.rebalances), (1, 2));
    assert_eq!(verdict.errors["commit: CommitFailedException"], 1);
}
