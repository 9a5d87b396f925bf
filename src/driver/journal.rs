//! The journal: what makes a driver that was killed go on where it was. Lines of JSON, each written and synced before what it says
//! is done; nothing is ever changed.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::event::{Event, Line};
use super::plan::PlanFile;

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    /// It can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The journal.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Another driver uses it.
    #[error("{0}: another driver is at work with this journal")]
    Locked(String),
    /// It is another plan's, or no journal.
    #[error("{path}: {what}")]
    Foreign {
        /// The journal.
        path: String,
        /// What is wrong.
        what: String,
    },
}

/// An open journal. Another driver can't open it meanwhile.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    next: u64,
}

impl Journal {
    /// Opens the journal of a plan, or begins it, and gives what it holds.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub(super) fn open(path: &Path, plan: &PlanFile, now_ms: u64) -> Result<(Self, Vec<Line>), JournalError> {
        let io = |error| JournalError::Io { path: path.display().to_string(), error };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(JournalError::Locked(path.display().to_string()));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let (lines, whole) =
            read(&bytes).map_err(|what| JournalError::Foreign { path: path.display().to_string(), what })?;
        if whole < bytes.len() {
            // A line that was being written when its driver died: nothing was done yet of what it says.
            file.set_len(whole as u64).map_err(io)?;
            file.seek(SeekFrom::End(0)).map_err(io)?;
        }
        let mut journal = Self { file, path: path.to_owned(), next: lines.len() as u64 + 1 };
        let mut lines = lines;
        match lines.first() {
            Some(line) => {
                if let Some(what) = differs(&line.event, plan) {
                    return Err(JournalError::Foreign { path: path.display().to_string(), what });
                }
            }
            None => {
                lines.push(journal.append(header(plan), now_ms)?);
                // That the file is there must last, too.
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(io)?;
                folder.sync_all().map_err(io)?;
            }
        }
        Ok((journal, lines))
    }

    /// Reads a journal without touching it; nothing if there is none.
    ///
    /// # Errors
    /// It is another plan's, or no journal.
    pub(super) fn look(path: &Path, plan: &PlanFile) -> Result<Vec<Line>, JournalError> {
        let foreign = |what| JournalError::Foreign { path: path.display().to_string(), what };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(JournalError::Io { path: path.display().to_string(), error }),
        };
        let (lines, _) = read(&bytes).map_err(foreign)?;
        match lines.first().and_then(|line| differs(&line.event, plan)) {
            Some(what) => Err(foreign(what)),
            None => Ok(lines),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line and waits until it is on the disk.
    ///
    /// # Errors
    /// It can't be written: nothing may be done then.
    pub(super) fn append(&mut self, event: Event, now_ms: u64) -> Result<Line, JournalError> {
        let io = |error| JournalError::Io { path: self.path.display().to_string(), error };
        let line = Line { n: self.next, at_ms: now_ms, event };
        let mut text = serde_json::to_string(&line).map_err(|error| io(error.into()))?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.next += 1;
        Ok(line)
    }
}

fn header(plan: &PlanFile) -> Event {
    let ids: Vec<String> = plan.members.iter().map(|member| member.id.clone()).collect();
    let order = plan.order(super::plan::Direction::Forward, plan.generation, &ids, plan.soak_s);
    Event::Begun {
        plan_id: plan.plan_id.clone(),
        cluster: plan.cluster.clone(),
        protocol: plan.protocol,
        members: order.members,
    }
}

/// What makes a journal another plan's, if anything does. Commands and bounds may have changed.
fn differs(first: &Event, plan: &PlanFile) -> Option<String> {
    let Event::Begun { plan_id, cluster, protocol, members } = first else {
        return Some("is no journal of evenkeel upgrade: its first line names no plan".to_owned());
    };
    let advice = "move it away, or name another with --journal";
    if *plan_id != plan.plan_id {
        return Some(format!("is the journal of plan {plan_id}, not of {}; {advice}", plan.plan_id));
    }
    if *cluster != plan.cluster || *protocol != plan.protocol {
        return Some(format!("is the journal of cluster {cluster}, not of {}; {advice}", plan.cluster));
    }
    let Event::Begun { members: now, .. } = header(plan) else { return None };
    let bare = |members: &[crate::upgrade::PlanMember]| -> Vec<(String, Option<String>, Option<String>)> {
        members.iter().map(|m| (m.id.clone(), m.from.clone(), m.to.clone())).collect()
    };
    if bare(members) != bare(&now) {
        return Some(format!(
            "is a journal of {plan_id} with other members or versions; a changed plan needs another plan_id and journal"
        ));
    }
    None
}

