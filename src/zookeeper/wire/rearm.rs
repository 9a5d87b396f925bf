//! Watches set anew on another server, in pieces that it takes.
//!
//! One request for all watches can pass the server's `jute.maxbuffer` and close the connection (ZOOKEEPER-706), so they
//! go in chunks, as those of the Java client do.

use bytes::Bytes;

use super::header::xid;
use super::jute::Writer;
use super::opcode;

/// The Java client's limit on one chunk, in bytes.
pub const CHUNK: usize = 128 * 1024;

/// Which list of `setWatches2` a watch stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// On data: from `getData`, and from `exists` on a node that is there.
    Data,
    /// On a node that isn't there. One on a node that is there belongs in [`List::Data`].
    Exist,
    /// On children.
    Child,
    /// Persistent.
    Persistent,
    /// Persistent and recursive.
    Recursive,
}

/// Collects watches into requests.
struct Chunks<'a> {
    relative_zxid: i64,
    limit: usize,
    lists: [Vec<&'a [u8]>; 5],
    size: usize,
    done: Vec<Bytes>,
}

impl<'a> Chunks<'a> {
    fn add(&mut self, list: List, path: &'a [u8]) {
        let size = 4 + path.len();
        if self.size > 0 && self.size + size > self.limit {
            self.flush();
        }
        self.size += size;
        if let Some(list) = self.lists.get_mut(list as usize) {
            list.push(path);
        }
    }

    fn flush(&mut self) {
        self.size = 0;
        let lists = std::mem::take(&mut self.lists);
        let [.., persistent, recursive] = &lists;
        // The older request where it says all: a server before 3.6 doesn't know the other.
        let old = persistent.is_empty() && recursive.is_empty();
        let (code, count) = if old { (opcode::SET_WATCHES, 3) } else { (opcode::SET_WATCHES2, 5) };
        let head = Writer::frame().i32(xid::SET_WATCHES).i32(code).i64(self.relative_zxid);
        let whole = lists.iter().take(count).fold(head, |w, list| w.names(list.iter().copied()));
        self.done.push(whole.finish());
    }
}

/// The requests that set `watches` anew: for each chunk of at most `limit` bytes of paths one `setWatches`, or
/// `setWatches2` if there are persistent ones in it. Each is answered for itself, under the xid −8, behind the events
/// that it brings. A path that is longer than `limit` goes alone.
///
/// `relative_zxid`: the highest zxid of any answer received. Whatever happened to a watched node after it is told.
pub fn set_watches<'a>(
    relative_zxid: i64,
    watches: impl IntoIterator<Item = (List, &'a [u8])>,
    limit: usize,
) -> Vec<Bytes> {
    let mut chunks = Chunks { relative_zxid, limit, lists: Default::default(), size: 0, done: Vec::new() };
    for (list, path) in watches {
        chunks.add(list, path);
    }
    if chunks.size > 0 {
        chunks.flush();
    }
    chunks.done
}
