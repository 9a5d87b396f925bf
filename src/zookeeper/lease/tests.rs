//! The lease by example. What may never happen is seen to by the model check.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Boot {
    Boot::at(Duration::from_millis(1_000_000 + millis))
}

fn rules(mode: Mode) -> Rules {
    Rules { tick: SECOND * 2, mode, pace: None }
}

/// T = 12 s, granted at 0.
fn lease(mode: Mode) -> Lease {
    Lease::new(rules(mode), SECOND * 12, Grant { session: 7, timeout: SECOND * 12 }, at(0), at(5))
}

/// The last moment, in milliseconds, at which `what` is so.
fn last(lease: &Lease, what: fn(&Lease, Boot) -> bool) -> Option<u64> {
    (0..100_000).step_by(5).take_while(|ms| what(lease, at(*ms))).last()
}

#[test]
fn an_attach_counts_from_its_sending() {
    let mut lease = lease(Mode::Direct);
    lease.lost();
    assert_eq!(last(&lease, Lease::may_make_up), Some(3995));
    assert_eq!(last(&lease, |lease, now| !lease.must_close(now)), Some(7995));
    assert_eq!(
        lease.reattached(Grant { session: 7, timeout: SECOND * 12 }, at(3000), at(3500)),
        Reattach::Held
    );
    assert_eq!(last(&lease, Lease::may_make_up), Some(6995));
}

#[test]
fn a_frame_counts_when_its_server_has_lived_half_a_tick_longer() {
    let mut lease = lease(Mode::Direct);
    lease.answered(Frame::Ping, at(3000), at(3010));
    assert_eq!(last(&lease, Lease::may_make_up), Some(3995), "its touch may be lost with the follower");
    assert_eq!(last(&lease, |lease, now| !lease.must_close(now)), Some(10_995));
    lease.answered(Frame::Request, at(4130), at(4131));
    assert_eq!(last(&lease, Lease::may_make_up), Some(3995), "not yet half a tick, and its eighth");
    lease.answered(Frame::Request, at(4135), at(4136));
    assert_eq!(last(&lease, Lease::may_make_up), Some(6995));
}

#[test]
fn frames_upon_frames_stay_within_an_eighth_of_half_a_tick() {
    for every in [1, 7, 100, 260] {
        let mut lease = lease(Mode::Direct);
        let mut time = 100;
        while time < 30_000 {
            lease.answered(Frame::Write, at(time), at(time + 1));
            time += every;
        }
        let newest = time - every;
        let counted = last(&lease, Lease::may_make_up).unwrap() - 3995;
        assert!(newest - counted <= 1125 + 141 + 2 * every + 10, "{every}: {newest} {counted}");
    }
}

#[test]
fn strictly_only_the_leaders_part_counts_and_own_frames_are_syncs() {
    let mut strict = lease(Mode::Strict);
    for time in (1000..9000).step_by(500) {
        strict.answered(Frame::Ping, at(time), at(time + 1));
    }
    assert_eq!(last(&strict, Lease::may_make_up), Some(3995));
    assert_eq!(last(&strict, Lease::may_pass), Some(3995));
    assert_eq!(strict.own_frame(at(2000)), Some(Own::Sync));
    strict.client_sent(at(2000));
    assert_eq!(strict.own_frame(at(2000)), Some(Own::Sync), "what the client sent may be refused");
    strict.own_sent(at(2000));
    assert_eq!(strict.own_frame(at(2000)), None);
    strict.answered(Frame::Sync, at(2000), at(2001));
    strict.answered(Frame::Sync, at(3500), at(3501));
    assert_eq!(last(&strict, Lease::may_make_up), Some(5995));
}

#[test]
fn own_pings_keep_their_pace_while_the_client_is_heard() {
    let mut lease = lease(Mode::Direct);
    lease.heard(at(500));
    assert_eq!(lease.deadline(), at(718) + Duration::from_micros(750), "(T/3 − h) / 4");
    assert_eq!((lease.own_frame(at(718)), lease.own_frame(at(719))), (None, Some(Own::Ping)));
    lease.client_sent(at(1000));
    assert_eq!(lease.deadline(), at(723) + Duration::from_micros(750), "to notice a freeze");
    lease.awake(at(900));
    assert_eq!(lease.deadline(), at(1618) + Duration::from_micros(750));
    assert_eq!(lease.own_frame(at(4499)), Some(Own::Ping));
    assert_eq!(lease.own_frame(at(4500)), None, "T/3 of silence");
    lease.heard(at(4600));
    assert_eq!(lease.own_frame(at(4600)), Some(Own::Ping));
    lease.client_gone();
    assert_eq!(lease.own_frame(at(4600)), None);
}

