//! Why a controller's order is not carried out.

/// An order that is refused; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What is ordered makes no sense: everything that is wrong with it.
    #[error("{}", .0.join("; "))]
    Wrong(Vec<String>),
    /// An older generation than the one that was heard of last.
    #[error("stale: plan {plan_id} is at generation {known}, not {given}")]
    Stale {
        /// The plan.
        plan_id: String,
        /// Its generation.
        known: u64,
        /// The one that was given.
        given: u64,
    },
    /// The same generation with other contents.
    #[error(
        "plan {plan_id} of generation {generation} has other contents: a change needs a higher generation"
    )]
    Changed {
        /// The plan.
        plan_id: String,
        /// Its generation.
        generation: u64,
    },
    /// Another plan lives.
    #[error(
        "plan {plan_id} of generation {generation} lives: end it, or come with a higher generation; a dry run waits"
    )]
    Other {
        /// The plan that lives.
        plan_id: String,
        /// Its generation.
        generation: u64,
    },
    /// The plan has ended.
    #[error("plan {plan_id} of generation {generation} is {how}: it begins again with a higher generation")]
    Over {
        /// The plan.
        plan_id: String,
        /// Its generation.
        generation: u64,
        /// How it ended.
        how: &'static str,
    },
    /// No plan lives.
    #[error("no plan lives: PUT it first; a time to live that was not renewed ends one")]
    NoPlan,
    /// The member is not in the plan.
    #[error("the plan has no member {0}")]
    NotInPlan(String),
    /// A gate is closed.
    #[error("the gate {gate} is closed: {reasons}")]
    Closed {
        /// Its name.
        gate: &'static str,
        /// Codes and details.
        reasons: String,
    },
}
