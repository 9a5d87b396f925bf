//! A tap between Evenkeel and one server: it counts requests, and withholds of marked ones the answer, or the request itself. From there
//! on it passes nothing more to that side of their connection; the connection ends with the server's.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is withheld of a marked request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// Its answer: the server has carried it out.
    Answer,
    /// The request itself, which Evenkeel has written.
    Request,
}

/// What all taps of an ensemble know together.
#[derive(Default)]
pub struct Book {
    /// Requests of which something is to be withheld, once, by session and xid.
    marked: HashMap<(i64, i32), Withheld>,
    /// How often each request came, by session, xid and operation.
    seen: HashMap<(i64, i32, i32), usize>,
}

pub type Shared = Arc<Mutex<Book>>;

pub fn book(shared: &Shared) -> MutexGuard<'_, Book> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    pub fn mark(&mut self, session: i64, xid: i32, what: Withheld) {
        self.marked.insert((session, xid), what);
    }

    /// Marked requests of which nothing is withheld yet.
    pub fn due(&self) -> usize {
        self.marked.len()
    }

    /// Whether this is to be withheld now.
    fn withholds(&mut self, session: i64, xid: i32, what: Withheld) -> bool {
        let is_marked = self.marked.get(&(session, xid)) == Some(&what);
        is_marked && self.marked.remove(&(session, xid)).is_some()
    }

    pub fn seen(&self, session: i64, xid: i32, code: i32) -> usize {
        self.seen.get(&(session, xid, code)).copied().unwrap_or(0)
    }
}

/// Listens in front of `server`, for as long as the test runs.
pub fn tap(server: SocketAddr, shared: &Shared) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, shared) = (listener.local_addr().unwrap(), Arc::clone(shared));
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            // Nobody there: the connection ends, as it would without the tap.
            let Ok(far) = TcpStream::connect(server) else { continue };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let session = Arc::new(Mutex::new(0));
            let (to, from) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            let (own, book) = (Arc::clone(&session), Arc::clone(&shared));
            std::thread::spawn(move || requests(from, to, &own, &book));
            let book = Arc::clone(&shared);
            std::thread::spawn(move || {
                answers(&far, &near, &session, &book);
                let _ = (far.shutdown(Shutdown::Both), near.shutdown(Shutdown::Both));
            });
        }
    });
    addr
}

/// A frame with its length; a four-letter word is none.
fn frame(from: &mut impl Read, first: bool) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    from.read_exact(&mut head).ok()?;
    if first && head[0] != 0 {
        return Some(head.to_vec());
    }
    let mut frame = head.to_vec();
    frame.resize(4 + usize::try_from(i32::from_be_bytes(head)).ok()?, 0);
    from.read_exact(frame.get_mut(4..)?).ok()?;
    Some(frame)
}

fn int(frame: &[u8], at: usize) -> i32 {
    frame.get(at..at + 4).map_or(0, |bytes| i32::from_be_bytes(bytes.try_into().unwrap()))
}

fn requests(mut from: TcpStream, mut to: TcpStream, session: &Mutex<i64>, shared: &Shared) {
    let (mut first, mut silent) = (true, false);
    while let Some(bytes) = frame(&mut from, first) {
        if !std::mem::take(&mut first) {
            let (session, xid, code) = (*session.lock().unwrap(), int(&bytes, 4), int(&bytes, 8));
            let mut book = book(shared);
            *book.seen.entry((session, xid, code)).or_default() += 1;
            silent |= book.withholds(session, xid, Withheld::Request);
        }
        if !silent && to.write_all(&bytes).is_err() {
            break;
        }
    }
    if !silent {
        let _ = to.shutdown(Shutdown::Write);
    }
}

fn answers(mut from: &TcpStream, mut to: &TcpStream, session: &Mutex<i64>, shared: &Shared) {
    let (mut first, mut silent) = (true, false);
    loop {
        let mut head = [0; 4];
        if from.read_exact(&mut head).is_err() {
            return;
        }
        let Ok(length) = usize::try_from(i32::from_be_bytes(head)) else { return };
        if first && length > 1 << 24 {
            // The text that answers a four-letter word.
            let _ = to.write_all(&head).and_then(|()| std::io::copy(&mut from, &mut to));
            return;
        }
        let mut bytes = head.to_vec();
        bytes.resize(4 + length, 0);
        let Some(rest) = bytes.get_mut(4..) else { return };
        if from.read_exact(rest).is_err() {
            return;
        }
        let mut own = session.lock().unwrap();
        if std::mem::take(&mut first) {
            // Protocol, time-out, session.
            *own = bytes.get(12..20).map_or(0, |bytes| i64::from_be_bytes(bytes.try_into().unwrap()));
        } else {
            silent |= book(shared).withholds(*own, int(&bytes, 4), Withheld::Answer);
        }
        drop(own);
        if !silent && to.write_all(&bytes).is_err() {
            return;
        }
    }
}
