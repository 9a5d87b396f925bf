//! What a run found, for people: Markdown that reads well in a terminal too.

use std::fmt::Write as _;

use super::checker::Verdict;
use super::history::Run;
use super::outages::share_us;
use super::schedule::Class;

/// The tables of events, producers and readers.
pub fn table(run: &Run, verdict: &Verdict) -> String {
    format!("{}\n{}\n{}", events(run), writers(verdict), readers(verdict))
}

fn events(run: &Run) -> String {
    let mut text = String::from(
        "| event | class | after | over after | cluster whole after | clients served after | longest outage of a partition |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let begin = run.events.first().map_or(0, |event| event.start_us);
    for event in &run.events {
        let class = if event.class == Class::Soft { "soft" } else { "hard" };
        if let Some(why) = &event.skipped {
            let _ = writeln!(text, "| {} | {class} | left out: {why} | | | | |", event.what);
            continue;
        }
        let until = if event.served_us == 0 { i64::MAX } else { event.served_us };
        let share = |outages: &Vec<(i64, i64)>| share_us(outages, event.start_us, until);
        let outage = run.outages.values().map(share).max().unwrap_or(0);
        let since = |at: i64| if at == 0 { "never".to_owned() } else { seconds(at - event.start_us) };
        let _ = writeln!(
            text,
            "| {} | {class} | {} | {} | {} | {} | {} |",
            event.what,
            seconds(event.start_us - begin),
            since(event.end_us),
            since(event.whole_us),
            since(event.served_us),
            seconds(outage),
        );
    }
    text
}

fn writers(verdict: &Verdict) -> String {
    let mut text = String::from(
        "| producer | sent | acknowledged | errors: soft | hard | excused | elsewhere | lost | repeated | out of order | \
         longest stall | cluster's own part | longest beyond the cluster's own |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for w in &verdict.writes {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            w.name,
            w.sent,
            w.acked,
            w.soft_errors,
            w.hard_errors,
            w.excused,
            w.other_errors,
            w.lost,
            w.repeated,
            w.reordered,
            seconds(w.stall_us),
            seconds(w.outage_us),
            seconds(w.excess_us),
        );
    }
    text
}

fn readers(verdict: &Verdict) -> String {
    let mut text = String::from(
        "| group | members | delivered | missed | twice | rebalances | of them at soft events or none | failed calls | commits |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for r in &verdict.readers {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            r.group,
            r.members,
            r.delivered,
            r.missed,
            r.twice,
            r.rebalances,
            r.soft_rebalances,
            r.errors,
            r.commits,
        );
    }
    text
}

fn seconds(micros: i64) -> String {
    format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
}
