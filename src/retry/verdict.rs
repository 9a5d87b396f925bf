//! The three verdicts on a request whose upstream was lost or refused it.

/// What is known of a request that has no usable answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its last byte never reached the kernel, or an answer proves that it was not applied. Always replayed.
    NotSent,
    /// A full answer arrived. Never replayed.
    Answered,
    /// Written whole, and no answer came that decides it. Replayed only where the operation table allows.
    Unknown,
}

impl Verdict {
    /// The verdict on a frame that ends at stream offset `end`, of which the kernel has taken all before `written`.
    ///
    /// A peer that has not received a frame whole can't act on it, so a frame cut in the middle is as good as not
    /// sent.
    pub fn of_unanswered(end: u64, written: u64) -> Self {
        if end > written { Self::NotSent } else { Self::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_cut_in_the_middle_is_not_sent() {
        assert_eq!(Verdict::of_unanswered(100, 99), Verdict::NotSent);
        assert_eq!(Verdict::of_unanswered(100, 100), Verdict::Unknown);
    }
}
