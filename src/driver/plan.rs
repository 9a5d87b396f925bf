//! `PLAN.toml`: what is to be done, in which bounds. Read whole, checked whole; `config/plan.toml` shows every key.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fleet::Source;
use crate::upgrade::{self, Pin, PlanMember};

/// The longest name of a plan: that of its rollback is longer.
const NAME: usize = 100;

/// Which protocol the cluster speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Kafka.
    Kafka,
    /// `ZooKeeper`.
    ZooKeeper,
}

/// What is done about a sidecar that doesn't answer for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadSidecars {
    /// The roll stops.
    #[default]
    Stop,
    /// The roll goes on without it: its clients feel what comes.
    GoOn,
}

/// See the module. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a file, each by its name")]
pub struct PlanFile {
    /// Its name.
    pub plan_id: String,
    /// The first generation that is put.
    #[serde(default = "first")]
    pub generation: u64,
    /// The cluster's name in the sidecars' configuration.
    pub cluster: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The version of all members now.
    #[serde(default)]
    pub from: Option<String>,
    /// The version that all are to have.
    #[serde(default)]
    pub to: Option<String>,
    /// The members, in the order in which they have their turn where nothing else decides.
    pub members: Vec<Member>,
    /// How many members the cluster has; as many as are listed, if it isn't given.
    #[serde(default)]
    pub cluster_size: Option<usize>,
    /// Why; for people.
    #[serde(default)]
    pub reason: Option<String>,
    /// What clients are offered meanwhile.
    #[serde(default)]
    pub pin: Pin,
    /// What no cluster of this shape can be spared is a cost, not a reason.
    #[serde(default)]
    pub allow_outage: bool,
    /// For how long all must be well between two members.
    #[serde(default = "two_minutes")]
    pub stable_s: u64,
    /// For how long all members must be back before the end.
    #[serde(default)]
    pub soak_s: u64,
    /// The sidecars forget the plan when nothing is heard of it for so long.
    #[serde(default = "hour")]
    pub ttl_s: u64,
    /// `next` waits until preferred leaders lead again (Kafka).
    #[serde(default)]
    pub preferred_leaders: bool,
    /// A member's leaders are moved away before its drain, and back afterwards (Kafka).
    #[serde(default)]
    pub move_leaders: bool,
    /// Stops, upgrades and starts a member.
    pub command: String,
    /// The same, back to the version before.
    #[serde(default)]
    pub rollback_command: Option<String>,
    /// Says whether a member had its turn: exits with 0 if so, 1 if not, anything else if that isn't known.
    #[serde(default)]
    pub check: Option<String>,
    /// Raises the cluster's version at the end; must be harmless to repeat.
    #[serde(default)]
    pub finalize_command: Option<String>,
    /// The driver itself raises `metadata.version` at the end (Kafka).
    #[serde(default)]
    pub raise_features: bool,
    /// What is done about a sidecar that doesn't answer for `bounds.silent_s`.
    #[serde(default)]
    pub dead_sidecars: DeadSidecars,
    /// Where the sidecars are.
    pub sidecars: Sidecars,
    /// How the cluster itself is reached (Kafka).
    #[serde(default)]
    pub kafka: Option<Brokers>,
    /// How long things may take.
    #[serde(default)]
    pub bounds: Bounds,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// A node id, or `HOST:PORT` as in the sidecars' configuration (`ZooKeeper`).
    pub id: String,
    /// Where its controller knows it; handed to commands.
    #[serde(default)]
    pub address: Option<String>,
    /// Its zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its version now, if not that of all.
    #[serde(default)]
    pub from: Option<String>,
    /// The version that it is to have, if not that of all.
    #[serde(default)]
    pub to: Option<String>,
}

/// Where the sidecars are: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecars {
    /// Their admin listeners.
    #[serde(default)]
    pub list: Option<Vec<String>>,
    /// `NAME:PORT`: every address of the name.
    #[serde(default)]
    pub dns: Option<String>,
}

