//! Rules that are broken on purpose, one at a time, to see that the model check notices (`lease/model`).
//!
//! Each variant stands at the one place where its rule is kept. Outside tests every question is answered `false` when
//! compiling, and nothing of this is left.

/// A rule that isn't kept. The rules of the lease have their names in [`super::lease`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mistake {
    /// L1: a frame counts when it is answered, though its touch may die with the follower.
    HalfTickIgnored,
    /// L1: a frame counts from the arrival of its answer.
    ArrivalForSending,
    /// L1: evenkeel speaks for the ensemble for two thirds of the timeout.
    TwoThirds,
    /// L1: a frame counts half a tick back, however long before it there was none.
    GapIgnored,
    /// L1: half a tick is never thought to be longer than a quarter of the timeout.
    HalfTickCapped,
    /// L1: what lay in the kernel while evenkeel was frozen is passed on as if it had just come.
    OldBytesPassed,
    /// L1: a freeze of a sixth of the timeout is never thought to matter, however long a tick is.
    ShortFreezeIgnored,
    /// L1: the answer to the client's own attach is passed on however long it lay in the kernel.
    LateGrantTrusted,
    /// L2: the socket is closed as soon as evenkeel may not speak any more.
    ClosedAtSilence,
    /// L3: the socket is never closed.
    NeverClosed,
    /// L4: another session's id counts as a reattach.
    AnotherAccepted,
    /// L4: a shorter timeout is taken as it comes.
    ShorterAccepted,
    /// L5: what has been silent for too long by our own clock is called expired.
    ExpiryInvented,
    /// L6: the session of a client whose socket has ended is kept alive.
    GoneForgotten,
    /// L6: the session of a silent client is kept alive.
    SilentForgotten,
    /// L6: servers are asked to take the session of a client that has been silent for its timeout.
    AttachedForSilent,
    /// L6: with a longer timeout upstream, nobody ends the session on the client's clock.
    EndForgotten,
    /// L7: while there is nobody to ask, nothing is thought to expire.
    LossStopsClock,
    /// L8: in strict mode an answer in which the leader had no part counts.
    FollowerTrusted,
}

#[cfg(test)]
impl Mistake {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::FollowerTrusted as usize + 1;
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
