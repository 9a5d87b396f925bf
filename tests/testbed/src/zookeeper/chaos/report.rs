//! What a run found, for people: Markdown that reads well in a terminal too.

use std::fmt::Write as _;

use super::checker::Verdict;
use super::record::Run;

/// The tables of events and of what became of requests.
pub fn table(run: &Run, verdict: &Verdict) -> String {
    let mut text = String::from(
        "| event | class | after | ensemble whole after | clients served after |\n|---|---|---|---|---|\n",
    );
    let begin = run.events.first().map_or(0, |event| event.start_us);
    for event in &run.events {
        let class = if event.soft { "soft" } else { "hard" };
        let since = |at: i64| if at == 0 { "never".to_owned() } else { seconds(at - event.start_us) };
        let (whole, served) = match &event.skipped {
            Some(why) => (format!("left out: {why}"), String::new()),
            None => (since(event.whole_us), since(event.served_us)),
        };
        let _ = writeln!(
            text,
            "| {} | {class} | {} | {whole} | {served} |",
            event.what,
            seconds(event.start_us - begin)
        );
    }
    let Verdict { asked, done, refused, unknown, unknown_done, cut, lost, expired, events, .. } = verdict;
    let _ = writeln!(
        text,
        "\n| sessions | requests | done | refused | unknown (of them done) | cut off | connections ended | sessions expired | \
         watch events | transactions | longest stall |\n|---|---|---|---|---|---|---|---|---|---|---|\n\
         | {} | {asked} | {done} | {refused} | {unknown} ({unknown_done}) | {cut} | {lost} | {expired} | {events} | {} | {} |",
        run.clients.len(),
        run.truth.log.len(),
        seconds(verdict.stall_us),
    );
    for server in &run.truth.diverged {
        let _ = writeln!(text, "\nZooKeeper's own: {server}.");
    }
    text
}

/// Microseconds as seconds.
pub(super) fn seconds(micros: i64) -> String {
    format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
}