/// How a Kafka cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brokers {
    /// `HOST:PORT` of some brokers.
    pub bootstrap: Vec<String>,
}

/// How long things may take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_field_names, reason = "the names of keys, which say their unit")]
pub struct Bounds {
    /// A gate may stay closed, besides the time for which all must be well.
    pub gate_s: u64,
    /// A drain.
    pub drain_s: u64,
    /// Leaders that are moved away, or back.
    pub leaders_s: u64,
    /// A command.
    pub command_s: u64,
    /// A member may be away after its command.
    pub back_s: u64,
    /// A member that is there after its command, and was not seen to go, counts as back.
    pub settle_s: u64,
    /// A sidecar may be silent.
    pub silent_s: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            gate_s: 1800,
            drain_s: 120,
            leaders_s: 120,
            command_s: 900,
            back_s: 600,
            settle_s: 15,
            silent_s: 60,
        }
    }
}

/// Which way members go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the version that the plan names.
    #[default]
    Forward,
    /// Back to the version before.
    Back,
}

impl Direction {
    /// For the environment of commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "upgrade",
            Self::Back => "rollback",
        }
    }
}

fn first() -> u64 {
    1
}

fn two_minutes() -> u64 {
    120
}

fn hour() -> u64 {
    3600
}

impl PlanFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, a line each.
    pub fn load(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("{name}: can't be read: {error}"))?;
        let plan = Self::parse(&text).map_err(|problems| {
            problems.iter().map(|problem| format!("{name}: {problem}")).collect::<Vec<_>>().join("\n")
        })?;
        Ok(plan)
    }

    /// Reads text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let plan: Self =
            toml_edit::de::from_str(text).map_err(|error| vec![error.to_string().trim_end().to_owned()])?;
        let problems = plan.problems();
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<String> {
        let ids = self.members.iter().map(|member| member.id.clone()).collect::<Vec<_>>();
        let mut found = self.order(Direction::Forward, self.generation, &ids, self.soak_s).problems();
        if self.plan_id.len() > NAME {
            found.push(format!("plan_id: at most {NAME} characters are taken"));
        }
        if self.generation == 0 {
            found.push("generation: 1 is the first".to_owned());
        }
        if self.cluster.is_empty() || self.cluster.contains(['/', '?', '#', ' ']) {
            found.push("cluster: the name in the sidecars' configuration is needed".to_owned());
        }
        for (key, command) in [
            ("command", Some(&self.command)),
            ("rollback_command", self.rollback_command.as_ref()),
            ("check", self.check.as_ref()),
            ("finalize_command", self.finalize_command.as_ref()),
        ] {
            if command.is_some_and(|command| command.trim().is_empty()) {
                found.push(format!("{key}: is empty"));
            }
        }
        match self.source() {
            Ok(source) => {
                found.extend(source.problems().into_iter().map(|problem| format!("sidecars: {problem}")));
            }
            Err(problem) => found.push(problem),
        }
        self.problems_of_the_protocol(&mut found);
        let Bounds { gate_s, drain_s, leaders_s, command_s, back_s, settle_s, silent_s } = self.bounds;
        for (key, seconds) in [
            ("gate_s", gate_s),
            ("drain_s", drain_s),
            ("leaders_s", leaders_s),
            ("command_s", command_s),
            ("back_s", back_s),
            ("silent_s", silent_s),
        ] {
            if !(1..=30 * 86_400).contains(&seconds) {
                found.push(format!("bounds.{key}: 1 second to 30 days are taken"));
            }
        }
        if settle_s >= back_s {
            found.push("bounds.settle_s: less than back_s is needed".to_owned());
        }
        found
    }

    fn problems_of_the_protocol(&self, found: &mut Vec<String>) {
        let asks = [
            ("move_leaders", self.move_leaders),
            ("raise_features", self.raise_features),
            ("preferred_leaders", self.preferred_leaders),
        ];
        match self.protocol {
            Protocol::ZooKeeper => {
                for (key, _) in asks.iter().filter(|(_, asked)| *asked) {
                    found.push(format!("{key}: ZooKeeper has nothing of the kind"));
                }
                if self.kafka.is_some() {
                    found.push("kafka: is for protocol = \"kafka\"".to_owned());
                }
            }
            Protocol::Kafka => {
                for member in self.members.iter().filter(|member| member.id.parse::<i32>().is_err()) {
                    found.push(format!("members: {:?} is no node id", member.id));
                }
                let brokers = self.kafka.as_ref().map_or(&[][..], |kafka| &kafka.bootstrap);
                if brokers.is_empty() && (self.move_leaders || self.raise_features) {
                    found.push("kafka.bootstrap: move_leaders and raise_features need it".to_owned());
                }
                for address in brokers.iter().filter(|address| split(address).is_none()) {
                    found.push(format!("kafka.bootstrap: {address:?} is not HOST:PORT"));
                }
            }
        }
        if self.raise_features && self.finalize_command.is_some() {
            found.push("raise_features: or finalize_command, not both".to_owned());
        }
    }

    /// Where the sidecars are.
    ///
    /// # Errors
    /// None, or two places are named.
    pub fn source(&self) -> Result<Source, String> {
        match (&self.sidecars.list, &self.sidecars.dns) {
            (Some(list), None) => Ok(Source::List(list.clone())),
            (None, Some(name)) => Ok(Source::Dns(name.clone())),
            _ => Err("sidecars: list or dns, one of the two".to_owned()),
        }
    }

    /// A member.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// The version that a member has before its turn, and after it.
    pub fn versions(&self, id: &str, direction: Direction) -> (Option<&str>, Option<&str>) {
        let member = self.member(id);
        let from = member.and_then(|member| member.from.as_deref()).or(self.from.as_deref());
        let to = member.and_then(|member| member.to.as_deref()).or(self.to.as_deref());
        match direction {
            Direction::Forward => (from, to),
            Direction::Back => (to, from),
        }
    }

    /// The command for a member's turn.
    pub fn command(&self, direction: Direction) -> Option<&str> {
        match direction {
            Direction::Forward => Some(&self.command),
            Direction::Back => self.rollback_command.as_deref(),
        }
    }

    /// The name of the plan that sidecars get.
    pub fn id(&self, direction: Direction) -> String {
        match direction {
            Direction::Forward => self.plan_id.clone(),
            Direction::Back => format!("{}-rollback", self.plan_id),
        }
    }

    /// The plan that sidecars get.
    pub fn order(
        &self,
        direction: Direction,
        generation: u64,
        members: &[String],
        soak_s: u64,
    ) -> upgrade::Plan {
        let members = members.iter().map(|id| {
            let (from, to) = self.versions(id, direction);
            let known = self.member(id);
            PlanMember {
                id: id.clone(),
                address: known.and_then(|known| known.address.clone()),
                zone: known.and_then(|known| known.zone.clone()),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            }
        });
        upgrade::Plan {
            plan_id: self.id(direction),
            generation,
            members: members.collect(),
            pin: self.pin,
            ttl_s: self.ttl_s,
            reason: self.reason.clone(),
            allow_outage: self.allow_outage,
            cluster_size: Some(self.cluster_size.unwrap_or(self.members.len())),
            stable_s: self.stable_s,
            soak_s,
            preferred_leaders: self.preferred_leaders,
            ..upgrade::Plan::none()
        }
    }

    /// The bound of a gate that waits until all has been well for some time.
    pub fn next_bound(&self) -> Duration {
        Duration::from_secs(self.bounds.gate_s.saturating_add(self.stable_s))
    }
}

