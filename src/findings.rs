//! Floor 1, `findings`: what a look at a cluster has found, stage by stage, and how people are shown it. Pure; imports nothing of the crate.
//!
//! The protocols fill it, `evenkeel check --connect` shows it. A stage that can't be passed says why in one line, and what to do about it in
//! another; those behind it were not tried. Must never hold a secret. What peers have sent stands in it: control characters are taken out.

use std::fmt::Write as _;

/// How one stage went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Ok,
    /// It works, and there is something to look after.
    Warning,
    /// It can't be passed.
    Failed,
    /// An earlier one could not be passed.
    NotTried,
}

impl Verdict {
    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::NotTried => "not tried",
        }
    }
}

/// One stage, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A word.
    pub stage: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What is there, or why it can't be passed, in one line.
    pub text: String,
    /// What to set or to do, in one line; empty if there is nothing to be done.
    pub remedy: String,
}

impl Finding {
    fn new(stage: &'static str, verdict: Verdict, text: &str, remedy: &str) -> Self {
        Self { stage, verdict, text: plain(text), remedy: plain(remedy) }
    }

    /// As it should be.
    pub fn ok(stage: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(stage, Verdict::Ok, text.as_ref(), "")
    }

    /// It works, and there is something to look after.
    pub fn warning(stage: &'static str, text: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(stage, Verdict::Warning, text.as_ref(), remedy.as_ref())
    }

    /// It can't be passed.
    pub fn failed(stage: &'static str, text: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(stage, Verdict::Failed, text.as_ref(), remedy.as_ref())
    }

    /// An earlier one could not be passed.
    pub fn not_tried(stage: &'static str) -> Self {
        Self::new(stage, Verdict::NotTried, "", "")
    }
}

/// One member, or one thing else that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What it is.
    pub title: String,
    /// Its stages, in order.
    pub findings: Vec<Finding>,
}

impl Group {
    /// Of this name.
    pub fn new(title: impl AsRef<str>, findings: Vec<Finding>) -> Self {
        Self { title: plain(title.as_ref()), findings }
    }
}

/// All that was found of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Its kind and name.
    pub title: String,
    /// What was looked at.
    pub groups: Vec<Group>,
}

impl Findings {
    /// How many findings have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        let all = self.groups.iter().flat_map(|group| &group.findings);
        all.filter(|finding| finding.verdict == verdict).count()
    }
}

/// The columns in front of what was found: an indent, the stage, the verdict.
const INDENT: usize = 4;
const STAGE: usize = 12;
const VERDICT: usize = 11;
/// In a narrower terminal lines are left to the terminal.
const NARROWEST: usize = 60;

/// A table of all of it. `width`: the columns of the terminal, to which long lines are folded; elsewhere than in a terminal each stays whole.
pub fn table(all: &[Findings], width: Option<usize>) -> String {
    let before = INDENT + STAGE + VERDICT;
    let room = width.filter(|width| *width >= NARROWEST).map_or(usize::MAX, |width| width - before);
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (number, findings) in all.iter().enumerate() {
        let gap = if number > 0 { "\n" } else { "" };
        let _ = writeln!(out, "{gap}{}", findings.title);
        for group in &findings.groups {
            let _ = writeln!(out, "  {}", group.title);
            for finding in &group.findings {
                let mut head =
                    format!("{:INDENT$}{:<STAGE$}{:<VERDICT$}", "", finding.stage, finding.verdict.word());
                let remedy = if finding.remedy.is_empty() {
                    String::new()
                } else {
                    format!("remedy: {}", finding.remedy)
                };
                for line in folded(&finding.text, room).into_iter().chain(folded(&remedy, room)) {
                    let _ = writeln!(out, "{}", format!("{head}{line}").trim_end());
                    head = " ".repeat(before);
                }
                if finding.text.is_empty() && remedy.is_empty() {
                    let _ = writeln!(out, "{}", head.trim_end());
                }
            }
        }
    }
    out
}

/// A text in lines of at most `room` characters, at its spaces; a longer word stays whole. None for no text.
pub fn folded(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What peers say and files hold is shown on a terminal: nothing in it may steer that.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Findings {
        let why = "can't connect to a:9093: 10.0.0.1:9093: its certificate was issued by no authority in /etc/ca.pem (tls.ca)";
        let findings = vec![
            Finding::ok("dns", "10.0.0.1"),
            Finding::failed("tls", why, "name its authority in tls.ca"),
            Finding::not_tried("sasl"),
        ];
        Findings { title: "kafka orders".to_owned(), groups: vec![Group::new("a:9093, bootstrap", findings)] }
    }

    #[test]
    fn columns_are_aligned_and_a_piped_line_stays_whole() {
        let text = table(&[found()], None);
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "kafka orders",
            "  a:9093, bootstrap",
            "    dns         ok         10.0.0.1",
            "    tls         failed     can't connect to a:9093: 10.0.0.1:9093: its certificate was issued by no authority in /etc/ca.pem \
             (tls.ca)",
            "                           remedy: name its authority in tls.ca",
            "    sasl        not tried",
        ];
        assert_eq!(lines, expected);
        assert_eq!(table(&[found()], Some(40)), text, "a terminal that is too narrow folds by itself");
        assert!(table(&[found(), found()], None).contains("not tried\n\nkafka orders\n"));
    }

    #[test]
    fn in_a_terminal_lines_are_folded_and_nothing_is_left_out() {
        for width in 60..140 {
            let text = table(&[found()], Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}\n{text}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&text), words(&table(&[found()], None)));
        }
    }

    #[test]
    fn what_a_peer_says_does_not_steer_the_terminal() {
        let finding = Finding::failed("sasl", "no\u{1b}[2J\r\nno", "\u{7}");
        assert_eq!((finding.text.as_str(), finding.remedy.as_str()), ("no [2J  no", " "));
    }

    #[test]
    fn verdicts_are_counted() {
        let verdicts = [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::NotTried];
        assert_eq!(verdicts.map(|verdict| found().count(verdict)), [1, 0, 1, 1]);
    }
}
