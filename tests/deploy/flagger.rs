//! `deploy/flagger/canary.yaml` at its own pace, without a plan: the gate that it asks for opens, and closes when it should.

use std::time::{Duration, Instant};

use evenkeel::upgrade::{
    Cluster, DrainState, Facts, Gate, Hold, Member, Mode, Plan, Reach, Roll, Verdict, ZooKeeper,
};

use crate::yaml;

const SECOND: Duration = Duration::from_secs(1);
/// What a sidecar looks at without asking the cluster, while no plan lives (`src/admin/hook.rs`).
const IDLE: u32 = 10;

fn interval() -> u32 {
    let text = yaml("deploy/flagger/canary.yaml")[0]["spec"]["analysis"]["interval"]
        .as_str()
        .expect("interval")
        .to_owned();
    text.strip_suffix('s').expect("seconds").parse().unwrap()
}

/// Three servers where all is well, asked so long ago.
fn facts(age: u32) -> Facts {
    let ids = ["zk-1:2181", "zk-2:2181", "zk-3:2181"];
    let member = |id: &str| Member {
        id: id.to_owned(),
        address: id.to_owned(),
        zone: None,
        listed: Ok(true),
        reach: Reach::Up,
        was_away: None,
        version: Ok("3.9.5".to_owned()),
        drain: DrainState::Off,
        in_flight: 0,
        sessions: 5,
    };
    let mode = |id: &str| if id == ids[0] { Mode::Leader } else { Mode::Follower };
    Facts {
        age: Some(SECOND * age),
        members: ids.map(member).into(),
        hold: Hold { waiting: 0, bytes: 0, limit: 1000 },
        client_errors: 0,
        cluster: Cluster::ZooKeeper(Ok(ZooKeeper {
            modes: ids.map(|id| (id.to_owned(), Ok(mode(id)))).into(),
            voters: Ok(3),
            synced_followers: Ok(2),
            pending_syncs: Ok(0),
        })),
    }
}

/// Asks as the file does, a little late each time, for so many rounds; between that the sidecar looks by itself. `spoil`: what is seen at a
/// look, by the second at which it is.
fn rounds(count: u32, spoil: impl Fn(u32, &mut Facts)) -> Vec<Verdict> {
    let (mut roll, t0) = (Roll::default(), Instant::now());
    let late = Duration::from_millis(50);
    let mut told = Vec::new();
    for round in 0..count {
        let begin = round * interval();
        let asked = t0 + SECOND * begin + late * round;
        let mut fresh = facts(1);
        spoil(begin, &mut fresh);
        roll.observe(&fresh, asked);
        told.push(roll.ask(Gate::Next, Some("zk-1:2181"), &fresh, asked));
        for after in (IDLE..interval()).step_by(IDLE as usize) {
            let mut old = facts(after);
            spoil(begin + after, &mut old);
            assert_eq!(roll.observe(&old, asked + SECOND * after), []);
        }
    }
    told
}

#[test]
fn a_rollout_is_let_through_where_all_is_well() {
    let stable = u32::try_from(Plan::none().stable_s).unwrap();
    let needed = stable.div_ceil(interval());
    let told = rounds(needed + 1, |_, _| {});
    let open: Vec<bool> = told.iter().map(Verdict::is_open).collect();
    let expected: Vec<bool> = (0..=needed).map(|round| round == needed).collect();
    assert_eq!(open, expected, "{told:?}");
    // Flagger gives a hook up after so many failures: before that it is let through.
    let threshold = yaml("deploy/flagger/canary.yaml")[0]["spec"]["analysis"]["threshold"].as_i64().unwrap();
    assert!(threshold > i64::from(needed), "{threshold}");
}

#[test]
fn what_is_seen_between_two_questions_counts() {
    let stable = u32::try_from(Plan::none().stable_s).unwrap();
    let last = stable.div_ceil(interval());
    let away = move |second: u32, facts: &mut Facts| {
        if second == interval() * (last - 1) + 2 * IDLE {
            facts.members[0].reach = Reach::Down("refused".to_owned());
        }
    };
    let told = rounds(last + 1, away);
    assert!(told.iter().all(|verdict| !verdict.is_open()), "{told:?}");
}