/// Host and port.
pub(super) fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some(())?;
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = include_str!("../../config/plan.toml");
    const SMALL: &str = "plan_id = \"p\"\ncluster = \"orders\"\nprotocol = \"kafka\"\nmembers = [{ id = \"1\" }, { id = \"2\" }]\n\
        command = \"true\"\nsidecars = { list = [\"127.0.0.1:9901\"] }\n";

    #[test]
    fn the_full_example_is_a_plan_and_has_every_key() {
        let plan = PlanFile::parse(FULL).unwrap();
        assert_eq!(plan.bounds, Bounds::default(), "the example shows the defaults");
        let small = PlanFile::parse(SMALL).unwrap();
        assert_eq!(small.bounds, Bounds::default());
        assert_eq!((small.generation, small.stable_s, small.soak_s, small.ttl_s), (1, 120, 0, 3600));
        assert_eq!(
            (plan.stable_s, plan.soak_s, plan.ttl_s),
            (120, 0, 3600),
            "the example shows the defaults"
        );
        // Every key that there is stands in the example, if only as a comment.
        let error = PlanFile::parse(&format!("no_such_key = 1\n{SMALL}")).unwrap_err().join("");
        let keys = error.split_once("expected one of").unwrap().1;
        for key in keys.split('`').skip(1).step_by(2) {
            let stands = |line: &str| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} ="))
                    || line.starts_with(&format!("[{key}]"))
                    || line.starts_with(&format!("[[{key}]]"))
            };
            assert!(FULL.lines().any(stands), "{key} is not in config/plan.toml");
        }
    }

    #[test]
    fn everything_wrong_is_told_with_its_key() {
        let wrong = |change: &dyn Fn(&mut PlanFile), part: &str| {
            let mut plan = PlanFile::parse(SMALL).unwrap();
            change(&mut plan);
            let found = plan.problems();
            assert!(found.iter().any(|problem| problem.contains(part)), "{part}: {found:?}");
        };
        wrong(&|plan| plan.plan_id = "a b".to_owned(), "plan_id");
        wrong(&|plan| plan.generation = 0, "generation");
        wrong(&|plan| plan.cluster = String::new(), "cluster:");
        wrong(&|plan| plan.members[0].id = "one".to_owned(), "no node id");
        wrong(&|plan| plan.cluster_size = Some(1), "cluster_size");
        wrong(&|plan| plan.command = " ".to_owned(), "command");
        wrong(&|plan| plan.check = Some(String::new()), "check");
        wrong(&|plan| plan.sidecars.dns = Some("a:1".to_owned()), "one of the two");
        wrong(&|plan| plan.sidecars = Sidecars { list: None, dns: Some("a".to_owned()) }, "NAME:PORT");
        wrong(&|plan| plan.move_leaders = true, "kafka.bootstrap");
        wrong(&|plan| plan.kafka = Some(Brokers { bootstrap: vec!["a".to_owned()] }), "HOST:PORT");
        wrong(&|plan| (plan.protocol, plan.move_leaders) = (Protocol::ZooKeeper, true), "move_leaders");
        wrong(&|plan| plan.bounds.gate_s = 0, "bounds.gate_s");
        wrong(&|plan| plan.bounds.settle_s = 600, "settle_s");
        wrong(
            &|plan| (plan.raise_features, plan.finalize_command) = (true, Some("x".to_owned())),
            "not both",
        );
        wrong(&|plan| plan.ttl_s = 1, "ttl_s");
        for text in ["stabel_s = 1\n", "members = 3\n", "[bounds]\ngates = 1\n"] {
            assert!(PlanFile::parse(&format!("{text}{SMALL}")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rollback_is_the_plan_the_other_way_round() {
        let text = format!("from = \"3.9.2\"\nto = \"4.3.1\"\n{SMALL}");
        let plan = PlanFile::parse(&text).unwrap();
        let members = ["2".to_owned()];
        let order = plan.order(Direction::Back, 7, &members, 0);
        assert_eq!((order.plan_id.as_str(), order.generation, order.size()), ("p-rollback", 7, Some(2)));
        let member = order.member("2").unwrap();
        assert_eq!((member.from.as_deref(), member.to.as_deref()), (Some("4.3.1"), Some("3.9.2")));
        assert!(order.problems().is_empty());
    }
}
