//! Plans come, are renewed and end; members have their turn.

use super::make::{kafka, plan, zookeeper};
use crate::upgrade::*;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn first() -> Plan {
    plan(&kafka(), "3.8.1", "3.9.2")
}

fn ticket(generation: u64) -> Ticket {
    Ticket { plan_id: "p".to_owned(), generation }
}

#[test]
fn the_same_plan_again_is_the_same() {
    let (mut roll, t0) = (Roll::default(), Instant::now());
    assert_eq!(roll.put(first(), t0), Ok((Put::Begun, vec![Action::HoldPin(false)])), "its pin is off");
    assert_eq!(roll.put(first(), t0 + SECOND * 10), Ok((Put::Renewed, Vec::new())));
    let (_, left) = roll.plan(t0 + SECOND * 11).unwrap();
    assert_eq!(left, SECOND * 3599, "it was heard of a second ago");
    let changed = Plan { max_unavailable: 2, ..first() };
    assert!(matches!(roll.put(changed.clone(), t0), Err(Refusal::Changed { .. })));
    let raised = Plan { generation: 2, pin: Pin::Lowest, ..changed };
    assert_eq!(roll.put(raised, t0), Ok((Put::Replaced, vec![Action::HoldPin(true)])));
    let stale = roll.put(first(), t0).unwrap_err();
    assert_eq!(stale.to_string(), "stale: plan p is at generation 2, not 1");
    assert!(matches!(roll.put(Plan { members: Vec::new(), ..first() }, t0), Err(Refusal::Wrong(_))));
}

#[test]
fn another_plan_comes_in_with_a_higher_generation_only() {
    let (mut roll, t0) = (Roll::default(), Instant::now());
    let other = |generation| Plan { plan_id: "q".to_owned(), generation, ..first() };
    roll.put(Plan { generation: 5, ..first() }, t0).unwrap();
    for generation in [4, 5] {
        assert!(matches!(roll.put(other(generation), t0), Err(Refusal::Other { generation: 5, .. })));
    }
    assert_eq!(roll.put(other(6), t0).unwrap().0, Put::Replaced);
    assert!(matches!(roll.drain("1", Some(&ticket(5)), t0), Err(Refusal::Other { .. })));
}

#[test]
fn orders_need_the_ticket_of_the_plan_that_lives() {
    let (mut roll, t0) = (Roll::default(), Instant::now());
    assert_eq!(roll.drain("1", Some(&ticket(1)), t0), Err(Refusal::NoPlan));
    roll.put(Plan { generation: 2, ..first() }, t0).unwrap();
    for generation in [1, 3] {
        assert!(matches!(
            roll.drain("1", Some(&ticket(generation)), t0),
            Err(Refusal::Stale { known: 2, .. })
        ));
    }
    assert_eq!(roll.drain("9", Some(&ticket(2)), t0), Err(Refusal::NotInPlan("9".to_owned())));
    assert_eq!(roll.drain("1", Some(&ticket(2)), t0 + SECOND * 100), Ok(true));
    assert_eq!(roll.plan(t0 + SECOND * 100).unwrap().1, SECOND * 3600, "an order renews it");
    assert_eq!(roll.drain("9", None, t0), Ok(true), "a person needs no plan");
    assert_eq!(roll.undrain("1", Some(&ticket(2)), t0), Ok(true));
    assert!(roll.undrain("1", Some(&ticket(1)), t0).is_err());
}

#[test]
fn a_dry_run_moves_nobody() {
    let (mut roll, t0) = (Roll::default(), Instant::now());
    let dry = Plan { dry_run: true, pin: Pin::Lowest, ..first() };
    assert_eq!(roll.put(dry, t0), Ok((Put::Begun, vec![Action::HoldPin(false)])));
    assert_eq!(roll.drain("1", Some(&ticket(1)), t0), Ok(false));
    assert_eq!(roll.undrain("1", Some(&ticket(1)), t0), Ok(false));
    assert_eq!(roll.abort(&ticket(1), t0), Ok(Vec::new()));
}

