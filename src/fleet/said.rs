//! What sidecars say, as far as controllers read it. Fields that are not known here are passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::upgrade::{Phase, is_same};

/// `GET /v1/clusters/{c}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Status {
    /// Its members.
    #[serde(default)]
    pub members: Vec<MemberSaid>,
    /// The plan that lives.
    #[serde(default)]
    pub plan: Option<PlanSaid>,
    /// The one that ended last.
    #[serde(default)]
    pub last_plan: Option<LastPlan>,
    /// The version of the cluster as a whole.
    #[serde(default)]
    pub version: Option<String>,
    /// The active controller (Kafka).
    #[serde(default)]
    pub controller: Option<String>,
    /// Client connections.
    #[serde(default)]
    pub clients: i64,
    /// What is held.
    #[serde(default)]
    pub hold: HoldSaid,
}

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct HoldSaid {
    /// Requests.
    #[serde(default)]
    pub waiting: u64,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MemberSaid {
    /// Its id.
    pub id: String,
    /// Where it is in its turn.
    #[serde(deserialize_with = "phase")]
    pub phase: Phase,
    /// Its own version.
    #[serde(default)]
    pub version: Option<String>,
    /// `leader`, `follower` … of a `ZooKeeper` server.
    #[serde(default)]
    pub mode: Option<String>,
    /// It was drained, went down and came back under this plan's id.
    #[serde(default)]
    pub had_turn: bool,
    /// Its drain has expired (Kafka).
    #[serde(default)]
    pub drain_expired: bool,
    /// Sessions on it (`ZooKeeper`).
    #[serde(default)]
    pub sessions: u64,
    /// Requests under way to it.
    #[serde(default)]
    pub in_flight: i64,
}

/// A plan that lives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PlanSaid {
    /// Its name.
    pub plan_id: String,
    /// Its generation.
    pub generation: u64,
    /// For how long it lives without a word.
    #[serde(default)]
    pub expires_in_s: u64,
}

/// A plan that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LastPlan {
    /// Its name.
    pub plan_id: String,
    /// Its generation.
    pub generation: u64,
    /// How: `finalized`, `aborted` or `expired`.
    pub phase: String,
}

/// `GET /v1/clusters/{c}/gate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GateSaid {
    /// It is open.
    pub ok: bool,
    /// Only the drain is missing (`stop`).
    #[serde(default)]
    pub ok_to_drain: bool,
    /// Of the plan that it is answered for.
    #[serde(default)]
    pub plan_id: Option<String>,
    /// Likewise.
    #[serde(default)]
    pub generation: Option<u64>,
    /// What is against it.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// What the plan allows to be lost.
    #[serde(default)]
    pub costs: Vec<Reason>,
}

/// Why a gate is closed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// What it is.
    pub code: String,
    /// The fact.
    pub detail: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into() }
    }
}

impl Status {
    /// A member of it.
    pub fn member(&self, id: &str) -> Option<&MemberSaid> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Members' versions.
    pub fn versions(&self) -> BTreeMap<&str, &str> {
        self.members.iter().filter_map(|m| Some((m.id.as_str(), m.version.as_deref()?))).collect()
    }
}

impl MemberSaid {
    /// Whether it says of itself that it has this version; nothing while it doesn't say.
    pub fn has(&self, version: &str) -> Option<bool> {
        is_same(self.version.as_deref()?, version)
    }
}

fn phase<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Phase, D::Error> {
    let text = String::deserialize(from)?;
    let found = Phase::ALL.into_iter().find(|phase| phase.as_str() == text);
    found.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no phase of a member")))
}
