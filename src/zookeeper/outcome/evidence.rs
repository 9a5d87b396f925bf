//! What was read back, and what must still be read.
//!
//! Reads are not of one moment: other clients write between them. So each answer is kept with its place in the order of
//! answers, and a rule that needs one to be later than another says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::paths;
use crate::zookeeper::wire::{Malformed, Stat, Text, build, errors, opcode, reply};

/// A read that is to be sent, without a watch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    /// `exists`.
    Stat(Vec<u8>),
    /// `getData`.
    Data(Vec<u8>),
    /// `getACL`.
    Acl(Vec<u8>),
    /// `getChildren2`.
    Children(Vec<u8>),
}

impl Read {
    /// The request, with its length in front.
    pub fn frame(&self, xid: i32) -> Bytes {
        match self {
            Self::Stat(path) => build::exists(xid, path),
            Self::Data(path) => build::get_data(xid, path),
            Self::Acl(path) => build::get_acl(xid, path),
            Self::Children(path) => build::get_children2(xid, path),
        }
    }

    /// The number of the wire.
    pub fn opcode(&self) -> i32 {
        match self {
            Self::Stat(_) => opcode::EXISTS,
            Self::Data(_) => opcode::GET_DATA,
            Self::Acl(_) => opcode::GET_ACL,
            Self::Children(_) => opcode::GET_CHILDREN2,
        }
    }
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen<T> {
    /// No such node.
    Absent,
    /// The node.
    There(T),
    /// Not to be known: not read yet, or not allowed.
    Hidden,
}

#[derive(Debug, Clone)]
struct Answer {
    err: i32,
    body: Bytes,
    order: u64,
}

/// What a read found, and the place of its answer.
type Found<T> = (Seen<T>, u64);

/// An entry of a list that was read: perms, scheme, id.
pub(super) type AclEntry = (i32, Vec<u8>, Vec<u8>);

/// All that was read behind one fence. Of one reattach only: after another loss it starts anew.
#[derive(Debug, Default)]
pub struct Evidence {
    answers: BTreeMap<Read, Answer>,
    /// What is in each list of children, found out once for all who look.
    children: BTreeMap<Read, Result<(Arc<Siblings>, Stat), Malformed>>,
    missing: Vec<Read>,
    asked: BTreeSet<Read>,
    order: u64,
}

impl Evidence {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the answer to a read: the error code of its header, and what follows the header. Call it in the order in which
    /// the answers came. An answer that can't be read, and any error but `NoNode`, tells nothing.
    pub fn learn(&mut self, read: Read, err: i32, body: &[u8]) {
        self.order += 1;
        if matches!(read, Read::Children(_)) {
            let children = reply::children2(body);
            let children = children.map(|(names, stat)| (Arc::new(Siblings::new(names.iter())), stat));
            self.children.insert(read.clone(), children);
        }
        self.answers.insert(read, Answer { err, body: Bytes::copy_from_slice(body), order: self.order });
    }

    /// What was asked for since the last call, once each.
    pub(super) fn take_missing(&mut self) -> Vec<Read> {
        self.asked.clear();
        std::mem::take(&mut self.missing)
    }

    /// The answer to `read`, if it came behind the one with the place `after`. Asks for it otherwise.
    fn seen<T>(&mut self, read: Read, after: u64, open: impl Fn(&[u8]) -> Result<T, Malformed>) -> Found<T> {
        match self.answers.get(&read) {
            Some(answer) if answer.order > after => {
                let seen = match answer.err {
                    errors::OK => open(&answer.body).map_or(Seen::Hidden, Seen::There),
                    errors::NO_NODE => Seen::Absent,
                    _ => Seen::Hidden,
                };
                (seen, answer.order)
            }
            _ => {
                if self.asked.insert(read.clone()) {
                    self.missing.push(read);
                }
                (Seen::Hidden, u64::MAX)
            }
        }
    }

    /// A node's stat, and the place of the answer.
    pub(super) fn stat(&mut self, path: &[u8]) -> Found<Stat> {
        self.seen(Read::Stat(path.to_vec()), 0, reply::stat)
    }

    /// A node's data and stat.
    pub(super) fn data(&mut self, path: &[u8]) -> Found<(Option<Vec<u8>>, Stat)> {
        self.seen(Read::Data(path.to_vec()), 0, |body| {
            reply::data(body).map(|(data, stat)| (data.map(<[u8]>::to_vec), stat))
        })
    }

    /// A node's access control list and stat.
    pub(super) fn acl(&mut self, path: &[u8]) -> Found<(Vec<AclEntry>, Stat)> {
        self.seen(Read::Acl(path.to_vec()), 0, |body| {
            let (list, stat) = reply::acl(body)?;
            let text = |text: Option<Text<'_>>| text.unwrap_or_default().as_bytes().to_vec();
            Ok((list.iter().map(|acl| (acl.perms, text(acl.scheme), text(acl.id))).collect(), stat))
        })
    }

    /// A node's children, and its stat.
    pub(super) fn children(&mut self, path: &[u8]) -> Found<(Arc<Siblings>, Stat)> {
        let read = Read::Children(path.to_vec());
        // Looked at only if it has come.
        let children = self.children.get(&read).cloned();
        self.seen(read, 0, |_| children.clone().unwrap_or_else(|| Ok(Default::default())))
    }

    /// What is known of a node that the answer with the place `found` said isn't there: whether it has been away since
    /// `floor` at least.
    ///
    /// Its nearest ancestor that is there, read later, had no child come or go since. (Read earlier it proves less: the node
    /// may have been there then, and been written to.)
    pub(super) fn absence(&mut self, path: &[u8], found: u64, floor: i64) -> Absence {
        let mut at = path;
        let mut direct = true;
        let mut after = found;
        while let Some(parent) = paths::parent(at) {
            match self.seen(Read::Stat(parent.to_vec()), after, reply::stat) {
                (Seen::There(stat), _) if stat.pzxid <= floor => {
                    return if direct { Absence::Since(stat) } else { Absence::WithParent };
                }
                (Seen::Absent, order) => {
                    (at, direct, after) = (parent, false, order);
                }
                _ => return Absence::Unknown,
            }
        }
        Absence::Unknown
    }
}

/// The names of a node's children that end in a number, by what stands before it.
#[derive(Debug, Default)]
pub(super) struct Siblings(HashMap<Vec<u8>, Vec<Vec<u8>>>);

impl Siblings {
    fn new<'a>(names: impl Iterator<Item = Text<'a>>) -> Self {
        let mut all = HashMap::<Vec<u8>, Vec<Vec<u8>>>::new();
        for name in names.map(Text::as_bytes) {
            if let Some(prefix) = paths::unnumbered(name) {
                all.entry(prefix.to_vec()).or_default().push(name.to_vec());
            }
        }
        Self(all)
    }

    /// The names that are this and a number.
    pub(super) fn numbered(&self, prefix: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.0.get(prefix).into_iter().flatten().map(Vec::as_slice)
    }
}

/// Since when a node isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// Since the floor or longer; the parent is there, untouched, and has this stat.
    Since(Stat),
    /// Since the floor or longer, and its parent too.
    WithParent,
    /// It may have been there.
    Unknown,
}