#[test]
fn a_dead_controller_leaves_nothing_blocked() {
    let (mut roll, facts, t0) = (Roll::default(), kafka().drained("2"), Instant::now());
    roll.put(Plan { ttl_s: 60, pin: Pin::Lowest, ..first() }, t0).unwrap();
    roll.drain("2", Some(&ticket(1)), t0).unwrap();
    roll.drain("3", None, t0).unwrap();
    assert_eq!(roll.observe(&facts, t0 + SECOND * 59), [Action::Drained(SECOND * 59)]);
    let ended = roll.observe(&facts, t0 + SECOND * 60);
    assert_eq!(
        ended,
        [Action::Undrain("2".to_owned()), Action::HoldPin(false)],
        "the person's drain is not the plan's"
    );
    assert_eq!((roll.plan(t0), roll.last()), (None, Some(("p", 1, Ended::Expired))));
    assert!(matches!(roll.drain("2", Some(&ticket(1)), t0), Err(Refusal::Over { how: "expired", .. })));
    // It was only away.
    assert_eq!(roll.put(first(), t0 + SECOND * 70).unwrap().0, Put::Begun);
    let stale = Plan { generation: 0, ..first() };
    assert!(matches!(roll.put(stale, t0 + SECOND * 70), Err(Refusal::Stale { .. })));
}

#[test]
fn giving_up_ends_its_drains_once() {
    let (mut roll, t0) = (Roll::default(), Instant::now());
    assert_eq!(roll.abort(&ticket(1), t0), Err(Refusal::NoPlan));
    roll.put(first(), t0).unwrap();
    roll.drain("2", Some(&ticket(1)), t0).unwrap();
    assert_eq!(roll.abort(&ticket(1), t0), Ok(vec![Action::Undrain("2".to_owned())]));
    assert_eq!(roll.abort(&ticket(1), t0), Ok(Vec::new()), "idempotent");
    assert!(matches!(roll.put(first(), t0), Err(Refusal::Over { how: "aborted", .. })));
    assert!(matches!(roll.put(Plan { generation: 0, ..first() }, t0), Err(Refusal::Stale { .. })));
    assert_eq!(roll.put(Plan { generation: 2, ..first() }, t0).unwrap().0, Put::Begun);
}

#[test]
fn finalizing_needs_its_gate_and_lifts_the_pin() {
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    roll.put(Plan { pin: Pin::Lowest, ..first() }, t0).unwrap();
    facts.of("3").version = Ok("3.8".to_owned());
    let refused = roll.finalize(&ticket(1), &facts, t0).unwrap_err();
    assert!(refused.to_string().contains("not_at_target"), "{refused}");
    facts.of("3").version = Ok("3.9".to_owned());
    assert_eq!(roll.finalize(&ticket(1), &facts, t0), Ok(vec![Action::LiftPin]));
    assert_eq!(roll.finalize(&ticket(1), &facts, t0), Ok(Vec::new()), "idempotent");
    assert!(matches!(roll.abort(&ticket(1), t0), Err(Refusal::Over { how: "finalized", .. })));
}

#[test]
fn an_ensemble_that_is_finalized_does_not_go_back() {
    let (mut roll, facts, t0) = (Roll::default(), zookeeper(), Instant::now());
    roll.put(plan(&facts, "3.7.2", "3.8.7"), t0).unwrap();
    assert!(roll.ask(Gate::Rollback, None, &facts, t0).is_open());
    roll.finalize(&ticket(1), &facts, t0).unwrap();
    let codes: Vec<&str> =
        roll.ask(Gate::Rollback, None, &facts, t0).reasons.iter().map(|r| r.code.as_str()).collect();
    assert_eq!(codes, ["no_plan", "finalized"]);
}

