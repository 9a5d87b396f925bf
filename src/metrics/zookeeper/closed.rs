//! The closed sets of label values that only ZooKeeper has.

use crate::metrics::closed::closed_set;
use crate::metrics::protocol::OTHER;

closed_set! {
    /// Why a request began to be held.
    HoldTrigger counted by HoldStarted {
        /// The connection to the session's server was lost.
        Disconnect disconnect = "disconnect",
        /// The session is being moved to another server, as planned.
        Move r#move = "move",
        /// No server takes the session.
        Refused refused = "refused",
        /// An earlier request of the session is held.
        Order order = "order",
    }
}

closed_set! {
    /// Why a request was sent again.
    ReplayVerdict counted by Replays {
        /// It was not written, or its session was moved away from its connection before it: proved not applied.
        NotSent not_sent = "not_sent",
        /// Its outcome is unknown, and repeating it is harmless.
        Unknown unknown = "unknown",
        /// What was read behind the fence proves that it was not applied.
        Verified verified = "verified",
    }
}

closed_set! {
    /// What was done about a request whose outcome is unknown.
    UnknownAction counted by UnknownOutcomes {
        /// Answered with CONNECTIONLOSS.
        Error error = "error",
        /// The client's connection was closed.
        Closed closed = "closed",
        /// The client is gone.
        Swallowed swallowed = "swallowed",
    }
}

closed_set! {
    /// How the attempt to attach a session to a server ended.
    AttachOutcome counted by Attaches {
        /// The server holds it.
        Attached attached = "attached",
        /// The ensemble says that it is over (timeout 0).
        Expired expired = "expired",
        /// The server closed the connection without an answer: it is behind what the client has seen, or has no quorum.
        Closed closed = "closed",
        /// No answer within `attach_timeout`.
        Timeout timeout = "timeout",
        /// The server is read-only, and the session may write.
        ReadOnly read_only = "read_only",
        /// It was granted for less time than before.
        Shortened shortened = "shortened",
        /// The server gave another session out.
        OtherSession other_session = "other_session",
        /// The answer isn't one.
        Malformed malformed = "malformed",
    }
}

closed_set! {
    /// How a session's way to another server, or back to its own, ended.
    MoveOutcome counted by Moved {
        /// It is attached, its watches are armed, and what was in flight is decided.
        Moved done = "moved",
        /// Planned only: nobody else took it, so it stays where it was.
        Stayed stayed = "stayed",
        /// The ensemble said that it is over.
        Expired expired = "expired",
        /// The lease was over first.
        LeaseOver lease_over = "lease_over",
        /// The client's connection had to be closed on the way (the log says why, `zookeeper_lease_closes_total` mostly, too).
        Closed closed = "closed",
        /// The client went away meanwhile.
        ClientGone client_gone = "client_gone",
    }
}

/// Whether a session was moved on purpose, or since it lost its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveKind {
    /// On purpose: make before break.
    Planned,
    /// Its connection was lost.
    Unplanned,
}

impl MoveKind {
    /// Every label value of the set.
    pub const LABELS: &'static [&'static str] = &["planned", "unplanned"];
}

/// One thing for each [`MoveKind`].
#[derive(Debug)]
pub struct PerKind<T> {
    planned: T,
    unplanned: T,
}