#[test]
fn what_a_reattach_is() {
    let mut lease = lease(Mode::Direct);
    let granted = |session, seconds| Grant { session, timeout: SECOND * seconds };
    assert_eq!(lease.reattached(granted(0, 0), at(10), at(20)), Reattach::Expired);
    assert_eq!(lease.reattached(granted(8, 12), at(10), at(20)), Reattach::Another);
    assert_eq!(lease.reattached(granted(7, 11), at(10), at(20)), Reattach::Shorter);
    assert_eq!(lease.reattached(granted(7, 13), at(10), at(20)), Reattach::Held);
    assert_eq!(lease.granted(), SECOND * 12);
}

#[test]
fn old_bytes_wait_after_a_freeze_until_something_newer_is_answered() {
    let mut lease = lease(Mode::Direct);
    lease.awake(at(750));
    lease.own_sent(at(750));
    assert!(lease.may_pass(at(5000)), "as they come");
    lease.awake(at(2400));
    assert!(lease.may_pass(at(5000)), "hardly late");
    lease.awake(at(5000));
    assert!(!lease.may_pass(at(5000)));
    lease.heard(at(5000));
    assert_eq!(lease.own_frame(at(5000)), Some(Own::Ping), "at once");
    lease.own_sent(at(5000));
    lease.answered(Frame::Ping, at(750), at(5000));
    lease.answered(Frame::Ping, at(5000), at(5001));
    assert!(!lease.may_pass(at(5001)), "it doesn't count yet");
    lease.awake(at(5700));
    lease.answered(Frame::Ping, at(6200), at(6201));
    assert!(lease.may_pass(at(6201)));
}

#[test]
fn a_longer_timeout_upstream_ends_on_the_clients_clock() {
    let grant = Grant { session: 7, timeout: SECOND * 30 };
    let mut lease = Lease::new(rules(Mode::Direct), SECOND * 12, grant, at(0), at(0));
    assert_eq!((lease.told(), lease.granted()), (SECOND * 12, SECOND * 30));
    lease.heard(at(15_000));
    assert_eq!(last(&lease, Lease::may_make_up), Some(21_995));
    assert_eq!(last(&lease, |lease, now| !lease.must_close(now)), Some(25_995));
    let mut lease = Lease::new(rules(Mode::Direct), SECOND * 12, grant, at(0), at(0));
    lease.heard(at(1000));
    lease.client_gone();
    assert_eq!(lease.deadline(), at(13_000));
    assert_eq!(last(&lease, |lease, now| !lease.must_end_session(now)), Some(12_995));
    let short = Lease::new(rules(Mode::Direct), SECOND * 40, grant, at(0), at(0));
    assert_eq!(short.told(), SECOND * 30);
    assert!(!short.must_end_session(at(1_000_000)));
}

/// Runs every 20 ms for a while, without a word from anybody.
fn runs(lease: &mut Lease, from: u64, until: u64) {
    for ms in (from..until).step_by(20) {
        lease.awake(at(ms));
    }
}

#[test]
fn frames_that_are_withheld_are_no_sign_of_a_freeze() {
    for muted in [false, true] {
        let mut lease = lease(Mode::Direct);
        lease.heard(at(10));
        lease.mute(muted);
        runs(&mut lease, 10, 4500);
        assert!(!lease.may_make_up(at(4500)), "L1 is over");
        assert!(
            lease.may_pass(at(4500)),
            "it has run all the time, whether or not a frame of its own went out"
        );
        lease.awake(at(7000));
        assert!(!lease.may_pass(at(7000)), "that is a freeze");
    }
}

#[test]
fn a_frame_that_missed_the_end_of_l6_is_due_no_more() {
    let mut lease = lease(Mode::Direct);
    // Its last frame was sent so that the next one is due 5 ms before the client is minded no longer.
    lease.heard(at(0));
    lease.own_sent(at(3255));
    let due = lease.deadline();
    runs(&mut lease, 10, 3990);
    assert!(due <= at(4005), "{due:?}");
    lease.awake(at(4010));
    assert_eq!(lease.own_frame(at(4010)), None);
    assert!(lease.deadline() > at(4010), "or its task would run for ever");
}

/// A server that answers everything within 20 ms, and is sent nothing but own frames: whether evenkeel may speak all the time.
fn speaks_on(mode: Mode, told: u64, tick: u64) -> bool {
    let (told, tick) = (Duration::from_millis(told), Duration::from_millis(tick));
    let grant = Grant { session: 7, timeout: told };
    let mut lease = Lease::new(Rules { tick, mode, pace: None }, told, grant, at(0), at(0));
    let frame = if mode == Mode::Strict { Frame::Sync } else { Frame::Ping };
    let (mut due, mut always): (Option<u64>, bool) = (None, true);
    for ms in 0..30_000 {
        lease.awake(at(ms));
        lease.heard(at(ms));
        if let Some(sent) = due.take_if(|sent| *sent + 20 <= ms) {
            lease.answered(frame, at(sent), at(ms));
        }
        if due.is_none() && lease.own_frame(at(ms)).is_some() {
            lease.own_sent(at(ms));
            due = Some(ms);
        }
        always &= lease.may_make_up(at(ms)) && lease.may_pass(at(ms));
    }
    always
}

