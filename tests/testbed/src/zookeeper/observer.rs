//! Somebody who looks at clients' ephemeral nodes all the time, straight at the servers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Direct;
use super::history::Line;
use super::programs::Told;
use crate::{Error, Result};

const EVERY: Duration = Duration::from_millis(200);

/// What was seen of a client's ephemeral nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ephemerals {
    /// Made by the client.
    pub made: usize,
    /// Gone while the client had not ended: the path, once for each time that it was made.
    pub lost: Vec<String>,
    /// How often all were looked at.
    pub looks: usize,
}

/// A thread that looks.
#[derive(Debug)]
pub(crate) struct Observer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Ephemerals>>>,
}

impl Observer {
    /// Looks at the nodes below each root, whose client tells what it makes.
    pub(crate) fn start(clients: Vec<(String, Told)>, mut direct: Direct) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = vec![(Ephemerals::default(), BTreeSet::new()); clients.len()];
            // The last look begins after the word to stop.
            for last in std::iter::repeat_with(|| own.load(Ordering::Relaxed)) {
                for ((root, told), (ephemerals, lost)) in clients.iter().zip(&mut seen) {
                    look(root, told, &mut direct, ephemerals, lost)?;
                }
                if last {
                    break;
                }
                std::thread::sleep(EVERY);
            }
            Ok(seen.into_iter().map(|(ephemerals, _)| ephemerals).collect())
        });
        Self { stop, thread }
    }

    /// Looks once more, and gives what was seen, in the clients' order. They must not have ended yet.
    pub(crate) fn stop(self) -> Result<Vec<Ephemerals>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::program("the observer", "panicked"))?
    }
}

/// The nodes that a client told of before now must be there now. `lost` has the numbers of those that were seen to be gone.
fn look(
    root: &str,
    told: &Told,
    direct: &mut Direct,
    ephemerals: &mut Ephemerals,
    lost: &mut BTreeSet<usize>,
) -> Result<()> {
    let made: Vec<String> = told.look(|lines| {
        let paths = lines.iter().filter_map(|line| match line {
            Line::Live { path, .. } => Some(path.clone()),
            _ => None,
        });
        paths.collect()
    });
    // What was made before is known to the server that is asked.
    direct.sync()?;
    let there = direct.children(&format!("{root}/live"))?;
    ephemerals.looks += 1;
    ephemerals.made = made.len();
    for (number, path) in made.iter().enumerate() {
        let name = path.rsplit('/').next().unwrap_or("");
        // Made again under the same name: the later one counts, but this one was lost.
        let again = made.iter().skip(number + 1).any(|later| later == path);
        if (again || !there.iter().any(|child| child == name)) && lost.insert(number) {
            ephemerals.lost.push(path.clone());
        }
    }
    Ok(())
}