/// A patch release, which brokers don't tell apart: what counts is that it was drained, down and back.
#[test]
fn a_turn_is_seen_where_versions_tell_nothing() {
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    let patch = plan(&kafka(), "3.9.1", "3.9.2");
    roll.put(patch, t0).unwrap();
    let blocked = |roll: &mut Roll, facts: &Facts| {
        let verdict = roll.ask(Gate::Stop, Some("1"), &facts.clone().drained("1"), t0);
        verdict.reasons.iter().any(|reason| reason.code == Code::ControllerLast)
    };
    for id in ["2", "3"] {
        assert!(blocked(&mut roll, &facts));
        assert_eq!(roll.drain(id, Some(&ticket(1)), t0), Ok(true));
        facts.of(id).drain = DrainState::Draining { left: 1 };
        assert_eq!(roll.observe(&facts, t0 + SECOND), []);
        facts.of(id).drain = DrainState::Drained;
        assert_eq!(roll.observe(&facts, t0 + SECOND * 2), [Action::Drained(SECOND * 2)]);
        assert_eq!(roll.phase(id), Phase::Drained);
        facts.of(id).reach = Reach::Down("refused".to_owned());
        assert_eq!(roll.observe(&facts, t0 + SECOND * 3), []);
        assert_eq!(roll.phase(id), Phase::Down);
        facts.of(id).reach = Reach::Up;
        facts.partition(0).isr = vec![1];
        assert_eq!(
            roll.observe(&facts, t0 + SECOND * 4),
            [Action::Undrain(id.to_owned())],
            "its drain has done its work"
        );
        facts.of(id).drain = DrainState::Off;
        roll.observe(&facts, t0 + SECOND * 5);
        assert_eq!(roll.phase(id), Phase::Verifying);
        facts.partition(0).isr = vec![1, 2, 3];
        roll.observe(&facts, t0 + SECOND * 6);
        assert_eq!(roll.phase(id), Phase::Serving);
    }
    assert!(!blocked(&mut roll, &facts));
    assert!(roll.is_active(), "its plan lives");
    roll.abort(&ticket(1), t0).unwrap();
    assert!(!roll.is_active());
}

/// One that was only restarted by accident had no turn.
#[test]
fn who_was_down_without_a_drain_had_no_turn() {
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    roll.put(plan(&kafka(), "3.9.1", "3.9.2"), t0).unwrap();
    for id in ["2", "3"] {
        facts.of(id).reach = Reach::Down("refused".to_owned());
        roll.observe(&facts, t0);
        facts.of(id).reach = Reach::Up;
        roll.observe(&facts, t0);
        assert_eq!(roll.phase(id), Phase::Verifying);
    }
    let verdict = roll.ask(Gate::Stop, Some("1"), &facts.drained("1"), t0);
    assert!(verdict.reasons.iter().any(|reason| reason.code == Code::ControllerLast), "{verdict:?}");
    assert!(verdict.text().contains("others are left: 2, 3"), "{}", verdict.text());
}

/// Without a plan nobody asks the cluster, and nothing waits for what nobody finds out.
#[test]
fn without_a_plan_who_is_back_serves() {
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    facts.age = None;
    facts.of("2").reach = Reach::Down("refused".to_owned());
    roll.observe(&facts, t0);
    assert_eq!((roll.phase("2"), roll.is_active()), (Phase::Down, false), "nothing to watch");
    facts.of("2").drain = DrainState::Drained;
    assert_eq!(roll.drain("2", None, t0), Ok(true));
    roll.observe(&facts, t0);
    assert!(roll.is_active(), "its drain ends when it is back");
    facts.of("2").reach = Reach::Up;
    assert_eq!(roll.observe(&facts, t0 + SECOND), [Action::Undrain("2".to_owned())]);
    facts.of("2").drain = DrainState::Off;
    roll.observe(&facts, t0 + SECOND * 2);
    assert_eq!((roll.phase("2"), roll.is_active()), (Phase::Serving, false));
}

/// Whose drain had expired before it was stopped: when it is back, the next drain of it isn't refused.
#[test]
fn a_drain_that_has_expired_ends_when_its_member_is_back() {
    let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
    facts.of("2").drain = DrainState::Expired;
    facts.of("2").reach = Reach::Down("refused".to_owned());
    assert_eq!(roll.observe(&facts, t0), []);
    facts.of("2").reach = Reach::Up;
    assert_eq!(roll.observe(&facts, t0 + SECOND), [Action::Undrain("2".to_owned())]);
}

/// Whose drain by a plan expired before it stopped had its turn all the same; a person's drain is no plan's.
#[test]
fn a_turn_counts_though_its_drain_had_expired() {
    for (by, counts) in [(Some(ticket(1)), true), (None, false)] {
        let (mut roll, mut facts, t0) = (Roll::default(), kafka(), Instant::now());
        roll.put(plan(&kafka(), "3.9.1", "3.9.2"), t0).unwrap();
        roll.drain("2", by.as_ref(), t0).unwrap();
        for (drain, reach) in [
            (DrainState::Drained, Reach::Up),
            (DrainState::Expired, Reach::Up),
            (DrainState::Expired, Reach::Down("refused".to_owned())),
        ] {
            (facts.of("2").drain, facts.of("2").reach) = (drain, reach);
            roll.observe(&facts, t0 + SECOND);
        }
        facts.of("2").reach = Reach::Up;
        assert_eq!(roll.observe(&facts, t0 + SECOND * 3), [Action::Undrain("2".to_owned())]);
        assert_eq!(roll.had_turn("2"), counts);
    }
}

