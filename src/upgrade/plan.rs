//! The plan: what a controller says that it is about to do. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::version::is_version;

/// The most members of a plan.
const MEMBERS: usize = 1000;
/// The longest text of a name or an address.
const NAME: usize = 128;
/// Bounds of the time to live, in seconds.
const TTL: std::ops::RangeInclusive<u64> = 10..=86_400;

/// What clients are offered while members differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// What every member speaks, until the plan is finalized.
    #[default]
    Lowest,
    /// More as soon as all members have spoken it for a quiet period, as without a plan.
    Off,
}

/// A member of the cluster that is to be upgraded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanMember {
    /// As `GET /v1/clusters/{c}` names it: a node id, or `HOST:PORT` of a `ZooKeeper` server.
    pub id: String,
    /// Where its controller knows it; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its zone: with `max_unavailable` above 1, members of one zone may be down together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its version now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The version that it is to have; without one no version is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// See the module. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its name.
    pub plan_id: String,
    /// Grows with each change of the plan.
    pub generation: u64,
    /// The members that are to be upgraded, those that had their turn may be left out.
    pub members: Vec<PlanMember>,
    /// So many members may be away at once, all in one zone.
    #[serde(default = "one")]
    pub max_unavailable: usize,
    /// What clients are offered meanwhile.
    #[serde(default)]
    pub pin: Pin,
    /// The plan ends by itself, and its drains with it, when nothing of it was heard for so long.
    #[serde(default = "hour")]
    pub ttl_s: u64,
    /// Gates are answered, and nothing is drained or pinned.
    #[serde(default)]
    pub dry_run: bool,
    /// Why; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What no cluster of this shape can be spared (topics with one replica, ensembles of two) is a cost, not a reason.
    #[serde(default)]
    pub allow_outage: bool,
    /// How many members the cluster has; as many as are in the plan, if it isn't given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_size: Option<usize>,
    /// For how long everything must be well before `next` opens.
    #[serde(default = "two_minutes")]
    pub stable_s: u64,
    /// How long all members must have been back before `finalize` opens.
    #[serde(default)]
    pub soak_s: u64,
    /// Whether `next` waits until preferred leaders lead again (Kafka).
    #[serde(default)]
    pub preferred_leaders: bool,
}

fn one() -> usize {
    1
}

fn hour() -> u64 {
    3600
}

fn two_minutes() -> u64 {
    120
}

impl Plan {
    /// What is taken for granted while no plan lives: any member, one at a time.
    pub fn none() -> Self {
        Self {
            plan_id: String::new(),
            generation: 0,
            members: Vec::new(),
            max_unavailable: one(),
            pin: Pin::Off,
            ttl_s: hour(),
            dry_run: false,
            reason: None,
            allow_outage: false,
            cluster_size: None,
            stable_s: two_minutes(),
            soak_s: 0,
            preferred_leaders: false,
        }
    }

    /// A member of it.
    pub fn member(&self, id: &str) -> Option<&PlanMember> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The number of members that the cluster is to have; `None` where the plan says nothing of it.
    pub fn size(&self) -> Option<usize> {
        self.cluster_size.or_else(|| Some(self.members.len()).filter(|size| *size > 0))
    }

    /// For how long it lives without a word.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_s)
    }

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !is_name(&self.plan_id) {
            found.push("plan_id: 1 to 128 letters, digits, and . - _ : are taken".to_owned());
        }
        if self.members.is_empty() || self.members.len() > MEMBERS {
            found.push(format!("members: 1 to {MEMBERS} are taken"));
        }
        let mut seen = BTreeSet::new();
        for (index, member) in self.members.iter().enumerate() {
            let at = |field: &str| format!("members[{index}].{field}");
            if !is_name(&member.id) {
                found.push(format!("{}: 1 to 128 letters, digits, and . - _ : are taken", at("id")));
            }
            if !seen.insert(&member.id) {
                found.push(format!("{}: {} is there twice", at("id"), member.id));
            }
            for (field, text) in [("address", &member.address), ("zone", &member.zone)] {
                if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > NAME) {
                    found.push(format!("{}: 1 to {NAME} bytes are taken", at(field)));
                }
            }
            for (field, text) in [("from", &member.from), ("to", &member.to)] {
                if let Some(text) = text.as_ref().filter(|text| text.len() > NAME || !is_version(text)) {
                    found.push(format!("{}: {text:?} is no version such as 4.3.1", at(field)));
                }
            }
        }
        if self.max_unavailable == 0 {
            found.push("max_unavailable: with 0 no member can ever stop".to_owned());
        }
        if !TTL.contains(&self.ttl_s) {
            found.push(format!("ttl_s: {} to {} are taken", TTL.start(), TTL.end()));
        }
        if self.cluster_size.is_some_and(|size| size < self.members.len()) {
            found.push("cluster_size: fewer than the plan has members".to_owned());
        }
        for (field, seconds) in [("stable_s", self.stable_s), ("soak_s", self.soak_s)] {
            if seconds > *TTL.end() * 30 {
                found.push(format!("{field}: more than 30 days"));
            }
        }
        if self.reason.as_ref().is_some_and(|reason| reason.len() > 1000) {
            found.push("reason: 1000 bytes are taken".to_owned());
        }
        found
    }
}

/// Whether this may be a plan's or member's name: it gets into paths, labels and logs.
fn is_name(text: &str) -> bool {
    (1..=NAME).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Plan, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_smallest_plan_has_the_defaults_that_are_written() {
        let plan = read(r#"{"plan_id":"p","generation":1,"members":[{"id":"1"},{"id":"2"}]}"#).unwrap();
        assert_eq!(plan.problems(), Vec::<String>::new());
        assert_eq!((plan.max_unavailable, plan.pin, plan.ttl_s, plan.stable_s), (1, Pin::Lowest, 3600, 120));
        assert_eq!((plan.size(), plan.dry_run, plan.allow_outage), (Some(2), false, false));
        assert_eq!(Plan::none().size(), None);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = read(r#"{"plan_id":"p","generation":1,"members":[],"stabel_s":5}"#).unwrap_err();
        assert!(error.contains("stabel_s"), "{error}");
        let error =
            read(r#"{"plan_id":"p","generation":1,"members":[{"id":"1","form":"3.9"}]}"#).unwrap_err();
        assert!(error.contains("form"), "{error}");
        assert!(
            read(r#"{"plan_id":"p","generation":1,"members":[],"pin":"highest"}"#)
                .unwrap_err()
                .contains("highest")
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = r#"{"plan_id":"a b","generation":1,"members":[{"id":"1","to":"latest"},{"id":"1","zone":""},{"id":""}],
            "max_unavailable":0,"ttl_s":5,"cluster_size":2}"#;
        let found = read(text).unwrap().problems();
        for part in [
            "plan_id",
            "[0].to",
            "[1].id: 1 is there twice",
            "[1].zone",
            "[2].id",
            "max_unavailable",
            "ttl_s",
            "cluster_size",
        ] {
            assert!(found.iter().any(|problem| problem.contains(part)), "{part}: {found:?}");
        }
        assert_eq!(found.len(), 8);
        let none = read(r#"{"plan_id":"p","generation":1,"members":[]}"#).unwrap();
        assert_eq!(none.problems().len(), 1);
        let long = Plan { stable_s: u64::MAX, soak_s: u64::MAX, reason: Some("x".repeat(1001)), ..none };
        assert_eq!(long.problems().len(), 4);
    }
}
