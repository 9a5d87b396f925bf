//! What is wrong with a configuration, and where: one line of text for each problem.
//!
//! Imports std only. Never prints; the caller decides where the lines go.

use std::cmp::Ordering;
use std::fmt;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole; or it isn't known which line.
    File,
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
}

/// One mistake: where, which key, what is wrong and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as the user gave it.
    pub file: String,
    /// Where the value came from.
    pub place: Place,
    /// The key's path (`kafka[0].broker_ports`); empty for what is wrong with the whole: a file that can't be read, isn't
    /// TOML or has no cluster, a variable that names no key.
    pub path: String,
    /// What is wrong; what to write instead.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File => write!(f, "{}: ", self.file)?,
            Place::Line(line) => write!(f, "{}:{line}: ", self.file)?,
            Place::Variable(name) => write!(f, "environment: {name}: ")?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Every problem found in one configuration, by line; those of the environment follow. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts by place, then by path, and drops exact repeats.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| match a.place.cmp(&b.place) {
            Ordering::Equal => a.path.cmp(&b.path),
            other => other,
        });
        problems.dedup();
        Self(problems)
    }

    /// Of files that a configuration names: the path of each one's key, and what is wrong with the file. Nothing, if there is nothing.
    pub fn of_files(file: &str, faults: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let problem = |(path, text)| Problem { file: file.to_owned(), place: Place::File, path, text };
        let all: Vec<Problem> = faults.into_iter().map(problem).collect();
        (!all.is_empty()).then(|| Self::new(all))
    }

    /// How many.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The problems, by line.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// One line each, no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
