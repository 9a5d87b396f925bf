//! What is explored: who sends what, and how much may go wrong.

use super::action::Action;
use crate::config::{Config, Idempotence, Kafka, Limits, RaiseAcks};
use crate::kafka::cluster::Settings;
use std::time::Duration;

/// Whose producer id the batches carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// The client has none and is given one.
    Injected,
    /// The client's own.
    Own,
    /// None, and none is given.
    None,
}

/// How often each thing may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Leadership moves.
    pub moves: u8,
    /// A connection is lost.
    pub losses: u8,
    /// A broker is killed.
    pub kills: u8,
    /// A follower falls out of sync.
    pub shrinks: u8,
    /// A follower is late.
    pub time_outs: u8,
    /// What is held is over its bound.
    pub expiries: u8,
    /// Metadata comes from a broker that is behind.
    pub behind: u8,
    /// A broker reads a request while its client may not write.
    pub denials: u8,
}

/// How long a request is held: longer than anything here takes, but for what comes to its bound.
pub(super) const HELD_FOR: Duration = Duration::from_secs(100_000);

/// One exploration.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a circumstance of its own")]
pub(super) struct Scenario {
    /// The partitions that each request has a batch for, in the client's order.
    pub requests: &'static [&'static [usize]],
    /// Whether the first node leads all partitions at the beginning; else they are led in turn.
    pub together: bool,
    /// Those of them whose batches have a wrong checksum: every leader refuses them (2).
    pub corrupt: &'static [usize],
    /// The sequence that partitions begin with, where identities are injected.
    pub begins_at: i32,
    /// The acknowledgements that the client asks for.
    pub acks: i16,
    /// Whose producer id.
    pub identity: Identity,
    /// Whether brokers hand producer ids out late, so that batches may go without one before.
    pub late_id: bool,
    /// Whether acks=1, or acks=0, is raised.
    pub raise: bool,
    /// Whether brokers name the leader in a refusal (KIP-951).
    pub hints: bool,
    /// How many replicas acks=all needs.
    pub min_in_sync: usize,
    /// Whether what its client was told to be unknown must be in order, too.
    pub in_order: bool,
    /// Whether the follower never comes back when nothing else goes wrong any more.
    pub stays_short: bool,
    /// Whether the client goes on writing to a connection that is not read from.
    pub unread: bool,
    /// How long a request is held.
    pub held_for: Duration,
    /// What happens before anything else can, one part after another.
    pub prelude: &'static [&'static [Action]],
    /// What may go wrong.
    pub budget: Budget,
}

/// Nothing goes wrong.
pub(super) const CALM: Budget =
    Budget { moves: 0, losses: 0, kills: 0, shrinks: 0, time_outs: 0, expiries: 0, behind: 0, denials: 0 };

/// A client with acks=all and no producer id, three batches for one partition.
pub(super) const PLAIN: Scenario = Scenario {
    requests: &[&[0], &[0], &[0]],
    together: false,
    corrupt: &[],
    begins_at: 0,
    acks: -1,
    identity: Identity::Injected,
    late_id: false,
    raise: true,
    hints: false,
    min_in_sync: 1,
    in_order: false,
    stays_short: false,
    unread: false,
    held_for: HELD_FOR,
    prelude: &[],
    budget: CALM,
};

/// Leadership has moved. Three batches are sent to the old leader; the first has landed at the new one, and the others are on
/// their way behind it.
pub(super) const BEHIND_A_MOVE: &[Action] = &[
    Action::Move(0),
    Action::Send,
    Action::Serve(0),
    Action::Deliver(0),
    Action::Send,
    Action::Send,
    Action::Soon,
    Action::Look,
    Action::Serve(1),
    Action::Follow(0),
    Action::Confirm(0),
    Action::Deliver(1),
];

/// Both of two partitions are led by the first node, and the client knows it: its requests have a batch for each.
pub(super) const TOGETHER: &[Action] = &[Action::Move(1), Action::Tell, Action::Learn];

