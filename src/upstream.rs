//! Floor 3, `upstream`: the members behind Evenkeel, in words that every protocol has in common.
//!
//! What it is: [`DrainState`], how far clients have left a member. Each protocol keeps its own book of drains and says it in this word;
//! gates, routes and the status read it.
//!
//! May import: nothing yet. Must never: know a protocol.

/// How far the drain of a member has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DrainState {
    /// It is not being drained.
    #[default]
    Off,
    /// So much is still there; 0 while it is made sure that nothing follows.
    Draining {
        /// Of Kafka requests that are unanswered. Of `ZooKeeper` sessions that another server is to take, and where the server's end
        /// would take every client's connection, those with writes under way.
        left: usize,
    },
    /// Nobody is there any more, and nothing is sent there; or the member is down.
    Drained,
    /// It was not stopped, or the drain not said again, in time: clients use it again.
    Expired,
}
