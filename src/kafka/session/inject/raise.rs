//! What acks stamped batches go with: a client's 1, and its 0 where that is raised, too, as all, for as long as followers keep up.

use super::{Injection, bare};
use crate::config::RaiseAcks;
use crate::kafka::session::slot::Raised;
use crate::kafka::split::Item;
use bytes::BytesMut;

/// What a raised request is sent with, so that a slow follower raises an error while there is time for the fallback.
pub(super) const RAISED_TIMEOUT_MS: i32 = 5_000;

/// What a request goes with in place of what its client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka::session) struct Goes {
    /// Its acks: -1 (all) or 1.
    pub acks: i16,
    /// How long its broker waits for followers, in milliseconds.
    pub timeout_ms: i32,
    /// What that makes of it.
    pub raised: Raised,
}

impl Goes {
    /// Writes it into a request whose acks are there. The two fields stand next to each other in every version.
    pub(super) fn write(self, frame: &mut BytesMut, at: usize) {
        let fields = self.acks.to_be_bytes().into_iter().chain(self.timeout_ms.to_be_bytes());
        if let Some(place) = frame.get_mut(at..at + 6) {
            place.iter_mut().zip(fields).for_each(|(byte, new)| *byte = new);
        }
    }
}

impl Injection {
    /// Whether acks=0 of what is stamped is raised, too.
    pub(in crate::kafka::session) fn raises_silent(&self) -> bool {
        self.raise == RaiseAcks::All
    }

    /// What a stamped request with these acks and this time-out goes with; nothing if it goes as it came. `lowered`: raised ones of its
    /// partitions had to fall back lately. acks=0 has a fallback to 1: without an answer a sequence can't be known. Nor does its
    /// time-out say anything, which brokers don't look at.
    pub(in crate::kafka::session) fn goes(&self, acks: i16, timeout_ms: i32, lowered: bool) -> Option<Goes> {
        let (acks, timeout_ms, raised) = match (acks, self.raise, lowered) {
            (1, RaiseAcks::Acks1 | RaiseAcks::All, false) => {
                (-1, timeout_ms.min(RAISED_TIMEOUT_MS), Raised::Up)
            }
            (0, RaiseAcks::All, false) => (-1, RAISED_TIMEOUT_MS, Raised::Up),
            (0, RaiseAcks::All, true) => (1, timeout_ms, Raised::Down),
            _ => return None,
        };
        Some(Goes { acks, timeout_ms, raised })
    }
}

