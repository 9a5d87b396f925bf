//! What a partition's answer proves, and so what becomes of it. Pure.
//!
//! Each row was seen on real brokers of 2.8.2, 3.9.2 and 4.3.1.

use super::PRODUCE;
use super::gaps::OUT_OF_ORDER_SEQUENCE_NUMBER;
use crate::kafka::cluster::{TOPIC_LAG, TopicKey};
use crate::kafka::honest::REQUEST_TIMED_OUT;
use crate::kafka::mistake::{Mistake, made};
use crate::kafka::operations::{Absorb, Operation};
use crate::kafka::split::{Again, Item, Judgement, Refusal};
use crate::kafka::wire::{Struct, batch};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// `DUPLICATE_SEQUENCE_NUMBER`.
const DUPLICATE_SEQUENCE_NUMBER: i16 = 46;
/// The first pause before a batch that was refused for want of in-sync replicas goes again.
const CAPACITY_PAUSE: Duration = Duration::from_millis(100);
/// The pause before a refused batch goes again, if its new leader is known by then.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// Whether every batch of a partition's records carries a producer id, so that a broker recognises a repeat.
pub(super) fn is_sequenced(records: Option<&Bytes>) -> bool {
    let Some(records) = records else { return false };
    let mut headers = batch::headers(records);
    let mut some = false;
    for header in headers.by_ref() {
        some = true;
        if !header.is_sequenced() {
            return false;
        }
    }
    some && headers.rest() == 0
}

/// What a decision is made on, besides the partition itself.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is known of it by itself")]
pub(super) struct Look<'a> {
    pub node: i32,
    pub now: Instant,
    pub arrived: Instant,
    pub op: &'static Operation,
    /// Whether the request was stamped as a whole.
    pub stamped: bool,
    /// Whether its acks were raised: followers that are missing or slow send it again with its own at once.
    pub raised: bool,
    /// Whether its client waits for no answer: acks=0 that was raised.
    pub silent: bool,
    /// Whether it goes with acks=all.
    pub for_all: bool,
    /// Partitions of which an earlier batch of this connection is undecided.
    pub behind: &'a [(TopicKey, i32)],
}

impl Look<'_> {
    fn is_behind(&self, item: &Item) -> bool {
        self.behind.iter().any(|(topic, partition)| *topic == item.topic && *partition == item.partition)
    }
}

/// What a partition's answer proves.
pub(super) fn judge(
    look: &Look<'_>,
    item: &Item,
    mut partition: Struct,
    topic_known: &dyn Fn() -> bool,
) -> Judgement {
    let code = partition.i16("error_code");
    let Look { node, now, arrived, op, stamped, raised, .. } = *look;
    let capacity_pause = if raised { Duration::ZERO } else { CAPACITY_PAUSE };
    let produce = op.key == PRODUCE;
    let injected = produce && (stamped || item.counted);
    let sequenced = || is_sequenced(item.request.bytes_field("records"));
    // NOT_LEADER_OR_FOLLOWER with an offset: it was appended before leadership moved. It may survive or be cut off.
    let appended =
        produce && code == 6 && partition.i64("base_offset") >= 0 && !made(Mistake::AppendedTakenForRefused);
    let again = |pause: Duration, elsewhere: bool| Again {
        not_before: now + pause,
        code,
        doubt: false,
        appended: None,
        refused: elsewhere.then_some(Refusal { node, at: now }),
        restamp: false,
        gap: false,
    };
    if item.unproven && matches!(code, 0 | DUPLICATE_SEQUENCE_NUMBER) {
        // The leader has it, and nothing shows that anybody else does: its repeat is recognised, and waits for all.
        return Judgement::Again(Again {
            code: 0,
            doubt: !made(Mistake::UnprovenTakenForUnsent),
            ..again(REFUSED_PAUSE, false)
        });
    }
    match op.absorbed(code) {
        Some(Absorb::Later) if made(Mistake::CapacityPassedOn) => Judgement::Done(partition),
        Some(Absorb::Injected) if injected && made(Mistake::GapTakenForLanded) => {
            Judgement::Done(error_for_success(partition))
        }
        Some(Absorb::Elsewhere) if appended => {
            if sequenced() {
                let offset = partition.i64("base_offset");
                Judgement::Again(Again { doubt: true, appended: Some(offset), ..again(REFUSED_PAUSE, true) })
            } else {
                partition.set_i16("error_code", REQUEST_TIMED_OUT);
                partition.set_i64("base_offset", -1);
                Judgement::Done(partition)
            }
        }
        Some(Absorb::Elsewhere) => Judgement::Again(again(REFUSED_PAUSE, true)),
        // NOT_ENOUGH_REPLICAS, OFFSET_NOT_AVAILABLE: its leader is right, and can't yet.
        Some(Absorb::Later) => Judgement::Again(again(capacity_pause, false)),
        Some(Absorb::TopicKnown) if now.saturating_duration_since(arrived) < TOPIC_LAG && topic_known() => {
            Judgement::Again(again(REFUSED_PAUSE, true))
        }
        // The same two of a raised batch, with its offset: what its client asked for has happened when its leader had appended it. Sent
        // again it would stand behind others that wait for the same followers, each for as long.
        Some(Absorb::Sequenced) if raised && partition.i64("base_offset") >= 0 => {
            Judgement::Done(error_for_success(partition))
        }
        // REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND: it is in the leader's log. Its repeat is recognised.
        Some(Absorb::Sequenced) if sequenced() => Judgement::Again(Again {
            doubt: !made(Mistake::LateTakenForRefused),
            ..again(capacity_pause, false)
        }),
        // OUT_OF_ORDER_SEQUENCE_NUMBER of a batch that may be in the log: `gaps` looks what it proves.
        Some(Absorb::Injected) if code == OUT_OF_ORDER_SEQUENCE_NUMBER && item.doubt && sequenced() => {
            Judgement::Again(Again { gap: true, ..again(Duration::ZERO, false) })
        }
        // OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID of an injected sequence: with at most
        // five undecided, the batch isn't in the log, and a predecessor was refused or cut off. It starts over under the next
        // epoch. So does one of an epoch that is over. Its client knows nothing of sequences, so it is never told of them.
        Some(Absorb::Injected) if injected => {
            let pause = REFUSED_PAUSE * (1 << item.restamps.min(5));
            Judgement::Again(Again { restamp: true, ..again(pause, false) })
        }
        // The same of a client's own sequence, behind a batch that was kept back here: that one made the gap. A client that is told of
        // it by then knows the one before as written, and takes the error for a loss. So this one goes again, behind it.
        Some(Absorb::Injected) if code == OUT_OF_ORDER_SEQUENCE_NUMBER && look.is_behind(item) => {
            Judgement::Again(again(REFUSED_PAUSE, false))
        }
        // DUPLICATE_SEQUENCE_NUMBER, after a replay of our own: it had landed.
        None if produce && code == DUPLICATE_SEQUENCE_NUMBER && item.doubt => {
            Judgement::Done(error_for_success(partition))
        }
        _ => Judgement::Done(partition),
    }
}

