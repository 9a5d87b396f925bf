//! The gates: may the next step be taken? Pure functions of [`Facts`].
//!
//! A gate is open when there is no reason against it. Each reason has a code that stays and the fact in words. What isn't
//! known is a reason, too.

mod common;
mod finalize;
mod next;
mod rollback;
mod stop;

use std::time::Duration;

use super::facts::{Facts, Known};
use super::history::Errors;
use super::plan::Plan;
use serde::Serialize;
use std::time::Instant;

/// Facts that are older than this are as good as none.
pub const FACTS_LAST: Duration = Duration::from_secs(15);
/// So many examples are named in a reason.
const EXAMPLES: usize = 5;

/// A question of a controller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// May this member be stopped?
    Stop,
    /// Is it back and all well, so that the next one may have its turn?
    Next,
    /// May the cluster's version be raised for good?
    Finalize,
    /// Can the members still go back to the version before?
    Rollback,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Next, Self::Finalize, Self::Rollback];

    /// As it is written in queries, answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Next => "next",
            Self::Finalize => "finalize",
            Self::Rollback => "rollback",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gate| gate.as_str() == name)
    }
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $variant:ident = $text:literal, )+) => {
        /// Why a gate is closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $( $(#[$doc])* $variant, )+
        }

        impl Code {
            /// Every code, as it is written in answers.
            pub const LABELS: &'static [&'static str] = &[$($text),+];

            /// As it is written in answers; these words stay.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }
    };
}

codes! {
    /// Nothing was learned from the cluster, or not lately.
    FactsUnknown = "facts_unknown",
    /// The gate needs a member, and none was named.
    MemberMissing = "member_missing",
    /// No such member is known here.
    MemberUnknown = "member_unknown",
    /// It is not drained.
    NotDrained = "not_drained",
    /// It was drained and not stopped in time: clients use it again.
    DrainExpired = "drain_expired",
    /// Requests are under way to it.
    InFlight = "in_flight",
    /// Sessions are on it.
    SessionsLeft = "sessions_left",
    /// Another member can't be reached.
    AnotherDown = "another_member_down",
    /// Another member is being drained, or is drained.
    AnotherDraining = "another_member_draining",
    /// A partition has as few replicas in sync as it needs.
    MinIsr = "min_isr",
    /// A topic has too few replicas to be spared any.
    TooFewReplicas = "too_few_replicas",
    /// What is known of partitions is not enough.
    PartitionsUnknown = "partitions_unknown",
    /// It is the active controller, and others have not had their turn.
    ControllerLast = "controller_comes_last",
    /// It leads the ensemble, and others have not had their turn.
    LeaderLast = "leader_comes_last",
    /// Without it the others would be no majority.
    Quorum = "quorum",
    /// Who votes is not known.
    QuorumUnknown = "quorum_unknown",
    /// A client uses what the new version doesn't speak.
    ClientVersions = "client_needs_dropped_version",
    /// Partitions are being moved.
    Reassigning = "reassignment_under_way",
    /// Whether partitions are being moved is not known.
    ReassigningUnknown = "reassignments_unknown",
    /// Much is held already.
    HoldBuffers = "hold_buffers",
    /// The cluster doesn't list the member.
    NotListed = "member_not_listed",
    /// The member can't be reached from here.
    Unreachable = "member_unreachable",
    /// Somebody else answers at its address.
    WrongMember = "wrong_member",
    /// Its version is not known.
    VersionUnknown = "version_unknown",
    /// It doesn't have the version that it is to have.
    NotAtTarget = "not_at_target",
    /// Partitions have no leader.
    Offline = "offline_partitions",
    /// Partitions lack replicas that are in sync.
    UnderReplicated = "under_replicated_partitions",
    /// The member is not in sync with all that it has copies of.
    NotInSync = "member_not_in_sync",
    /// Partitions are led elsewhere than their preferred leader.
    PreferredLeaders = "preferred_leaders",
    /// No server leads.
    NoLeader = "no_leader",
    /// Followers are not in sync.
    NotSynced = "followers_not_synced",
    /// Syncs wait.
    PendingSyncs = "pending_syncs",
    /// How far followers are is not known.
    SyncUnknown = "sync_unknown",
    /// Requests are held.
    Held = "requests_held",
    /// A coordinator is loading.
    CoordinatorLoading = "coordinator_loading",
    /// Groups are rebalancing.
    Rebalancing = "groups_rebalancing",
    /// The groups' states are not known.
    GroupsUnknown = "groups_unknown",
    /// Clients see more errors than they are used to.
    ClientErrors = "client_errors",
    /// All is well, but not for long enough.
    NotStable = "not_stable_yet",
    /// The cluster has fewer or more members than the plan says.
    ClusterSize = "cluster_size",
    /// The plan doesn't say how many members there are, or none lives.
    NoPlan = "no_plan",
    /// Members have not had their turn.
    TurnsLeft = "turns_left",
    /// Not all members have had their turn for long enough.
    Soaking = "soaking",
    /// The cluster refuses the new features.
    FeaturesRefused = "features_refused",
    /// What has been finalized is not known.
    FinalizedUnknown = "finalized_unknown",
    /// It is too late to go back.
    Finalized = "finalized",
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What it is.
    pub code: Code,
    /// The fact, for people.
    pub detail: String,
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut row = to.serialize_struct("Reason", 2)?;
        row.serialize_field("code", self.code.as_str())?;
        row.serialize_field("detail", &self.detail)?;
        row.end()
    }
}

