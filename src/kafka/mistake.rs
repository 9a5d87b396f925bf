//! Rules that are broken on purpose, one at a time, to see that the model check notices (`session/model`).
//!
//! Each variant stands at the one place where its rule is kept. Outside tests every question is answered `false` when
//! compiling, and nothing of this is left.

/// A rule that isn't kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mistake {
    /// A second batch goes behind the first one of a partition's first producer id.
    FirstNotAlone,
    /// The checksum is not corrected for the stamp.
    ChecksumLeft,
    /// A batch is stamped again when it is sent again.
    StampedTwice,
    /// `NOT_LEADER` with an offset is taken for a refusal.
    AppendedTakenForRefused,
    /// A time-out of the followers is taken for a refusal.
    LateTakenForRefused,
    /// A gap is taken for the proof that the batch is in the log.
    GapTakenForLanded,
    /// A batch whose answer was lost starts over with a new sequence.
    NewSequenceForUnknown,
    /// A batch that met a gap goes under another producer id, which does not keep older ones out.
    OtherIdBehindGap,
    /// A batch that may be in the log starts over at a gap, whatever those behind it would say.
    GapProvesAlone,
    /// A batch that may have been read starts over at a gap that may yet be filled.
    GapTakenForGood,
    /// A batch that met a gap starts over without another epoch.
    EpochKept,
    /// A batch without a sequence is sent again though its outcome is unknown.
    UnsequencedRepeated,
    /// A request that was written whole and not answered counts as not sent.
    WrittenTakenForUnsent,
    /// That an earlier attempt may have been applied is forgotten.
    DoubtForgotten,
    /// Too few followers: the error is passed on at once.
    CapacityPassedOn,
    /// A raised batch goes on as acks=all when followers are missing.
    RaisedForEver,
    /// A part does not wait for an earlier batch of its partition.
    PartOvertakes,
    /// A whole request goes to its home though an earlier batch of its partition is undecided elsewhere.
    WholeOvertakes,
    /// A part is gathered into a request that holds its partition, or goes before one that does.
    GatheredTwice,
    /// The last batch of a partition goes with acks=1, too.
    LastLowered,
    /// The leader's own success is passed on, before another batch has proven that all have it.
    LeaderTakenForAll,
    /// What was to prove a batch is taken for a proof whatever was answered to it.
    ProofUnread,
    /// What the leader has taken, and nobody else is known to have, counts as not sent.
    UnprovenTakenForUnsent,
    /// An answer that waits for its proof is forgotten when the connection is lost.
    KeptAnswerForgotten,
    /// A request on another connection does not wait for what is undecided on this one.
    BarrierIgnored,
    /// A barrier covers only what had been sent when the leader was told.
    BarrierAtTelling,
    /// Nobody asks what lies unread on other connections.
    Unasked,
    /// What was found unread goes behind the one that has asked.
    FoundLate,
    /// A whole request goes though an earlier batch of its second partition is undecided in parts.
    SecondOvertaken,
    /// Of a topic's partitions only the first is looked up among the marks.
    SecondUnbarred,
    /// A part goes behind any other of its partition that is on its way, to whatever node.
    FollowsAnybody,
    /// A part goes behind another to a node that has not shown that it leads.
    FollowsUntrusted,
    /// A part goes behind one of another producer id or epoch, or of none.
    FollowsOthers,
    /// A part whose producer id is not there yet goes behind others without one.
    FollowsUnnamed,
    /// A batch that has gone whole without a producer id is given one later.
    StampedLate,
    /// More batches of a partition are undecided than a broker remembers.
    WindowIgnored,
    /// A batch is taken for the proof of the one before it though their sequences don't join.
    ProofUnjoined,
    /// A part counts as proven when its first partition is.
    FirstProvesAll,
    /// A batch is taken for proven when any partition of the request that was to prove it landed.
    ProofOfAnother,
    /// A sequence is given back though its batch may be in the log.
    GivenBackAlways,
    /// A sequence is given back though a later one is taken.
    GivenBackUnderOthers,
    /// A sequence is given back to another epoch than the one that it is of.
    GivenBackOfAnyEpoch,
    /// A wait that ends is not entered in the book.
    TicketLost,
    /// The bytes of an answered request are not given back.
    BytesKept,
}

#[cfg(test)]
impl Mistake {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::BytesKept as usize + 1;
}

/// Whether this mistake is made.
#[cfg(not(test))]
pub(crate) const fn made(_: Mistake) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static MADE: std::cell::Cell<Option<Mistake>> = const { std::cell::Cell::new(None) };
}

/// Whether this mistake is made, on this thread.
#[cfg(test)]
pub(crate) fn made(mistake: Mistake) -> bool {
    MADE.get() == Some(mistake)
}

/// Makes a mistake from now on, on this thread; or none.
#[cfg(test)]
pub(crate) fn make(mistake: Option<Mistake>) {
    MADE.set(mistake);
}
