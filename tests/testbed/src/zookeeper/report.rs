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
    let notes: Vec<String> = rows.iter().filter_map(note).collect();
    if !notes.is_empty() {
        let _ = writeln!(text, "\n{}", notes.join("\n"));
    }
    text
}

/// What has no column, if there is anything to say.
fn note(row: &Row) -> Option<String> {
    let mut parts = Vec::new();
    for which in ["latch", "lock"] {
        let lost = row.sessions.recipes_lost.iter().filter(|of| *of == which).count();
        if lost > 0 {
            parts.push(format!("its {which} was lost {lost} times"));
        }
    }
    if row.watches.dropped > 0 {
        parts.push(format!("the library dropped {} watches", row.watches.dropped));
    }
    if row.unwatched > 0 {
        parts.push(format!("{} changes found no watch set in time", row.unwatched));
    }
    if !row.stuck.is_empty() {
        parts.push(format!("it did not go on in time after restarts {:?}", row.stuck));
    }
    (!parts.is_empty()).then(|| format!("- {}: {}.", row.title, parts.join("; ")))
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

/// What the stop of leaders excused: connections closed and changes hidden, of each client that had such. Nothing if none had.
pub fn closes(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let hidden = row.tree.as_ref().map_or(0, |tree| tree.hidden);
        if row.sessions.closed + hidden > 0 {
            let _ = writeln!(
                text,
                "- {}: {} connections closed, {hidden} changes not told to its persistent watch, all at the stop of a leader.",
                row.title, row.sessions.closed
            );
        }
    }
    text
}

/// Whether Evenkeel says of itself that it closed just the connections for persistent watches that are excused.
pub fn unaccounted(rows: &[Row], closed: usize) -> Option<String> {
    let excused: usize = rows.iter().map(|row| row.sessions.closed).sum();
    (excused != closed).then(|| {
        format!(
            "{closed} connections closed for persistent watches, of which {excused} at the stop of a leader"
        )
    })
}

/// Enough to begin to search with.
fn first(list: &[String]) -> String {
    list.iter().take(3).cloned().collect::<Vec<_>>().join("; ")
}

fn seconds(micros: i64) -> String {
    format!("{}.{:02}", micros / 1_000_000, micros % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::judge::{Sessions, Tree, Watches, Writes};
    use crate::zookeeper::observer::Ephemerals;

    fn row() -> Row {
        Row {
            title: "c".to_owned(),
            sessions: Sessions::default(),
            ephemerals: Ephemerals::default(),
            left_behind: Vec::new(),
            writes: Writes::default(),
            watches: Watches::default(),
            unwatched: 0,
            tree: Some(Tree::default()),
            stuck: Vec::new(),
            lines: Vec::new(),
        }
    }

    #[test]
    fn a_row_says_what_is_wrong() {
        let fine = row();
        assert!(fine.breaches().is_empty() && note(&fine).is_none());
        let one = || vec!["x".to_owned()];
        let lies: [fn(&mut Row, Vec<String>); 7] = [
            |row, x| row.writes.wrong = x,
            |row, x| row.watches.false_events = x,
            |row, x| row.watches.twice = x,
            |row, x| row.left_behind = x,
            |row, x| row.tree.as_mut().unwrap().twice = x,
            |row, x| row.tree.as_mut().unwrap().disordered = x,
            |row, x| row.tree.as_mut().unwrap().false_events = x,
        ];
        let others: [fn(&mut Row, Vec<String>); 11] = [
            |row, _| row.sessions.expired = 1,
            |row, _| row.sessions.disconnects = 1,
            |row, x| row.sessions.recipes_lost = x,
            |row, _| row.watches.dropped = 1,
            |row, _| row.unwatched = 1,
            |row, _| row.stuck = vec![3],
            |row, _| row.writes.refused = std::iter::once(("BadVersion".to_owned(), 1)).collect(),
            |row, x| row.ephemerals.lost = x,
            |row, x| row.watches.missed = x,
            |row, x| row.watches.mistaken = x,
            |row, x| row.tree.as_mut().unwrap().missed = x,
        ];
        for (number, spoil) in lies.iter().chain(&others).enumerate() {
            let mut row = row();
            spoil(&mut row, one());
            assert_eq!(row.breaches().len(), 1, "{number}");
            assert_eq!(row.lies().len(), usize::from(number < lies.len()), "{number}");
        }
    }

    #[test]
    fn what_is_excused_is_told_apart() {
        let (mut closed, mut kept, plain) = (row(), row(), row());
        closed.sessions.closed = 2;
        closed.tree.as_mut().unwrap().hidden = 3;
        kept.tree.as_mut().unwrap().hidden = 1;
        let rows = [closed, kept, plain];
        assert!(breaches_of(&rows, 0).is_empty());
        assert_eq!(closes(&rows).lines().count(), 2);
        assert!(closes(&rows).starts_with("- c: 2 connections closed, 3 changes not told"));
        assert_eq!(unaccounted(&rows, 2), None);
        assert!(unaccounted(&rows, 3).is_some() && unaccounted(&rows, 1).is_some());
    }

    #[test]
    fn every_row_has_every_column() {
        let mut stuck = row();
        stuck.stuck.push(2);
        let text = table(&[stuck]);
        let lines: Vec<&str> = text.lines().take(3).collect();
        let columns: Vec<usize> = lines.iter().map(|line| line.matches('|').count()).collect();
        assert_eq!(columns, [17; 3], "{text}");
        assert!(text.ends_with("- c: it did not go on in time after restarts [2].\n"), "{text}");
    }
}