/// The answer of a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is against it; nothing if it is open.
    pub reasons: Vec<Reason>,
    /// What would be against it, if the plan did not allow an outage: what the step will cost.
    pub costs: Vec<Reason>,
    /// For how long everything that `next` asks for has been well.
    pub stable_for: Duration,
}

impl Verdict {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Whether only a drain is missing.
    pub fn opens_by_drain(&self) -> bool {
        use Code::{DrainExpired, InFlight, NotDrained, SessionsLeft};
        let by_drain =
            |reason: &Reason| matches!(reason.code, NotDrained | DrainExpired | InFlight | SessionsLeft);
        self.reasons.iter().all(by_drain)
    }

    /// The reasons in one line.
    pub fn text(&self) -> String {
        let each = self.reasons.iter().map(|reason| format!("{}: {}", reason.code.as_str(), reason.detail));
        each.collect::<Vec<_>>().join("; ")
    }

    fn because(&mut self, code: Code, detail: impl Into<String>) {
        self.reasons.push(Reason { code, detail: detail.into() });
    }

    /// A reason that a plan can allow: then it is a cost.
    fn unless_allowed(&mut self, allowed: bool, code: Code, detail: impl Into<String>) {
        let to = if allowed { &mut self.costs } else { &mut self.reasons };
        to.push(Reason { code, detail: detail.into() });
    }

    /// What is known, or the reason that it isn't.
    fn known<'a, T>(&mut self, fact: &'a Known<T>, code: Code) -> Option<&'a T> {
        match fact {
            Ok(fact) => Some(fact),
            Err(why) => {
                self.because(code, why.clone());
                None
            }
        }
    }

    /// Whether what is known of the cluster is there at all and fresh.
    fn fresh(&mut self, facts: &Facts) -> bool {
        match facts.age {
            None => self.because(Code::FactsUnknown, "the cluster was not asked yet"),
            Some(age) if age > FACTS_LAST => {
                self.because(
                    Code::FactsUnknown,
                    format!("the cluster answered last {} s ago", age.as_secs()),
                );
            }
            Some(_) => return true,
        }
        false
    }
}

/// What a gate is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// What the controller is about to do.
    pub plan: &'a Plan,
    /// The member.
    pub member: Option<&'a str>,
    /// What is known.
    pub facts: &'a Facts,
    /// Members that have not had their turn, in the order of the plan.
    pub left: &'a [String],
    /// Since when the last member has been back.
    pub all_back: Option<Instant>,
    /// Errors that clients saw.
    pub errors: &'a Errors,
    /// For how long all that `next` asks for has been well.
    pub stable_for: Duration,
    /// Whether the plan has been finalized.
    pub finalized: bool,
    /// Now.
    pub now: Instant,
}

/// Answers a gate.
pub(super) fn answer(gate: Gate, ask: Question<'_>) -> Verdict {
    let mut verdict = match gate {
        Gate::Stop => stop::answer(ask),
        Gate::Next => next::answer(ask),
        Gate::Finalize => finalize::answer(ask),
        Gate::Rollback => rollback::answer(ask),
    };
    verdict.stable_for = ask.stable_for;
    verdict
}

/// What `next` asks for at this moment: all but time. `None` where the cluster was asked too long ago to tell: without a plan nobody asks
/// it between two gates. What is known without asking (who can't be reached, what is held, what clients saw) counts all the same.
pub(super) fn is_well(ask: Question<'_>) -> Option<bool> {
    use Code::{ClientErrors, Held, Unreachable, WrongMember};
    let verdict = next::now(ask);
    let seen = |reason: &Reason| matches!(reason.code, ClientErrors | Held | Unreachable | WrongMember);
    if ask.facts.age.is_some_and(|age| age > FACTS_LAST) && !verdict.reasons.iter().any(seen) {
        return None;
    }
    Some(verdict.is_open())
}

/// A few of many, and how many more there are.
fn some_of(all: &[String]) -> String {
    let text = all.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(EXAMPLES) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