#[test]
fn a_timeout_of_two_ticks_leaves_enough() {
    for mode in [Mode::Direct, Mode::Strict] {
        for told in [4000, 5000, 6000, 12_000, 40_000] {
            assert!(speaks_on(mode, told, 2000), "{mode:?} {told}");
        }
        assert!(!speaks_on(mode, 3000, 2000), "{mode:?}: half a tick is more than a third");
    }
}

#[test]
fn half_a_tick_is_as_long_as_it_is() {
    let grant = Grant { session: 7, timeout: SECOND * 2 };
    let mut lease = Lease::new(rules(Mode::Direct), SECOND * 2, grant, at(0), at(0));
    assert!(!lease.has_room());
    lease.answered(Frame::Ping, at(300), at(305));
    lease.answered(Frame::Ping, at(1100), at(1105));
    assert_eq!(last(&lease, Lease::may_make_up), Some(665), "its follower may have shipped nothing since");
    let lease =
        Lease::new(rules(Mode::Direct), SECOND * 4, Grant { timeout: SECOND * 4, ..grant }, at(0), at(0));
    assert!(lease.has_room());
}

#[test]
fn how_late_is_a_freeze_depends_on_the_tick_too() {
    for (told, hardly, frozen) in [(4, 210, 225), (6, 640, 660), (12, 1710, 1725), (60, 9700, 9730)] {
        let grant = Grant { session: 7, timeout: SECOND * told };
        for (ms, passes) in [(hardly, true), (frozen, false)] {
            let mut lease = Lease::new(rules(Mode::Direct), SECOND * told, grant, at(0), at(0));
            // So late that L1 is over.
            let over = u64::from(told) * 334;
            runs(&mut lease, 0, over + 20);
            let last = (0..over + 20).step_by(20).last().unwrap();
            lease.awake(at(last + ms));
            assert_eq!(lease.may_pass(at(last + ms)), passes, "{told} s: {ms} ms");
        }
    }
}

#[test]
fn an_answer_that_lay_in_the_kernel_for_longer_than_the_lease_renews_nothing() {
    let mut lease = lease(Mode::Direct);
    lease.own_sent(at(700));
    lease.awake(at(700));
    // Answered at once, and read when all is over.
    lease.awake(at(20_000));
    lease.answered(Frame::Ping, at(700), at(20_000));
    assert_eq!(last(&lease, Lease::may_make_up), Some(3995));
    assert!(lease.must_close(at(20_000)) && !lease.may_pass(at(20_000)));
    let held = lease.reattached(Grant { session: 7, timeout: SECOND * 12 }, at(800), at(20_000));
    assert_eq!(held, Reattach::Held);
    assert!(lease.must_close(at(20_000)), "nor does that of an attach");
}

#[test]
fn the_answer_to_the_clients_own_attach_may_come_too_late() {
    let grant = Grant { session: 7, timeout: SECOND * 12 };
    let new = |now| Lease::new(rules(Mode::Direct), SECOND * 12, grant, at(0), at(now));
    assert!(new(3995).may_pass(at(3995)), "as it comes");
    let mut late = new(4000);
    assert!(!late.may_pass(at(4000)), "a client that began now would believe in it until 12 s");
    assert_eq!(late.own_frame(at(4000)), Some(Own::Ping), "at once");
    late.own_sent(at(4000));
    late.answered(Frame::Ping, at(4000), at(4005));
    late.answered(Frame::Ping, at(5130), at(5135));
    assert!(late.may_pass(at(5135)));
    assert!(new(8000).must_close(at(8000)));
}

#[test]
fn own_frames_are_bounded() {
    for mode in [Mode::Direct, Mode::Strict] {
        let mut lease = lease(mode);
        let (mut unanswered, mut time) = (0, 0);
        // Nobody answers, and the client is heard all the time.
        while time < 60_000 {
            lease.awake(at(time));
            lease.heard(at(time));
            lease.unanswered(unanswered);
            if lease.own_frame(at(time)).is_some() {
                lease.own_sent(at(time));
                unanswered += 1;
                lease.unanswered(unanswered);
            }
            assert!(
                lease.must_close(at(time)) || lease.deadline() > at(time),
                "or its task would run for ever"
            );
            time += 50;
        }
        assert_eq!(unanswered, MOST_OWN);
        let now = at(time);
        lease.awake(now);
        assert!(lease.own_frame(now).is_none());
        lease.unanswered(MOST_OWN - 1);
        assert!(lease.own_frame(now).is_some(), "one was answered");
    }
}
