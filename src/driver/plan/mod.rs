//! `PLAN.toml`: what is to be done, in which bounds. Read whole, checked whole; `config/plan.toml` shows every key.

mod check;
#[cfg(test)]
mod tests;
mod tried;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admin::client::Credentials;
use crate::fleet::Source;
use crate::upgrade::{self, Pin, PlanMember};

pub(super) use tried::{TRIED_GENERATION, TRIED_S, is_tried, tried_id};

/// Which protocol the cluster speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Kafka.
    Kafka,
    /// `ZooKeeper`.
    ZooKeeper,
}

/// How long a drain lasts unless it is said again, in seconds.
pub(super) const DRAIN_LASTS_S: u64 = 600;

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
    #[serde(default)]
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
    #[serde(default)]
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
    #[serde(default)]
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

/// Where the sidecars are, `list` or `dns`, and how they let us in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecars {
    /// Their admin listeners.
    #[serde(default)]
    pub list: Option<Vec<String>>,
    /// `NAME:PORT`: every address of the name.
    #[serde(default)]
    pub dns: Option<String>,
    /// A file with the token that lets us in.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Certificates of the authorities that issue theirs (PEM); they are asked by TLS then.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Our own certificate (PEM), with `key`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The private key of `certificate` (PEM).
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// How a Kafka cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brokers {
    /// `HOST:PORT` of some brokers.
    pub bootstrap: Vec<String>,
    /// A sidecar's configuration file, whose cluster of this name says how they are connected (`tls`, `sasl`).
    #[serde(default)]
    pub config: Option<PathBuf>,
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
        Self::read(path, Self::problems)
    }

    /// Reads the same of a file that need not say what is to be done: whose sidecars they are, and where.
    ///
    /// # Errors
    /// As [`Self::load`], as far as that goes.
    pub fn load_fleet(path: &Path) -> Result<Self, String> {
        Self::read(path, Self::problems_of_the_fleet)
    }

    fn read(path: &Path, problems: impl Fn(&Self) -> Vec<String>) -> Result<Self, String> {
        let name = path.display();
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("{name}: can't be read: {error}"))?;
        Self::parsed(&text, problems).map_err(|problems| {
            problems.iter().map(|problem| format!("{name}: {problem}")).collect::<Vec<_>>().join("\n")
        })
    }

    /// Reads text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        Self::parsed(text, Self::problems)
    }

    fn parsed(text: &str, problems: impl Fn(&Self) -> Vec<String>) -> Result<Self, Vec<String>> {
        let plan: Self =
            toml_edit::de::from_str(text).map_err(|error| vec![error.to_string().trim_end().to_owned()])?;
        let problems = problems(&plan);
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
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

    /// How the sidecars let us in; what the command line says goes first.
    pub fn credentials(&self, said: &Credentials) -> Credentials {
        let own = &self.sidecars;
        let or = |said: &Option<PathBuf>, own: &Option<PathBuf>| said.as_ref().or(own.as_ref()).cloned();
        Credentials {
            token_file: or(&said.token_file, &own.token_file),
            ca: or(&said.ca, &own.ca),
            certificate: or(&said.certificate, &own.certificate),
            key: or(&said.key, &own.key),
            name: said.name.clone(),
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

    /// How long a member stays drained, at most, where nothing is heard any more of its drain nor of the plan, in seconds.
    pub fn drain_lasts_s(&self) -> u64 {
        DRAIN_LASTS_S.min(self.ttl_s)
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
