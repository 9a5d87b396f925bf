//! A drawing that is made anew in its place in a terminal, within what fits there.

use std::io::{self, Write};

use crate::findings::{folded, plain};

/// Where the last drawing is.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// Its lines: the next one goes over them.
    drawn: usize,
}

impl Screen {
    /// Takes the last drawing away.
    pub(crate) fn clear(&mut self, out: &mut impl Write) -> io::Result<()> {
        match std::mem::take(&mut self.drawn) {
            0 => Ok(()),
            drawn => write!(out, "\x1b[{drawn}A\x1b[J"),
        }
    }

    /// Draws this over the last drawing, as much of it as the terminal has lines for.
    pub(crate) fn draw(&mut self, out: &mut impl Write, text: &str) -> io::Result<()> {
        self.clear(out)?;
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let size = size.map(|size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        // A terminal that doesn't say is one of the oldest size.
        let (rows, columns) = size.filter(|(rows, columns)| *rows > 0 && *columns > 0).unwrap_or((24, 80));
        let text = fitted(text, rows, columns);
        self.drawn = text.lines().count();
        // One that is narrower by now must not wrap a line: the next drawing would miss its place.
        write!(out, "\x1b[?7l{text}\x1b[?7h")?;
        out.flush()
    }
}

/// A text for a terminal of this size: long lines are folded, and what would be beyond its last line but one is counted.
fn fitted(text: &str, rows: usize, columns: usize) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = plain(line);
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        if line.chars().count() <= columns {
            lines.push(line);
            continue;
        }
        let more = format!("{indent}  ");
        let room = columns.saturating_sub(more.chars().count()).max(1);
        for (number, piece) in folded(&line, room).into_iter().enumerate() {
            let piece = format!("{}{piece}", if number == 0 { &indent } else { &more });
            // A word that is too long for any line.
            lines.push(piece.chars().take(columns).collect());
        }
    }
    let room = rows.saturating_sub(1).max(1);
    if lines.len() > room {
        let left = lines.len() - (room - 1);
        lines.truncate(room - 1);
        lines.push(format!("… and {left} more lines"));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// A text without its numbers of seconds, which change by themselves.
pub(crate) fn without_seconds(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_seconds = |at: usize| {
        let unit = words.get(at + 1).map(|word| word.trim_end_matches(|c: char| c.is_ascii_punctuation()));
        unit == Some("s") && words.get(at).is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let kept = words.iter().enumerate().filter(|(at, _)| !is_seconds(*at)).map(|(_, word)| *word);
    kept.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_fits_its_terminal() {
        let line = |k| format!("  {k}: {}", "many words ".repeat(12));
        let text = (0..40).map(line).collect::<Vec<_>>().join("\n");
        for (rows, columns) in [(24, 80), (10, 40), (3, 20), (1, 1)] {
            let fitted = fitted(&text, rows, columns);
            assert!(fitted.lines().count() <= (rows - 1).max(1), "{rows}\n{fitted}");
            if columns > 20 {
                assert!(fitted.lines().all(|line| line.chars().count() <= columns), "{columns}\n{fitted}");
                assert!(fitted.lines().last().is_some_and(|line| line.ends_with(" more lines")), "{fitted}");
            }
        }
        assert_eq!(fitted("a\n  b\n", 24, 80), "a\n  b\n");
        assert_eq!(fitted("  one two three\n", 24, 9), "  one\n    two\n    three\n");
        assert_eq!(fitted("1\n2\n3\n4\n", 4, 80), "1\n2\n… and 2 more lines\n");
    }

    #[test]
    fn nothing_that_was_said_steers_the_terminal() {
        let mut out = Vec::new();
        Screen::default().draw(&mut out, "a \x1b]0;title\x07 \x1b[2J b\n").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\x1b[?7la  ]0;title   [2J b\n\x1b[?7h");
    }

    #[test]
    fn the_next_drawing_goes_over_the_lines_of_the_last() {
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        screen.draw(&mut out, "a\nb\n").unwrap();
        screen.clear(&mut out).unwrap();
        screen.clear(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\x1b[?7la\nb\n\x1b[?7h\x1b[2A\x1b[J");
    }

    #[test]
    fn seconds_are_no_change() {
        assert_eq!(without_seconds("ends in 12 s if\n"), without_seconds("ends in 9 s if"));
        assert_eq!(without_seconds("waits (3 sessions; 4 s)"), "waits (3 sessions; s)");
        assert_ne!(without_seconds("3 sessions"), without_seconds("4 sessions"));
    }
}