impl<T> PerKind<T> {
    pub(super) fn new(make: impl Fn(&'static str) -> T) -> Self {
        Self { planned: make("planned"), unplanned: make("unplanned") }
    }

    /// That of one kind.
    pub fn get(&self, kind: MoveKind) -> &T {
        match kind {
            MoveKind::Planned => &self.planned,
            MoveKind::Unplanned => &self.unplanned,
        }
    }
}

closed_set! {
    /// Why the connection of a client was closed by Evenkeel's own decision.
    CloseReason counted by Closes {
        /// The lease is over: nothing proved the session for two thirds of its timeout (L3).
        LeaseOver lease_over = "lease_over",
        /// The client was silent for its own timeout, while the ensemble had been asked for a longer one.
        SilentClient silent_client = "silent_client",
        /// The session was granted for less time than before (L4).
        TimeoutShortened timeout_shortened = "timeout_shortened",
        /// The server gave another session out (L4).
        OtherSession other_session = "other_session",
        /// It has persistent watches, and there was a gap.
        PersistentWatches persistent_watches = "persistent_watches",
        /// Its watches could not be armed again.
        Watches watches = "watches",
        /// An outcome is unknown, and its library doesn't know CONNECTIONLOSS, or `unknown_outcome` is `close`.
        UnknownOutcome unknown_outcome = "unknown_outcome",
        /// One server after another was lost with the same request, or servers that took the session answered nothing else.
        LostRequests lost_requests = "lost_requests",
        /// It was authenticated in a way that can't be repeated for it (SASL), or the repeat was refused.
        Auth auth = "auth",
        /// It sent an operation that only servers may send.
        Forbidden forbidden = "forbidden",
    }
}

closed_set! {
    /// The watches of clients, by what they tell.
    WatchKind shown by Watches {
        /// Changes of a node's data, and its deletion.
        Data data = "data",
        /// The creation of a node.
        Exist exist = "exist",
        /// Changes of a node's children.
        Child child = "child",
        /// A node and its children, for ever.
        Persistent persistent = "persistent",
        /// A node and all below it, for ever.
        PersistentRecursive persistent_recursive = "persistent_recursive",
    }
}

closed_set! {
    /// Operations that were refused here since they would have stopped the ensemble.
    Poison counted by PoisonRefused {
        /// `create`.
        Create create = "create",
        /// `create2`.
        Create2 create2 = "create2",
        /// `createContainer`.
        CreateContainer create_container = "createContainer",
        /// `createTTL`.
        CreateTtl create_ttl = "createTTL",
        /// `delete`.
        Delete delete = "delete",
        /// `setData`.
        SetData set_data = "setData",
        /// `setACL`.
        SetAcl set_acl = "setACL",
        /// `multi`.
        Multi multi = "multi",
        /// `reconfig`.
        Reconfig reconfig = "reconfig",
        /// A `check` that stands alone.
        Check check = "check",
        /// Another operation.
        Other other = "other",
    }
}

closed_set! {
    /// How a fence ended.
    FenceOutcome counted by Fences {
        /// It was answered: every write of the old connection is decided.
        Stands stands = "stands",
        /// The connection was lost before its answer; the next one gets its own.
        Lost lost = "lost",
        /// The server refused it.
        Refused refused = "refused",
    }
}

closed_set! {
    /// What was found of an operation by reading behind the fence.
    ReadbackVerdict counted by Readbacks {
        /// It was applied: the client gets its success.
        Applied applied = "applied",
        /// It was not applied: it is sent again.
        NotApplied not_applied = "not_applied",
        /// It can only have failed: the client gets the error that it got or would get.
        Failed failed = "failed",
        /// It can't be told.
        Unknown unknown = "unknown",
    }
}

closed_set! {
    /// What was done with a four-letter word.
    WordFate counted by Words {
        /// Answered here.
        Answered answered = "answered",
        /// Asked of a server.
        Forwarded forwarded = "forwarded",
        /// Not allowed.
        Refused refused = "refused",
    }
}

closed_set! {
    /// What was done with a client that authenticates itself by SASL.
    SaslFate counted by Sasls {
        /// It proved here that it knows the credentials that are held.
        Answered answered = "answered",
        /// It didn't, or can't by its mechanism.
        Refused refused = "refused",
        /// None are held: its server answers, and its connection ends with that server.
        Passed passed = "passed",
    }
}

/// The client libraries that are told apart, by how they speak: the protocol has no name for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Library {
    /// Apache ZooKeeper's own Java client, and what is built upon it (Curator).
    Java,
    /// Apache ZooKeeper's own C client, and what is built upon it.
    C,
    /// kazoo (Python).
    Kazoo,
    /// go-zookeeper.
    Go,
    /// node-zookeeper-client.
    Node,
    /// Not known.
    Other,
}

impl Library {
    /// Every label value of the set.
    pub const LABELS: &'static [&'static str] = &["java", "c", "kazoo", "go", "node", OTHER];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Java => "java",
            Self::C => "c",
            Self::Kazoo => "kazoo",
            Self::Go => "go",
            Self::Node => "node",
            Self::Other => OTHER,
        }
    }
}
