//! How the driver ends, for scripts and for people.

/// Why it ended; the numbers stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is done.
    Done,
    /// Its journal, or what it needs of its host, can't be used.
    Broken,
    /// The plan or the command line makes no sense.
    Usage,
    /// A gate stayed closed, or something was not done, for longer than its bound.
    Closed,
    /// A command failed.
    Failed,
    /// It was told to stop.
    Interrupted,
    /// A sidecar is silent.
    Silent,
    /// Somebody else orders: a stale generation, another plan, another driver.
    Refused,
    /// A person has to say what became of a member.
    Undecided,
}

impl Exit {
    /// The exit code of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Broken => 1,
            Self::Usage => 2,
            Self::Closed => 3,
            Self::Failed => 4,
            Self::Interrupted => 5,
            Self::Silent => 6,
            Self::Refused => 7,
            Self::Undecided => 8,
        }
    }
}

/// The end, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Which.
    pub exit: Exit,
    /// For people: what is so, and what to do.
    pub text: String,
}

impl Halt {
    /// An end.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}
