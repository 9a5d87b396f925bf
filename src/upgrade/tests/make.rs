//! A cluster of three where all is well, to be spoilt by a test.

use crate::upgrade::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nodes 1 to 3 in zones a to c; node 1 is the controller.
pub(super) fn kafka() -> Facts {
    let partition = |index: i32, replicas: [i32; 3]| Partition {
        topic: "orders".into(),
        index,
        leader: replicas[0],
        replicas: replicas.to_vec(),
        isr: replicas.to_vec(),
        min_isr: Some(2),
    };
    let voter = |id| Voter { id, caught_up: true };
    let cluster = Kafka {
        partitions: Ok(Arc::new(vec![
            partition(0, [1, 2, 3]),
            partition(1, [2, 3, 1]),
            partition(2, [3, 1, 2]),
        ])),
        quorum: Ok(Quorum::Raft { leader: 1, voters: vec![voter(1), voter(2), voter(3)] }),
        reassigning: Ok(Vec::new()),
        rebalancing: Ok(Vec::new()),
        loading: Ok(Vec::new()),
        finalized: Ok(21),
        upgrade_check: Ok(()),
        downgrade_check: Err("not possible".to_owned()),
        dropped: Vec::new(),
    };
    facts(["1", "2", "3"], "3.9", Cluster::Kafka(Ok(cluster)))
}

/// Three servers; `zk-1:2181` leads.
pub(super) fn zookeeper() -> Facts {
    let ids = ["zk-1:2181", "zk-2:2181", "zk-3:2181"];
    let mode = |index| if index == 0 { Mode::Leader } else { Mode::Follower };
    let cluster = ZooKeeper {
        modes: ids.iter().enumerate().map(|(index, id)| ((*id).to_owned(), Ok(mode(index)))).collect(),
        voters: Ok(3),
        synced_followers: Ok(2),
        pending_syncs: Ok(0),
    };
    facts(ids, "3.8.7", Cluster::ZooKeeper(Ok(cluster)))
}

fn facts(ids: [&str; 3], version: &str, cluster: Cluster) -> Facts {
    let member = |(index, id): (usize, &&str)| Member {
        id: (*id).to_owned(),
        address: format!("10.0.0.{index}:9092"),
        zone: Some(["a", "b", "c"][index].to_owned()),
        listed: Ok(true),
        reach: Reach::Up,
        was_away: None,
        version: Ok(version.to_owned()),
        drain: DrainState::Off,
        in_flight: 0,
        sessions: 0,
    };
    Facts {
        age: Some(Duration::from_secs(1)),
        members: ids.iter().enumerate().map(member).collect(),
        hold: Hold { waiting: 0, bytes: 0, limit: 1000 },
        client_errors: 0,
        cluster,
    }
}

/// A plan for all members of some facts.
pub(super) fn plan(facts: &Facts, from: &str, to: &str) -> Plan {
    let members = facts.members.iter().map(|member| PlanMember {
        id: member.id.clone(),
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
        ..PlanMember::default()
    });
    Plan { plan_id: "p".to_owned(), generation: 1, members: members.collect(), stable_s: 0, ..Plan::none() }
}

impl Facts {
    pub(super) fn of(&mut self, id: &str) -> &mut Member {
        self.members.iter_mut().find(|member| member.id == id).unwrap()
    }

    pub(super) fn in_kafka(&mut self) -> &mut Kafka {
        match &mut self.cluster {
            Cluster::Kafka(Ok(kafka)) => kafka,
            _ => panic!("not Kafka"),
        }
    }

    pub(super) fn partition(&mut self, index: usize) -> &mut Partition {
        &mut Arc::make_mut(self.in_kafka().partitions.as_mut().unwrap())[index]
    }

    pub(super) fn in_ensemble(&mut self) -> &mut ZooKeeper {
        match &mut self.cluster {
            Cluster::ZooKeeper(Ok(ensemble)) => ensemble,
            _ => panic!("not ZooKeeper"),
        }
    }

    /// With a member that has been drained.
    pub(super) fn drained(mut self, id: &str) -> Self {
        self.of(id).drain = DrainState::Drained;
        self
    }
}

/// The codes against it, by a roll of which this plan is all that is known.
pub(super) fn codes(
    gate: Gate,
    plan: Option<Plan>,
    member: Option<&str>,
    facts: &Facts,
) -> Vec<&'static str> {
    verdict(gate, plan, member, facts).reasons.iter().map(|reason| reason.code.as_str()).collect()
}

pub(super) fn verdict(gate: Gate, plan: Option<Plan>, member: Option<&str>, facts: &Facts) -> Verdict {
    let (mut roll, now) = (Roll::default(), Instant::now());
    if let Some(plan) = plan {
        roll.put(plan, now).unwrap();
    }
    roll.observe(facts, now);
    let verdict = roll.ask(gate, member, facts, now);
    assert!(verdict.reasons.iter().all(|reason| !reason.detail.is_empty()), "{verdict:?}");
    verdict
}
