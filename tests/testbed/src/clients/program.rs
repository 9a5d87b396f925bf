//! A child process whose lines of JSON become items as they come. Knows nothing of what they mean.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::admin::text;
use crate::{Error, Result, wait};

#[derive(Debug)]
pub(crate) struct State<T> {
    pub(crate) items: Vec<T>,
    /// The kinds of lines seen that are no item: `ready`, `end`.
    marks: Vec<String>,
    closed: bool,
}

/// A child process whose lines become items.
#[derive(Debug)]
pub(crate) struct Program<T> {
    name: String,
    child: Child,
    state: Arc<Mutex<State<T>>>,
    reader: Option<JoinHandle<()>>,
    complaints: PathBuf,
}

impl<T: Send + 'static> Program<T> {
    pub(crate) fn start(
        name: &str,
        mut command: Command,
        record: Option<&Path>,
        item: fn(&Value) -> Option<T>,
    ) -> Result<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let complaints =
            std::env::temp_dir().join(format!("evenkeel-client-{}-{number}.log", std::process::id()));
        let log = File::create(&complaints).map_err(Error::io("creating a client's log"))?;
        let mut record = record.map(File::create).transpose().map_err(Error::io("creating a record"))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(Error::io(format!("starting {name}")))?;
        let state = Arc::new(Mutex::new(State { items: Vec::new(), marks: Vec::new(), closed: false }));
        let stdout = child.stdout.take();
        let shared = Arc::clone(&state);
        let reader = std::thread::spawn(move || {
            for line in
                stdout.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(std::io::Result::ok)
            {
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                // A full disk shows when the record is read: its last line is missing.
                let _ = record.as_mut().map(|file| writeln!(file, "{line}"));
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                match item(&value) {
                    Some(item) => state.items.push(item),
                    None => state.marks.push(text(&value, "t")),
                }
            }
            shared.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        });
        Ok(Self { name: name.to_owned(), child, state, reader: Some(reader), complaints })
    }

    /// What came so far, for others to look at while it runs.
    pub(crate) fn shared(&self) -> Arc<Mutex<State<T>>> {
        Arc::clone(&self.state)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_for(&self, mark: &str, bound: Duration) -> Result<()> {
        wait::poll(&format!("{mark:?} of {}", self.name), bound, Duration::from_millis(20), || {
            let state = self.state();
            if state.marks.iter().any(|m| m == mark) {
                return Ok(Some(()));
            }
            if state.closed {
                let tail = crate::process::tail(&self.complaints, 20);
                return Err(Error::program(&self.name, format!("ended without {mark:?}: {tail}")));
            }
            Ok(None)
        })
    }

    pub(crate) fn stop(&mut self, bound: Duration) -> Result<()> {
        if let Some(stdin) = self.child.stdin.as_mut() {
            // It may have ended by itself: then what it said before counts.
            let _ = stdin.write_all(b"stop\n").and_then(|()| stdin.flush());
        }
        self.wait_for("end", bound)?;
        self.end(Duration::from_secs(30))
    }

    pub(crate) fn end(&mut self, bound: Duration) -> Result<()> {
        let child = &mut self.child;
        wait::poll(&format!("the end of {}", self.name), bound, Duration::from_millis(10), || {
            child.try_wait().map_err(Error::io("waiting for a client"))
        })?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        Ok(())
    }
}

impl<T> Drop for Program<T> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.complaints);
    }
}
