//! acks=0 that is raised: brokers answer, and nobody waits for that. What became of a batch is said in the log, and a client is let
//! know by the one thing that it notices.
//!
//! A broker closes the connection of acks=0 at any error of it, so that its client looks everything up anew (`handleProduceRequest` in
//! `KafkaApis`). What Evenkeel sees to itself (a leader that has moved, followers that are missing, a broker that is gone) closes nothing.
//! What stays true whoever is asked does: the batch is at fault, its client may not write, or there is no such topic. It is closed at once,
//! behind the answers that its client waits for, and what was read of it goes on alone (`ending`): nothing goes down with it that a broker
//! would have taken.

use super::Session;
use super::produce::owned;
use super::slot::{Slot, State};
use super::unknown::{Action, Doubt};
use crate::kafka::wire::{errors, produce};

/// The errors that a client of acks=0 has to notice, since they are about what it sends, or about where to.
const CLOSING: [i16; 13] = [
    2,   // CORRUPT_MESSAGE
    3,   // UNKNOWN_TOPIC_OR_PARTITION
    10,  // MESSAGE_TOO_LARGE
    17,  // INVALID_TOPIC_EXCEPTION
    18,  // RECORD_LIST_TOO_LARGE
    29,  // TOPIC_AUTHORIZATION_FAILED
    31,  // CLUSTER_AUTHORIZATION_FAILED
    32,  // INVALID_TIMESTAMP
    43,  // UNSUPPORTED_FOR_MESSAGE_FORMAT
    44,  // POLICY_VIOLATION
    76,  // UNSUPPORTED_COMPRESSION_TYPE
    87,  // INVALID_RECORD
    100, // UNKNOWN_TOPIC_ID
];

/// Whether a client of acks=0 is told of this error by the end of its connection.
pub(super) fn is_closing(code: i16) -> bool {
    CLOSING.contains(&code)
}

impl Session {
    /// A batch of acks=0 ends with this error: its client's connection is closed, if it has to know. Nothing more is read of it.
    pub(super) fn tell_by_closing(&mut self, code: i16) {
        if is_closing(code) && self.lost.is_none() && !self.eof {
            self.cluster.metrics.client_errors.disconnected().inc();
            self.lost = Some(format!("a batch that it sent with acks=0 was refused: {}", errors::name(code)));
        }
    }

    /// A request of acks=0 comes to its bound that no broker has seen: one line for each batch of it.
    pub(super) fn drop_whole(&self, slot: &Slot, code: i16) {
        let why = "its bound was reached before it could be written";
        self.tell_of_all(slot, Action::Dropped(code), why);
    }

    /// What of a request of acks=0 is undecided when its session ends all the same, since the process does, or loses its broker where nothing is
    /// replayed: one line for each batch.
    pub(super) fn silent_left(&self, slot: &Slot) {
        const UNSENT: &str = "its connection ended before it could be written";
        const UNKNOWN: &str = "its connection ended before a broker had answered";
        match &slot.state {
            State::Done(_) => {}
            State::Waiting => self.tell_of_all(slot, Action::Dropped(0), UNSENT),
            State::Sent => self.tell_of_all(slot, Action::Swallowed, UNKNOWN),
            State::Split(split) => {
                for item in split.items().iter().filter(|item| !item.is_done()) {
                    let unsent = item.is_waiting() && !item.doubt;
                    let (action, why) = if unsent {
                        (Action::Dropped(item.code), UNSENT)
                    } else {
                        (Action::Swallowed, UNKNOWN)
                    };
                    self.unknown_batch(&Doubt::of(item), action, why);
                }
            }
        }
    }

    /// One line for each batch of a request that was not taken apart.
    fn tell_of_all(&self, slot: &Slot, action: Action, why: &str) {
        let body = slot.frame.get(slot.body_at..).unwrap_or_default();
        // One that can't be read says as much of itself as there was to read.
        let _ = produce::scan_request(slot.version, body, &mut |row| {
            let records = row.records.map(|records| slot.frame.slice_ref(records));
            self.unknown_batch(&Doubt::of_records(owned(row.topic), row.partition, records), action, why);
        });
    }
}
