//! `docs/clients.md`: one table for each version and kind of roll; a row is replaced when it is run again. What people wrote
//! around the tables stays.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use testbed::{Error, KafkaVersion, Result, Roll, cache};

use super::library::GROUPS;
use super::run::{Cell, Seen, Via};

const HEAD: &str = "| client | settings | via | sent | acknowledged | errors (in the log all the same) | lost | repeated \
    | out of order | longest pause (of one partition) | consumer: missed | twice | rebalances | errors | what the errors were | run |";
const RULE: &str = "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|";

/// Writes what these rows found.
pub(crate) fn record(version: KafkaVersion, how: Roll, cells: &[Cell]) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/clients.md");
    let old = fs::read_to_string(&path).map_err(Error::io(format!("reading {}", path.display())))?;
    let date = cache::run(Command::new("date").args(["-u", "+%F %R"]))?;
    let rows: Vec<String> = cells.iter().map(|cell| row(cell, date.trim())).collect();
    let text = replaced(&old, &heading(version, how), &rows).ok_or_else(|| {
        Error::program("clients", format!("no section {:?} in docs/clients.md", heading(version, how)))
    })?;
    fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))
}

fn heading(version: KafkaVersion, how: Roll) -> String {
    match how {
        Roll::Soft => format!("## Kafka {version}, planned roll (SIGTERM)"),
        Roll::Hard => format!("## Kafka {version}, kill roll (SIGKILL)"),
    }
}

/// The row of a cell.
pub(crate) fn row(cell: &Cell, date: &str) -> String {
    let head = head(&cell.row.client(), &cell.row.settings(), cell.via);
    match &cell.seen {
        Err(why) => format!("{head} | | | | | | | | | | | not run: {} | {date} |", plain(why)),
        Ok(Seen { producer: p, consumer: c, stuck }) => format!(
            "{head} {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {date} |",
            p.sent,
            p.acked,
            if p.errors == 0 { "0".to_owned() } else { format!("{} ({})", p.errors, p.errors_in_log) },
            p.lost.len(),
            p.repeated.len(),
            p.reordered.len(),
            format_args!("{} ({})", seconds(p.longest_pause_us), seconds(p.longest_partition_pause_us)),
            c.missed.len(),
            c.twice.len(),
            c.rebalances,
            c.errors.values().sum::<usize>(),
            what(&cell.seen, stuck),
        ),
    }
}

fn head(client: &str, settings: &str, via: Via) -> String {
    format!("| {client} | {settings} | {} |", via.as_str())
}

/// Errors by name, and what was not as a harness expects it.
fn what(seen: &std::result::Result<Seen, String>, stuck: &[String]) -> String {
    let Ok(Seen { producer, consumer, .. }) = seen else { return String::new() };
    let mut parts: Vec<String> =
        producer.by_class.iter().map(|(name, count)| format!("{count} × {}", plain(name))).collect();
    parts.extend(consumer.errors.iter().map(|(name, count)| format!("consumer {count} × {}", plain(name))));
    for (name, count) in [
        ("records in the log that nobody sent", producer.foreign),
        ("records delivered from nowhere", consumer.foreign),
        ("records delivered backwards", consumer.backwards),
    ] {
        if count > 0 {
            parts.push(format!("{count} {name}"));
        }
    }
    parts.extend(stuck.iter().map(|why| plain(why)));
    parts.join("; ")
}

/// A text that can stand in a table.
fn plain(text: &str) -> String {
    let one = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
    one.chars().take(160).collect()
}

fn seconds(micros: i64) -> String {
    format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000)
}

/// The document with these rows in the table of a section. Rows stand in the order of the groups; `None` without the section.
fn replaced(old: &str, heading: &str, rows: &[String]) -> Option<String> {
    let (before, rest) = old.split_once(&format!("{heading}\n"))?;
    let (section, after) = match rest.find("\n## ") {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (table, words): (Vec<&str>, Vec<&str>) = section.lines().partition(|line| line.starts_with('|'));
    let mut text = format!("{before}{heading}\n");
    let words = words.join("\n");
    if !words.trim().is_empty() {
        let _ = write!(text, "\n{}\n", words.trim());
    }
    let _ = write!(text, "\n{HEAD}\n{RULE}\n");
    for row in GROUPS.iter().flat_map(|group| group.rows) {
        for via in [Via::Direct, Via::Evenkeel] {
            let head = head(&row.client(), &row.settings(), via);
            let new = rows.iter().map(String::as_str).find(|line| line.starts_with(&head));
            if let Some(line) = new.or_else(|| table.iter().copied().find(|line| line.starts_with(&head))) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.push_str(after);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testbed::judge::{ConsumerVerdict, Verdict};

    fn cell(at: usize, via: Via, errors: usize) -> Cell {
        let by_class = std::iter::once(("A|B".to_owned(), errors)).filter(|(_, n)| *n > 0).collect();
        let producer = Verdict { sent: 9, acked: 9 - errors, errors, by_class, ..Verdict::default() };
        let seen = Seen { producer, consumer: ConsumerVerdict::default(), stuck: Vec::new() };
        Cell { row: GROUPS[0].rows[at], via, seen: Ok(seen) }
    }

    #[test]
    fn rows_are_replaced_and_words_stay() {
        let old = "# T\n\n## one\n\nWords.\n\n| x |\n\n## two\n\nMore.\n";
        let first = [row(&cell(1, Via::Evenkeel, 0), "d1"), row(&cell(1, Via::Direct, 2), "d1")];
        let text = replaced(old, "## one", &first).unwrap();
        assert_eq!(
            text,
            format!(
                "# T\n\n## one\n\nWords.\n\n{HEAD}\n{RULE}\n{}\n{}\n\n## two\n\nMore.\n",
                first[1], first[0]
            )
        );
        let second = [row(&cell(0, Via::Direct, 0), "d2"), row(&cell(1, Via::Direct, 0), "d2")];
        let text = replaced(&text, "## one", &second).unwrap();
        assert_eq!(
            text,
            format!(
                "# T\n\n## one\n\nWords.\n\n{HEAD}\n{RULE}\n{}\n{}\n{}\n\n## two\n\nMore.\n",
                second[0], second[1], first[0]
            )
        );
        assert_eq!(replaced(&text, "## three", &second), None);
    }

    #[test]
    fn every_row_has_all_columns() {
        let columns = HEAD.matches('|').count();
        assert_eq!(RULE.matches('|').count(), columns);
        assert_eq!(row(&cell(0, Via::Direct, 3), "d").matches('|').count(), columns);
        let missing = Cell { seen: Err("no\n| luck".to_owned()), ..cell(0, Via::Direct, 0) };
        assert_eq!(row(&missing, "d").matches('|').count(), columns);
        assert!(row(&missing, "d").contains("not run: no / luck"));
    }
}
