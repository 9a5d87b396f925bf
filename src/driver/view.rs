//! What people see: a view that is drawn anew in a terminal, plain lines elsewhere. Nothing here decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use super::core::{RunSeen, Seen};
use super::event::{Event, Line, Task};
use super::plan::{Direction, PlanFile};
use super::progress::Progress;
use crate::findings::plain;
use crate::fleet::{Reason, Screen};

/// Reasons that are shown at once.
const REASONS: usize = 6;
/// Members that are shown at once: a screen is not long.
const MEMBERS: usize = 24;

/// See the module.
pub(super) struct View {
    live: bool,
    screen: Screen,
    /// What was said last, of what is waited for.
    said: String,
    began_ms: u64,
}

impl View {
    /// On standard output.
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            live: io::stdout().is_terminal(),
            screen: Screen::default(),
            said: String::new(),
            began_ms: now_ms,
        }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        // Over the drawing, which comes again below. Nobody may be there to read it: the journal has it.
        let _ = self.screen.clear(&mut out);
        let _ = writeln!(out, "{}", plain(text));
        let _ = out.flush();
    }

    /// A line of the journal.
    pub(super) fn line(&mut self, line: &Line) {
        self.said.clear();
        self.say(&in_words(&line.event));
    }

    /// How things are.
    pub(super) fn show(&mut self, plan: &PlanFile, progress: &Progress, seen: &Seen, waits: &[Reason]) {
        if self.live {
            let text = draw(plan, progress, seen, waits, self.began_ms);
            let _ = self.screen.draw(&mut io::stdout().lock(), &text);
            return;
        }
        // The same reason with another number of seconds is the same.
        let codes: BTreeSet<&str> = waits.iter().map(|reason| reason.code.as_str()).collect();
        let codes = codes.into_iter().collect::<Vec<_>>().join(" ");
        if !codes.is_empty() && codes != self.said {
            self.say(&format!("  waits: {}", text_of(waits)));
            self.said = codes;
        }
    }
}

fn text_of(reasons: &[Reason]) -> String {
    let each = reasons.iter().take(REASONS).map(|reason| format!("{}: {}", reason.code, reason.detail));
    let mut text = each.collect::<Vec<_>>().join("; ");
    if reasons.len() > REASONS {
        let _ = write!(text, "; and {} more", reasons.len() - REASONS);
    }
    text
}