/// Out of reach for a moment is not stopped: the drain goes on, and nothing has been done. Who knows how long it was says so.
#[test]
fn a_moment_out_of_reach_is_no_turn() {
    let tenth = SECOND / 10;
    for (seen_for, was_away, counts) in [
        (tenth * 5, None, false),
        (SECOND, None, true),
        (SECOND, Some(tenth * 4), false),
        (tenth * 5, Some(SECOND), true),
    ] {
        let (mut roll, mut facts, t0) = (Roll::default(), kafka().drained("2"), Instant::now());
        roll.put(plan(&kafka(), "3.9.1", "3.9.2"), t0).unwrap();
        roll.drain("2", Some(&ticket(1)), t0).unwrap();
        roll.observe(&facts, t0);
        facts.of("2").reach = Reach::Down("no route".to_owned());
        roll.observe(&facts, t0 + SECOND);
        (facts.of("2").reach, facts.of("2").was_away) = (Reach::Up, was_away);
        let ended = roll.observe(&facts, t0 + SECOND + seen_for);
        assert_eq!(roll.had_turn("2"), counts, "{seen_for:?} {was_away:?}");
        if counts {
            assert_eq!((ended, roll.phase("2")), (vec![Action::Undrain("2".to_owned())], Phase::Verifying));
            continue;
        }
        assert_eq!((ended, roll.phase("2")), (Vec::new(), Phase::Drained));
        // The stop that it was drained for comes, and counts.
        facts.of("2").reach = Reach::Down("refused".to_owned());
        roll.observe(&facts, t0 + SECOND * 5);
        (facts.of("2").reach, facts.of("2").was_away) = (Reach::Up, Some(SECOND));
        assert_eq!(roll.observe(&facts, t0 + SECOND * 6), [Action::Undrain("2".to_owned())]);
        assert!(roll.had_turn("2"));
    }
}

/// What was given up stays so, whatever came after it; the last sixteen are remembered.
#[test]
fn an_earlier_generation_is_stale_though_another_plan_came_between() {
    let (mut roll, t0) = (Roll::default(), Instant::now());
    let of = |plan_id: &str, generation| Plan { plan_id: plan_id.to_owned(), generation, ..first() };
    let end = |roll: &mut Roll, plan_id: &str, generation| {
        roll.put(of(plan_id, generation), t0).unwrap();
        roll.abort(&Ticket { plan_id: plan_id.to_owned(), generation }, t0).unwrap();
    };
    end(&mut roll, "a", 5);
    end(&mut roll, "b", 1);
    let refused = roll.put(of("a", 3), t0).unwrap_err();
    assert_eq!(refused.to_string(), "stale: plan a is at generation 5, not 3");
    assert!(matches!(roll.put(of("a", 5), t0), Err(Refusal::Over { how: "aborted", .. })));
    roll.put(of("c", 2), t0).unwrap();
    assert!(matches!(roll.put(of("a", 3), t0), Err(Refusal::Stale { known: 5, .. })), "nor while one lives");
    assert_eq!(roll.put(of("a", 6), t0).unwrap().0, Put::Replaced);
    roll.abort(&Ticket { plan_id: "a".to_owned(), generation: 6 }, t0).unwrap();
    assert_eq!(roll.last(), Some(("a", 6, Ended::Aborted)));
    for number in 0..15 {
        end(&mut roll, &format!("d{number}"), 1);
    }
    assert!(matches!(roll.put(of("a", 5), t0), Err(Refusal::Stale { known: 6, .. })));
    end(&mut roll, "e", 1);
    assert_eq!(roll.put(of("a", 3), t0).unwrap().0, Put::Begun, "memory has an end");
}

