//! Ensembles of one and of two servers: while one restarts nobody serves. Within the lease clients notice nothing but a pause;
//! beyond it their connections end, and they resume their sessions.

use std::path::Path;
use std::time::Duration;

use super::chaos::record::{Event as Record, Line};
use super::chaos::schedule::{Event, Fault, Target};
use super::chaos::{Outcome, Plan, carry_out};
use crate::{EnsembleSpec, Result, ZooKeeperVersion};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// One server, back within the lease.
    OneShort,
    /// Two, one of which is back within the lease.
    TwoShort,
    /// One server, back when the lease is over.
    OneLong,
    /// Two, one of which is back when the lease is over.
    TwoLong,
}

impl Story {
    /// All.
    pub const ALL: [Self; 4] = [Self::OneShort, Self::TwoShort, Self::OneLong, Self::TwoLong];

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::OneShort => "one server, short",
            Self::TwoShort => "two servers, short",
            Self::OneLong => "one server, long",
            Self::TwoLong => "two servers, long",
        }
    }

    fn is_long(self) -> bool {
        matches!(self, Self::OneLong | Self::TwoLong)
    }
}

/// Goes through it: so many kills, one after another.
pub fn run(
    binary: &Path,
    version: ZooKeeperVersion,
    story: Story,
    kills: u8,
    say: &dyn Fn(&str),
) -> Result<Outcome> {
    let servers = if matches!(story, Story::OneShort | Story::OneLong) { 1 } else { 2 };
    let event = |number: u8| Event {
        fault: Fault::Kill,
        target: if number.is_multiple_of(2) { Target::Leader } else { Target::Follower(0) },
        lasts_ms: if story.is_long() { 6000 } else { 0 },
        pause_ms: 1000,
        times: 1,
    };
    let plan = Plan {
        seed: 1,
        // The longest time-out is 20 ticks.
        spec: EnsembleSpec::new(version).servers(servers).tick_ms(if story.is_long() { 500 } else { 1000 }),
        timeout: Duration::from_secs(if story.is_long() { 6 } else { 20 }),
        sessions: 8,
        events: (0..kills).map(event).collect(),
        lasts: Duration::from_secs(3600),
        binary: binary.to_owned(),
        log: "info".to_owned(),
    };
    carry_out(&plan, false, say)
}

/// What was promised and is not so, beside what every run is judged by.
pub fn breaches(story: Story, outcome: &Outcome) -> Vec<String> {
    let (run, verdict) = (&outcome.run, &outcome.verdict);
    let mut found = verdict.breaches.clone();
    if !story.is_long() {
        // On a busy machine a server may take longer to start than the lease lasts; what the checker says of too early ends
        // holds then, too.
        let short = |event: &&Record| event.whole_us - event.start_us < run.timeout_us / 2;
        if !run.events.iter().any(|event| short(&event)) {
            found.push("no outage was within the lease".to_owned());
        }
        for event in run.events.iter().filter(short) {
            let during = event.start_us..event.served_us;
            let ended = |line: &&Line| matches!(line, Line::Lost { at_us, .. } if during.contains(at_us));
            let ended = run.clients.iter().flatten().filter(ended).count();
            if ended > 0 {
                found.push(format!("{}: {ended} connections ended within the lease", event.what));
            }
        }
        return found;
    }
    for (number, lines) in run.clients.iter().enumerate() {
        let ends = lines.iter().filter(|line| matches!(line, Line::Lost { .. })).count();
        let resumed =
            lines.iter().filter(|line| matches!(line, Line::Connected { resumed: true, .. })).count();
        if ends < run.events.len() || resumed != ends {
            found.push(format!(
                "client {number}: {} outages, {ends} connections ended, {resumed} times resumed",
                run.events.len()
            ));
        }
    }
    found
}

/// The head of the table of [`row`].
pub const HEAD: &str = "| version | ensemble | kills | requests | unknown (of them done) | cut off | connections ended | sessions expired | \
     resumed | longest stall |\n|---|---|---|---|---|---|---|---|---|---|\n";

/// A row of it.
pub fn row(version: ZooKeeperVersion, story: Story, outcome: &Outcome) -> String {
    let (run, verdict) = (&outcome.run, &outcome.verdict);
    let lines = run.clients.iter().flatten();
    let resumed = lines.filter(|line| matches!(line, Line::Connected { resumed: true, .. })).count();
    format!(
        "| {version} | {} | {} | {} | {} ({}) | {} | {} | {} | {resumed} | {}.{:02} s |\n",
        story.text(),
        run.events.len(),
        verdict.asked,
        verdict.unknown,
        verdict.unknown_done,
        verdict.cut,
        verdict.lost,
        verdict.expired,
        verdict.stall_us / 1_000_000,
        verdict.stall_us % 1_000_000 / 10_000,
    )
}