/// Whether a part is one that is stamped here, or was.
pub(in crate::kafka::session) fn is_ours(item: &Item) -> bool {
    item.counted || item.request.bytes_field("records").is_some_and(|records| bare(records).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Idempotence, Kafka};
    use crate::kafka::cluster::{Cluster, Producer, Settings};
    use crate::kafka::honest::REQUEST_TIMED_OUT;
    use crate::kafka::session::inject::Stamped;
    use crate::kafka::wire::{self, batch, produce};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const VERSION: i16 = 9;

    /// An injection that raises these, with an id, and its cluster.
    fn raising(which: RaiseAcks) -> (Injection, Arc<Cluster>) {
        let Config { net, limits, hold, retry, .. } = Config::default();
        let settings = Settings { net, limits, hold, retry, kafka: Kafka::default() };
        let mut injection = Injection::new(1, Idempotence::Inject, which);
        injection.named = Some(Producer { id: 7, epoch: 0 });
        (injection, Cluster::modelled(&settings))
    }

    /// A request of batches of one record, by their producer ids; each has a partition of its own, from 0 on.
    fn request(acks: i16, timeout_ms: i32, producers: &[i64]) -> BytesMut {
        let mut request = wire::request(0).unwrap().new();
        request.set_i16("acks", acks);
        request.set_i32("timeout_ms", timeout_ms);
        let mut topic = request.new_struct("topic_data");
        topic.set_str("name", "t");
        for (index, producer) in (0..).zip(producers) {
            let mut records = vec![0; 64];
            records[8..12].copy_from_slice(&52i32.to_be_bytes());
            records[16] = 2;
            records[43..51].copy_from_slice(&producer.to_be_bytes());
            let mut row = topic.new_struct("partition_data");
            row.set_i32("index", index);
            row.set_bytes("records", Some(records.into()));
            topic.push_struct("partition_data", row);
        }
        request.push_struct("topic_data", topic);
        let mut frame = BytesMut::new();
        wire::request(0).unwrap().encode(VERSION, &request, &mut frame).unwrap();
        frame
    }

    /// Acks and time-out that a request has, and how many of its batches are stamped as ours.
    fn goes_out(frame: &BytesMut) -> (i16, i32, usize) {
        let mut ours = 0;
        let head = produce::scan_request(VERSION, frame, &mut |row| {
            let header = row.records.and_then(|records| batch::headers(records).next()).unwrap();
            ours += usize::from(header.producer_id == 7);
        });
        let head = head.unwrap();
        (head.acks, head.timeout_ms, ours)
    }

    #[test]
    fn each_acks_is_raised_as_far_as_was_said() {
        let up = |own| Stamped::Yes { raised: Raised::Up, own_timeout: own };
        let stamped = Stamped::Yes { raised: Raised::No, own_timeout: None };
        let down = Stamped::Yes { raised: Raised::Down, own_timeout: None };
        let cases = [
            (RaiseAcks::Off, false, 1, stamped, (1, 30_000, 1)),
            (RaiseAcks::Off, false, 0, Stamped::AsItIs, (0, 30_000, 0)),
            (RaiseAcks::Acks1, false, 1, up(Some(30_000)), (-1, 5_000, 1)),
            (RaiseAcks::Acks1, false, 0, Stamped::AsItIs, (0, 30_000, 0)),
            (RaiseAcks::Acks1, true, 1, stamped, (1, 30_000, 1)),
            (RaiseAcks::All, false, 1, up(Some(30_000)), (-1, 5_000, 1)),
            (RaiseAcks::All, false, 0, up(Some(30_000)), (-1, 5_000, 1)),
            (RaiseAcks::All, true, 1, stamped, (1, 30_000, 1)),
            (RaiseAcks::All, true, 0, down, (1, 30_000, 1)),
            (RaiseAcks::All, false, -1, stamped, (-1, 30_000, 1)),
        ];
        for (which, lowered, acks, expected, goes) in cases {
            let ((mut injection, cluster), now) = (raising(which), Instant::now());
            if lowered {
                let mut first = request(1, 30_000, &[-1]);
                injection.stamp(&cluster, VERSION, 0, &mut first, now);
                injection.decided_whole(VERSION, &first);
                let topic = crate::kafka::cluster::TopicKey::Name("t".into());
                injection.lower(&topic, 0, REQUEST_TIMED_OUT, now);
            }
            let mut frame = request(acks, 30_000, &[-1]);
            let found = injection.stamp(&cluster, VERSION, 0, &mut frame, now + Duration::from_secs(1));
            assert_eq!((found, goes_out(&frame)), (expected, goes), "{which:?}, {lowered}, {acks}");
        }
    }

    /// The time-out of acks=1 is what its client waits for; that of acks=0 is read by nobody.
    #[test]
    fn a_shorter_time_out_is_kept_where_it_means_something() {
        for (acks, own, sent) in [(1, 1_500, 1_500), (1, 0, 0), (0, 1_500, 5_000), (0, 0, 5_000)] {
            let ((mut injection, cluster), mut frame) = (raising(RaiseAcks::All), request(acks, own, &[-1]));
            let stamped = injection.stamp(&cluster, VERSION, 0, &mut frame, Instant::now());
            let own_timeout = (own != sent).then_some(own);
            assert_eq!(stamped, Stamped::Yes { raised: Raised::Up, own_timeout });
            assert_eq!(goes_out(&frame), (-1, sent, 1), "acks={acks}, {own} ms");
        }
    }

    #[test]
    fn acks_0_is_raised_as_a_whole_or_not() {
        for (acks, expected) in [(0, (0, 30_000, 0)), (1, (-1, 5_000, 1))] {
            let ((mut injection, cluster), mut frame) =
                (raising(RaiseAcks::All), request(acks, 30_000, &[-1, 9]));
            injection.stamp(&cluster, VERSION, 0, &mut frame, Instant::now());
            assert_eq!(goes_out(&frame), expected, "acks={acks}");
        }
    }
}