/// Whoever was replaced and doesn't know can't go on with its plan afterwards; who knows comes back with a higher generation.
#[test]
fn a_plan_whose_place_another_took_does_not_come_back_as_it_was() {
    let t0 = Instant::now();
    let of = |plan_id: &str, generation| Plan { plan_id: plan_id.to_owned(), generation, ..first() };
    let ticket = |plan_id: &str, generation| Ticket { plan_id: plan_id.to_owned(), generation };
    let replaced = || {
        let mut roll = Roll::default();
        roll.put(of("p", 3), t0).unwrap();
        assert_eq!(roll.put(of("p-rollback", 4), t0).unwrap().0, Put::Replaced);
        roll
    };
    let mut roll = replaced();
    assert!(matches!(roll.put(of("p", 3), t0), Err(Refusal::Other { .. })), "while the other lives");
    roll.finalize(&ticket("p-rollback", 4), &kafka(), t0).unwrap();
    assert!(matches!(roll.put(of("p", 2), t0), Err(Refusal::Stale { known: 3, .. })));
    assert!(matches!(roll.put(of("p", 3), t0), Err(Refusal::Over { how: "aborted", .. })));
    assert!(matches!(roll.drain("1", Some(&ticket("p", 3)), t0), Err(Refusal::Over { .. })));
    assert_eq!(roll.last(), Some(("p-rollback", 4, Ended::Finalized)));
    assert_eq!(roll.put(of("p", 4), t0).unwrap().0, Put::Begun);
    // Or while it lives.
    let mut roll = replaced();
    assert_eq!(roll.put(of("p", 5), t0).unwrap().0, Put::Replaced);
    roll.abort(&ticket("p", 5), t0).unwrap();
    assert!(matches!(roll.put(of("p", 5), t0), Err(Refusal::Over { .. })));
    assert!(matches!(roll.put(of("p-rollback", 4), t0), Err(Refusal::Over { .. })));
    // An earlier generation of the same plan is none that ended.
    let mut roll = Roll::default();
    roll.put(of("p", 3), t0).unwrap();
    roll.put(of("p", 4), t0).unwrap();
    assert_eq!(roll.last(), None);
}

/// What was only tried tells nothing of the cluster, and takes no place.
#[test]
fn a_dry_run_is_in_nobodys_way_and_no_plan_that_ended() {
    let t0 = Instant::now();
    let of = |plan_id: &str, generation, dry_run| Plan {
        plan_id: plan_id.to_owned(),
        generation,
        dry_run,
        ..first()
    };
    let ticket = |plan_id: &str, generation| Ticket { plan_id: plan_id.to_owned(), generation };
    let mut roll = Roll::default();
    roll.put(of("p", 2, false), t0).unwrap();
    roll.finalize(&ticket("p", 2), &kafka(), t0).unwrap();
    for number in 0..20 {
        let name = format!("q.dry-{number}");
        assert_eq!(roll.put(of(&name, 1, true), t0).unwrap().0, Put::Begun);
        for _ in 0..2 {
            assert_eq!(roll.abort(&ticket(&name, 1), t0), Ok(Vec::new()), "idempotent");
        }
        assert_eq!(roll.how_ended(&name), Some(Ended::Aborted));
        assert!(matches!(roll.put(of(&name, 1, true), t0), Err(Refusal::Over { .. })), "as any other");
    }
    assert_eq!(roll.last(), Some(("p", 2, Ended::Finalized)));
    assert!(matches!(roll.put(of("p", 2, false), t0), Err(Refusal::Over { how: "finalized", .. })));
    // A plan takes its place, whatever their generations, and that is none that ended either; but it takes no plan's place.
    roll.put(of("q.dry-99", 9, true), t0).unwrap();
    assert_eq!(roll.put(of("p", 3, false), t0).unwrap().0, Put::Replaced);
    assert!(matches!(roll.drain("1", Some(&ticket("q.dry-99", 9)), t0), Err(Refusal::Other { .. })));
    assert!(matches!(roll.put(of("q.dry-100", 1, true), t0), Err(Refusal::Other { .. })));
    assert_eq!(roll.last(), Some(("p", 2, Ended::Finalized)));
    roll.abort(&ticket("p", 3), t0).unwrap();
    assert_eq!(roll.last(), Some(("p", 3, Ended::Aborted)));
    // With the same name its generation is one of that plan's.
    roll.put(of("p", 4, true), t0).unwrap();
    assert!(matches!(roll.put(of("p", 4, false), t0), Err(Refusal::Changed { .. })));
    roll.abort(&ticket("p", 4), t0).unwrap();
    assert!(matches!(roll.put(of("p", 4, false), t0), Err(Refusal::Over { .. })));
    assert_eq!(roll.put(of("p", 5, false), t0).unwrap().0, Put::Begun);
    roll.abort(&ticket("p", 5), t0).unwrap();
    assert!(
        matches!(roll.put(of("p", 5, false), t0), Err(Refusal::Over { .. })),
        "not as what was tried before"
    );
}