/// An event, for people.
fn in_words(event: &Event) -> String {
    match event {
        Event::Begun { plan_id, cluster, .. } => {
            format!("plan {plan_id} of cluster {cluster}: a new journal")
        }
        Event::Started { .. } => "the driver is started".to_owned(),
        Event::Generation { generation, members, why, .. } => {
            format!("generation {generation}, members {}: {why}", members.join(", "))
        }
        Event::Rollback { members } if members.is_empty() => "back: no member has begun".to_owned(),
        Event::Rollback { members } => format!("back: {}", members.join(", ")),
        Event::Turn { member } => format!("{member}: its turn"),
        Event::Orders { member, partitions } => {
            format!("{member}: leaders of {} partitions are to go elsewhere", partitions.len())
        }
        Event::Moved { member } => format!("{member}: leads nothing any more"),
        Event::Drain { member } => format!("{member}: clients leave it"),
        Event::GiveUp { member, why } => format!("{member}: later: {why}"),
        Event::GivenUp { member } => format!("{member}: as it was"),
        Event::Command { task: Task::Member(member), .. } => {
            format!("{member}: nobody is there; the command")
        }
        Event::Command { task: Task::Finalize, .. } => "finalize: the command".to_owned(),
        Event::CommandEnded { ok: true, output, .. } if output.is_empty() => {
            "  the command is done".to_owned()
        }
        Event::CommandEnded { ok: true, output, .. } => {
            format!("  the command is done: {}", last_line(output))
        }
        Event::CommandEnded { output, .. } => format!("  the command failed: {}", last_line(output)),
        Event::Again { why, .. } => format!("  the command comes again: {why}"),
        Event::Back { member } => format!("{member}: is back"),
        Event::Restored { member } => format!("{member}: replica orders are as they were"),
        Event::Done { member } => format!("{member}: done"),
        Event::Raised { level } => format!("metadata.version is {level}"),
        Event::Finalized => "finalized".to_owned(),
        Event::GoneOnWithout { sidecar, why } => format!("without sidecar {sidecar}, which is silent: {why}"),
        Event::Stopped { why, .. } => format!("stopped: {why}"),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

/// Minutes and seconds.
fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    if seconds >= 3600 {
        format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// What is left to do will take so long, as far as turns so far tell.
fn eta(plan: &PlanFile, progress: &Progress, now_ms: u64) -> Option<u64> {
    let all = match progress.direction {
        Direction::Forward => plan.members.len(),
        Direction::Back => progress.going_back.len(),
    };
    let turns = u64::try_from(progress.took_ms.len()).ok().filter(|turns| *turns > 0)?;
    let mean = progress.took_ms.iter().sum::<u64>() / turns;
    let left = u64::try_from(all.saturating_sub(progress.done.len())).ok()?;
    let gone = progress.turn.as_ref().map_or(0, |turn| now_ms.saturating_sub(turn.at_ms).min(mean));
    Some((mean * left).saturating_sub(gone) + plan.soak_s * 1000)
}

/// The whole view.
fn draw(plan: &PlanFile, progress: &Progress, seen: &Seen, waits: &[Reason], began_ms: u64) -> String {
    let mut out = String::new();
    let said: Vec<_> = seen.sidecars.iter().filter_map(|sidecar| sidecar.said.as_ref().ok()).collect();
    let (clients, held) = said.iter().fold((0, 0), |(clients, held), status| {
        (clients + status.clients.max(0), held + status.hold.waiting)
    });
    let _ = writeln!(
        out,
        "── {} · {} · generation {} · {} of {} done · {} so far · {} left",
        plan.plan_id,
        progress.direction.as_str(),
        progress.told.generation,
        progress.done.len(),
        plan.members.len(),
        time(seen.now_ms.saturating_sub(began_ms)),
        eta(plan, progress, seen.now_ms).map_or_else(|| "?".to_owned(), time),
    );
    let _ = writeln!(
        out,
        "   {} of {} sidecars answer · {clients} connections · {held} requests held",
        said.len(),
        seen.sidecars.len()
    );
    if matches!(seen.run, Some(RunSeen::Running)) {
        let _ = writeln!(out, "   its command runs");
    }
    // Before the members, which a short screen may not have lines for.
    for reason in waits.iter().take(REASONS) {
        let _ = writeln!(out, "   · {}: {}", reason.code, reason.detail);
    }
    let mut rows = Vec::new();
    for member in plan.members.iter().take(MEMBERS) {
        let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut sessions, mut requests, mut version) = (0, 0, "–");
        for of in said.iter().filter_map(|status| status.member(&member.id)) {
            *phases.entry(of.phase.as_str()).or_default() += 1;
            (sessions, requests) = (sessions + of.sessions, requests + of.in_flight.max(0));
            version = of.version.as_deref().unwrap_or(version);
        }
        let phases: Vec<String> = phases.iter().map(|(phase, count)| format!("{phase} {count}")).collect();
        let turn = progress.turn.as_ref().is_some_and(|turn| turn.member == member.id);
        let mark = if turn {
            "▶"
        } else if progress.done.contains(&member.id) {
            "✓"
        } else {
            " "
        };
        rows.push((mark, &member.id, version, phases.join(", "), sessions, requests));
    }
    let (mut id, mut is, mut has) = (0, 0, 0);
    for (_, member, version, phases, ..) in &rows {
        (id, is) = (id.max(member.chars().count()), is.max(phases.chars().count()));
        has = has.max(version.chars().count());
    }
    for (mark, member, version, phases, sessions, requests) in rows {
        let _ = writeln!(
            out,
            " {mark} {member:<id$} {version:<has$} {phases:<is$} {sessions:>4} sessions {requests:>4} requests"
        );
    }
    if plan.members.len() > MEMBERS {
        let _ = writeln!(out, "   and {} more", plan.members.len() - MEMBERS);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::core::Sidecar;
    use crate::driver::tests::crash::{ZOOKEEPER, plan};
    use crate::fleet::{MemberSaid, Status};
    use crate::upgrade::Phase;

    #[test]
    fn the_view_has_members_phases_reasons_and_what_is_left() {
        let plan = plan(ZOOKEEPER);
        let member = |id: &str, phase| MemberSaid {
            id: id.to_owned(),
            phase,
            version: Some("1.0".to_owned()),
            mode: None,
            had_turn: false,
            drain_expired: false,
            sessions: 7,
            in_flight: 1,
        };
        let members = vec![member("1", Phase::Serving), member("2", Phase::Draining)];
        let status = Status { members, clients: 5, ..Status::default() };
        let sidecar = |name: &str, said| Sidecar { name: name.to_owned(), silent_ms: 0, said };
        let seen = Seen {
            now_ms: 100_000,
            sidecars: vec![
                sidecar("a", Ok(status.clone())),
                sidecar("b", Ok(status)),
                sidecar("c", Err("x".to_owned())),
            ],
            ..Seen::default()
        };
        let mut progress =
            Progress { done: vec!["1".to_owned()], took_ms: vec![40_000], ..Progress::default() };
        progress.take(&Line { n: 1, at_ms: 90_000, event: Event::Turn { member: "2".to_owned() } });
        let text = draw(&plan, &progress, &seen, &[Reason::new("draining", "a: 7 sessions")], 39_000);
        for part in [
            "1 of 3 done · 1 min 01 s so far · 1 min 10 s left",
            "2 of 3 sidecars answer · 10 connections",
            " ✓ 1 ",
            " ▶ 2 ",
            "draining 2",
            "14 sessions",
            "· draining: a: 7 sessions",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.lines().count(), 6);
        assert!(
            text.lines().filter(|line| line.contains(" requests")).all(|line| line.chars().count() < 80),
            "{text}"
        );
    }
}