/// The first batch has landed.
pub(super) const LANDED: &[Action] =
    &[Action::Send, Action::Serve(0), Action::Follow(0), Action::Confirm(0), Action::Deliver(0)];

/// That, and two more are with the leader.
pub(super) const TWO_IN_FLIGHT: &[&[Action]] = &[LANDED, &[Action::Send, Action::Send, Action::Serve(0)]];

/// That, and three are on their way.
pub(super) const THREE_IN_FLIGHT: &[&[Action]] = &[LANDED, &[Action::Send; 3]];

/// That, and as many are on their way as a broker remembers; one more waits.
pub(super) const FULL: &[&[Action]] = &[LANDED, &[Action::Send; 6]];

/// Leadership has moved, and the old leader has refused two batches.
pub(super) const BOTH_REFUSED: &[Action] = &[
    Action::Move(0),
    Action::Send,
    Action::Send,
    Action::Serve(0),
    Action::Deliver(0),
    Action::Serve(0),
    Action::Deliver(0),
];

/// Leadership has moved. There was no producer id in time, and the first batch has landed at the new leader without one; the second
/// is on its way behind it. The third, which has one, waits.
pub(super) const BARE_BEFORE_A_MOVE: &[Action] = &[
    Action::Move(0),
    Action::Send,
    Action::Later,
    Action::Serve(0),
    Action::Deliver(0),
    Action::Soon,
    Action::Look,
    Action::Serve(1),
    Action::Follow(0),
    Action::Confirm(0),
    Action::Deliver(1),
    Action::Send,
    Action::Grant,
    Action::Send,
];

/// Leadership of both partitions has moved. The first request, with a batch for each, has been refused, taken apart and answered by the
/// new leader; the others, sent to the old one, are on their way behind it.
pub(super) const BOTH_BEHIND_A_MOVE: &[Action] = &[
    Action::Move(0),
    Action::Move(1),
    Action::Send,
    Action::Serve(0),
    Action::Deliver(0),
    Action::Send,
    Action::Send,
    Action::Send,
    Action::Soon,
    Action::Look,
    Action::Serve(1),
    Action::Follow(0),
    Action::Follow(1),
    Action::Confirm(0),
    Action::Confirm(1),
    Action::Deliver(1),
];

/// The first node leads both partitions, reads the first request, and is killed.
pub(super) const KILLED: &[Action] = &[Action::Send, Action::Serve(0), Action::Kill(1)];

/// A batch for the second partition is on its way to the node that led it. Its client has learned who does now.
pub(super) const MOVED: &[Action] = &[Action::Send, Action::Move(1), Action::Tell, Action::Learn];

impl Scenario {
    /// The version of Produce: the first with hints, or the last that is quick to read.
    pub(super) fn version(&self) -> i16 {
        if self.hints { 10 } else { 8 }
    }

    /// Whether batches may go without a sequence.
    pub(super) fn goes_bare(&self) -> bool {
        self.identity == Identity::None || self.late_id
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> usize {
        self.requests.iter().flat_map(|request| request.iter()).max().map_or(1, |most| most + 1)
    }

    /// The configuration of its cluster.
    pub(super) fn settings(&self) -> Settings {
        let config = Config::default();
        let mut hold = config.hold;
        hold.max = self.held_for;
        let idempotence =
            if self.identity == Identity::Injected { Idempotence::Inject } else { Idempotence::Off };
        let raised = if self.acks == 0 { RaiseAcks::All } else { RaiseAcks::Acks1 };
        let raise_acks = if self.raise { raised } else { RaiseAcks::Off };
        let kafka = Kafka { idempotence, raise_acks, ..Kafka::default() };
        // Its clients take all the time that there is.
        let limits = Limits { first_request: Duration::ZERO, stall: Duration::ZERO, ..config.limits };
        Settings { net: config.net, limits, hold, retry: config.retry, kafka }
    }
}
