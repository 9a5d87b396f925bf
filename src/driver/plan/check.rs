//! What is wrong with a plan, all of it at once. Pure.

use crate::config;

use super::{Bounds, Direction, PlanFile, Protocol, split};

/// The longest name of a plan: that of its rollback is longer.
const NAME: usize = 100;

impl PlanFile {
    pub(super) fn problems(&self) -> Vec<String> {
        let ids = self.members.iter().map(|member| member.id.clone()).collect::<Vec<_>>();
        let mut found = self.order(Direction::Forward, self.generation, &ids, self.soak_s).problems();
        if self.plan_id.len() > NAME {
            found.push(format!("plan_id: at most {NAME} characters are taken"));
        }
        if self.generation == 0 {
            found.push("generation: 1 is the first".to_owned());
        }
        for (key, command) in [
            ("command", Some(&self.command)),
            ("rollback_command", self.rollback_command.as_ref()),
            ("check", self.check.as_ref()),
            ("finalize_command", self.finalize_command.as_ref()),
        ] {
            if command.is_some_and(|command| command.trim().is_empty()) {
                found.push(format!("{key}: is missing or empty"));
            }
        }
        found.extend(self.problems_of_the_fleet());
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

    pub(super) fn problems_of_the_fleet(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(problem) = config::problem_of_a_name(&self.cluster) {
            found.push(format!("cluster: {problem}; the name in the sidecars' configuration is needed"));
        }
        match self.source() {
            Ok(source) => {
                found.extend(source.problems().into_iter().map(|problem| format!("sidecars: {problem}")));
            }
            Err(problem) => found.push(problem),
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
}