fn error_for_success(mut partition: Struct) -> Struct {
    partition.set_i16("error_code", 0);
    partition
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::split::error_for;
    use crate::kafka::split::shape;
    use crate::kafka::wire;

    fn item(sequenced: bool) -> Item {
        let mut request = wire::request(PRODUCE).unwrap().new();
        let mut topic = request.new_struct("topic_data");
        let mut partition = topic.new_struct("partition_data");
        let mut records = vec![0u8; 61];
        records[8..12].copy_from_slice(&49i32.to_be_bytes());
        records[16] = 2;
        let id: i64 = if sequenced { 7 } else { -1 };
        records[43..51].copy_from_slice(&id.to_be_bytes());
        records[53..57].copy_from_slice(&if sequenced { 0i32 } else { -1 }.to_be_bytes());
        partition.set_bytes("records", Some(Bytes::from(records)));
        topic.push_struct("partition_data", partition);
        request.push_struct("topic_data", topic);
        let split = crate::kafka::split::Split::new(shape(PRODUCE).unwrap(), request, Instant::now());
        let mut items: Vec<Item> = split.into_items();
        items.remove(0)
    }

    fn decide(item: &Item, code: i16, base_offset: i64) -> Judgement {
        let mut answer = error_for(shape(PRODUCE).unwrap(), wire::response(PRODUCE).unwrap(), 0, code);
        answer.set_i64("base_offset", base_offset);
        let now = Instant::now();
        let op = crate::kafka::operations::operation(PRODUCE).unwrap();
        let look = Look {
            node: 1,
            now,
            arrived: now,
            op,
            stamped: false,
            raised: false,
            silent: false,
            for_all: true,
            behind: &[],
        };
        judge(&look, item, answer, &|| true)
    }

    fn passed(judgement: Judgement) -> i16 {
        match judgement {
            Judgement::Done(answer) => answer.i16("error_code"),
            Judgement::Again(again) => panic!("{again:?}"),
        }
    }

    fn again(judgement: Judgement) -> Again {
        match judgement {
            Judgement::Again(again) => again,
            Judgement::Done(answer) => panic!("{answer:?}"),
        }
    }

    #[test]
    fn not_leader_without_an_offset_was_not_applied_and_goes_again() {
        let verdict = again(decide(&item(false), 6, -1));
        assert!(!verdict.doubt && verdict.refused.is_some());
    }

    #[test]
    fn not_leader_with_an_offset_is_unknown() {
        assert_eq!(passed(decide(&item(false), 6, 41)), REQUEST_TIMED_OUT, "no sequence: the honest error");
        assert!(again(decide(&item(true), 6, 41)).doubt, "a sequence: the broker recognises the repeat");
    }

    #[test]
    fn a_timeout_is_passed_on_without_a_sequence_and_repeated_with_one() {
        assert_eq!(passed(decide(&item(false), 7, -1)), 7);
        assert!(again(decide(&item(true), 7, -1)).doubt);
    }

    #[test]
    fn what_says_something_true_about_the_client_is_passed_on() {
        for code in [2, 10, 29, 30, 31, 44, 45, 47, 87, 89] {
            assert_eq!(passed(decide(&item(true), code, -1)), code);
        }
    }

    #[test]
    fn a_duplicate_is_success_only_after_a_replay_of_our_own() {
        let mut doubtful = item(true);
        assert_eq!(passed(decide(&doubtful, 46, -1)), 46);
        doubtful.doubt = true;
        assert_eq!(passed(decide(&doubtful, 46, -1)), 0);
    }

    #[test]
    fn too_few_replicas_waits() {
        assert!(again(decide(&item(false), 19, -1)).refused.is_none());
    }

    #[test]
    fn old_message_sets_and_torn_records_are_not_sequenced() {
        assert!(!is_sequenced(Some(&Bytes::from_static(&[0; 40]))));
        assert!(!is_sequenced(Some(&Bytes::from_static(&[0; 5]))));
        assert!(!is_sequenced(None));
    }
}
