//! Collects problems while a configuration is read, and remembers where each key came from.
//!
//! Imports the folder's `problem` only.

use std::collections::BTreeMap;

use super::problem::{Place, Problem, Problems};

/// What was found so far.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    problems: Vec<Problem>,
    places: BTreeMap<String, Place>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: Vec::new(), places: BTreeMap::new() }
    }

    /// Adds a problem at a place.
    pub(super) fn add(&mut self, place: &Place, path: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            place: place.clone(),
            path: path.into(),
            text: text.into(),
        });
    }

    /// Remembers where the value of `path` stands.
    pub(super) fn seen(&mut self, path: impl Into<String>, place: &Place) {
        self.places.insert(path.into(), place.clone());
    }

    /// Whether the configuration says anything at `path`, rather than leaving it to the default.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Where `path` stands; where what holds it stands, when it is not written.
    pub(super) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']).and_then(|at| path.get(..at)) {
                Some(shorter) => path = shorter,
                None => return Place::Line(1),
            }
        }
    }

    /// Where `path` stands, for the end of a phrase about it.
    pub(super) fn origin(&self, path: &str) -> String {
        match self.places.get(path) {
            Some(Place::Line(line)) => format!(" (line {line})"),
            Some(Place::Variable(name)) => format!(" ({name})"),
            Some(Place::File) => String::new(),
            None => " (the default)".to_owned(),
        }
    }

    /// Adds a problem at the place of a path that was read before.
    pub(super) fn add_at(&mut self, path: &str, text: impl Into<String>) {
        let place = self.place(path);
        self.add(&place, path, text);
    }

    /// Whether nothing is wrong at `path`, in it, or with what holds it: a rule between keys is checked
    /// only when both of them are sound, so that one mistake is not reported twice.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        !self.problems.iter().any(|problem| within(path, &problem.path) || within(&problem.path, path))
    }

    /// The verdict.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Problems> {
        if self.problems.is_empty() { Ok(value) } else { Err(Problems::new(self.problems)) }
    }
}

/// Whether `inner` is `outer` or lies in it.
fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_within_itself_and_its_holders_only() {
        assert!(within("kafka[0].listen[1]", "kafka[0].listen"));
        assert!(within("kafka[0].listen", "kafka[0]"));
        assert!(within("hold", "hold"));
        assert!(!within("kafka[0].listener", "kafka[0].listen"));
        assert!(!within("kafka[10]", "kafka[1]"));
        assert!(!within("hold", "hold.max"));
    }

    #[test]
    fn an_unwritten_path_stands_where_its_holder_stands() {
        let mut report = Report::new("f");
        report.seen("kafka[0]", &Place::Line(7));
        assert_eq!(report.place("kafka[0].listen[2]"), Place::Line(7));
        assert_eq!(report.place("hold.max"), Place::Line(1));
    }
}