/// Whole lines, and how many bytes they take. What follows the last end of a line is torn.
fn read(bytes: &[u8]) -> Result<(Vec<Line>, usize), String> {
    let mut lines = Vec::new();
    let mut whole = 0;
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        if piece.last() != Some(&b'\n') {
            break;
        }
        let line: Line = serde_json::from_slice(piece)
            .map_err(|error| format!("line {} is no line of a journal: {error}", lines.len() + 1))?;
        if line.n != lines.len() as u64 + 1 {
            return Err(format!("line {} has the number {}", lines.len() + 1, line.n));
        }
        whole += piece.len();
        lines.push(line);
    }
    Ok((lines, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::tests::crash::{KAFKA, ZOOKEEPER, plan};

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let file = format!("evenkeel-journal-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(file);
            let _ = std::fs::remove_file(&path);
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn turn(member: &str) -> Event {
        Event::Turn { member: member.to_owned() }
    }

    #[test]
    fn a_torn_last_line_is_nothing_and_what_follows_is_whole() {
        let (place, plan) = (Place::new("torn"), plan(ZOOKEEPER));
        assert_eq!(Journal::look(&place.0, &plan).unwrap(), []);
        let (mut journal, lines) = Journal::open(&place.0, &plan, 1).unwrap();
        assert_eq!(lines.len(), 1);
        journal.append(turn("1"), 2).unwrap();
        journal.append(turn("2"), 3).unwrap();
        drop(journal);
        let whole = std::fs::read(&place.0).unwrap();
        let cut = whole.len() - 1 - whole.iter().rev().skip(1).position(|byte| *byte == b'\n').unwrap();
        for length in cut..whole.len() {
            std::fs::write(&place.0, &whole[..length]).unwrap();
            assert_eq!(Journal::look(&place.0, &plan).unwrap().len(), 2, "{length}");
            let (mut journal, lines) = Journal::open(&place.0, &plan, 4).unwrap();
            assert_eq!(lines.len(), 2, "{length}");
            assert_eq!(journal.append(turn("3"), 5).unwrap().n, 3);
            drop(journal);
            let lines = Journal::look(&place.0, &plan).unwrap();
            assert_eq!(lines.last().map(|line| line.event.clone()), Some(turn("3")));
        }
    }

    #[test]
    fn a_journal_is_one_plans_and_one_drivers() {
        let (place, own) = (Place::new("foreign"), plan(ZOOKEEPER));
        let (journal, _) = Journal::open(&place.0, &own, 1).unwrap();
        assert!(matches!(Journal::open(&place.0, &own, 1), Err(JournalError::Locked(_))));
        drop(journal);
        let mut other = own.clone();
        other.plan_id = "other".to_owned();
        let error = Journal::open(&place.0, &other, 1).unwrap_err().to_string();
        assert!(error.contains("is the journal of plan p, not of other"), "{error}");
        let error = Journal::open(&place.0, &plan(KAFKA), 1).unwrap_err().to_string();
        assert!(error.contains("of cluster"), "{error}");
        let mut other = own.clone();
        other.members.pop();
        let error = Journal::look(&place.0, &other).unwrap_err().to_string();
        assert!(error.contains("other members or versions"), "{error}");
        // Another command is no other plan.
        let mut same = own;
        same.command = "another".to_owned();
        assert!(Journal::open(&place.0, &same, 1).is_ok());
        for (text, part) in [
            ("no journal\n", "line 1 is no line"),
            ("{\"n\":7,\"at_ms\":1,\"event\":\"finalized\"}\n", "number 7"),
        ] {
            std::fs::write(&place.0, text).unwrap();
            let error = Journal::open(&place.0, &same, 1).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        std::fs::write(&place.0, "{\"n\":1,\"at_ms\":1,\"event\":\"finalized\"}\n").unwrap();
        let error = Journal::open(&place.0, &same, 1).unwrap_err().to_string();
        assert!(error.contains("names no plan"), "{error}");
    }
}
