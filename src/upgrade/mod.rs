//! A rolling upgrade as its controller and Evenkeel speak of it: the plan, the phases of members, and the gates.
//!
//! The same words for both protocols. May import floors below the protocols; must never ask a clock, a socket or a
//! cluster: facts and `now` are passed in, and what is to be done comes back as [`Action`]s.

mod errors;
mod facts;
mod gate;
mod history;
mod phase;
mod plan;
mod roll;
mod turn;
mod version;

#[cfg(test)]
mod tests;

pub use errors::Refusal;
pub use facts::{
    Cluster, DrainState, Dropped, Facts, Hold, Kafka, Known, Member, Mode, Partition, Quorum, Reach, Voter,
    ZooKeeper,
};
pub use gate::{Code, FACTS_LAST, Gate, Reason, Verdict};
pub use history::{Errors, Stable};
pub use phase::{Phase, Seen};
pub use plan::{Pin, Plan, PlanMember};
pub use roll::{Action, Ended, Put, Roll, Ticket};
pub use version::{is_same, kafka_level, kafka_release};
