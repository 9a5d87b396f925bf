//! What clients went through as a table, and which promises were broken.

use std::fmt::Write as _;

use super::story::Row;

const HEAD: &str = "| client | sessions expired | disconnects | longest, s | ephemerals lost | events told | missed | false, twice or mistaken \
    | recursive: due | missed | twice, false or out of order | writes | wrong | unknown (of them done) | refused | longest pause, s |\n\
    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// The rows as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = HEAD.to_owned();
    for row in rows {
        let (watches, writes) = (&row.watches, &row.writes);
        let odd = watches.false_events.len() + watches.twice.len() + watches.mistaken.len();
        let tree = row.tree.as_ref().map_or_else(
            || ["–".to_owned(), "–".to_owned(), "–".to_owned()],
            |tree| {
                let odd = tree.twice.len() + tree.false_events.len() + tree.disordered.len();
                [tree.due.to_string(), tree.missed.len().to_string(), odd.to_string()]
            },
        );
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} of {} | {} | {} | {odd} | {} | {} | {} | {} ({}) | {} | {} |",
            row.title,
            row.sessions.expired,
            row.sessions.disconnects,
            seconds(row.sessions.longest_us),
            row.ephemerals.lost.len(),
            row.ephemerals.made,
            watches.told,
            watches.missed.len(),
            tree.join(" | "),
            writes.asked,
            writes.wrong.len(),
            writes.unknown(),
            writes.unknown_done,
            writes.refused(),
            seconds(writes.longest_pause_us),
        );
    }
    text
}

impl Row {
    /// What must never happen to anybody, whatever befell the servers, with or without Evenkeel: writes with a wrong verdict,
    /// events that come twice or without a reason, ephemeral nodes that outlive their client.
    pub fn lies(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut some = |what: &str, list: &[String]| {
            if !list.is_empty() {
                found.push(format!("{}: {} {what}, {}", self.title, list.len(), first(list)));
            }
        };
        some("writes with a wrong verdict", &self.writes.wrong);
        some("false events", &self.watches.false_events);
        some("events twice", &self.watches.twice);
        some("ephemeral nodes left behind", &self.left_behind);
        if let Some(tree) = &self.tree {
            some("events twice of the recursive watch", &tree.twice);
            some("events out of order of the recursive watch", &tree.disordered);
            some("false events of the recursive watch", &tree.false_events);
        }
        found
    }

    /// What is promised behind Evenkeel and is not so: besides [`Row::lies`], a session that ended or was interrupted, an
    /// ephemeral node lost, a change not told, a write refused, a client that didn't go on. Unknown outcomes are no breach.
    pub fn breaches(&self) -> Vec<String> {
        let mut found = self.lies();
        let counts = [
            ("sessions expired", self.sessions.expired),
            ("disconnects", self.sessions.disconnects),
            ("losses of recipes", self.sessions.recipes_lost.len()),
            ("watches dropped by the library", self.watches.dropped),
            ("changes for which no watch was set in time", self.unwatched),
            ("restarts after which it did not go on", self.stuck.len()),
            ("writes refused", self.writes.refused()),
        ];
        for (what, count) in counts.iter().filter(|(_, count)| *count > 0) {
            found.push(format!("{}: {count} {what}", self.title));
        }
        let mut some = |what: &str, list: &[String]| {
            if !list.is_empty() {
                found.push(format!("{}: {} {what}, {}", self.title, list.len(), first(list)));
            }
        };
        some("ephemeral nodes lost", &self.ephemerals.lost);
        some("changes missed", &self.watches.missed);
        some("mistaken events", &self.watches.mistaken);
        if let Some(tree) = &self.tree {
            some("changes missed by the recursive watch", &tree.missed);
        }
        found
    }
}

/// What is promised behind Evenkeel and was not kept, of all clients. Where an outcome can't be known and a library doesn't know
/// CONNECTIONLOSS, the promise is to close its connection: as many disconnects as Evenkeel counts `closed` on purpose are no
/// breach, nor what follows from them for that client; a session that expired and an ephemeral node that is gone are.
pub fn breaches_of(rows: &[Row], closed: usize) -> Vec<String> {
    let disconnects: usize = rows.iter().map(|row| row.sessions.disconnects).sum();
    let excused = disconnects <= closed;
    let each = rows.iter().flat_map(|row| {
        if !excused || row.sessions.disconnects == 0 {
            return row.breaches();
        }
        let mut found = row.lies();
        if row.sessions.expired > 0 || !row.ephemerals.lost.is_empty() || !row.stuck.is_empty() {
            found.push(format!("{}: its session or what hung on it is lost after a close", row.title));
        }
        found
    });
    each.collect()
}

fn first(list: &[String]) -> String {
    list.iter().take(3).cloned().collect::<Vec<_>>().join("; ")
}

fn seconds(micros: i64) -> String {
    format!("{}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000)
}
