//! A znode tree as the server keeps it, small enough to read: what writes do to it, and what reads see.

use std::collections::BTreeMap;

use crate::zookeeper::outcome::{Read, paths};
use crate::zookeeper::wire::*;
use bytes::Bytes;

/// Who may do what, of the lists that the model knows: their permissions for everyone.
pub(super) const OPEN: i32 = 31;
pub(super) const READ_ONLY: i32 = 1;
pub(super) const HIDDEN: i32 = 0;

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) data: Option<Vec<u8>>,
    pub(super) perms: i32,
    /// `cversion` here counts creations alone, as the server's own record does.
    pub(super) stat: Stat,
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<Vec<u8>, Node>,
    pub(super) zxid: i64,
}

type Done = Result<Writer, i32>;

fn check(node: &Node, right: i32) -> Result<(), i32> {
    if node.perms & right == 0 { Err(errors::NO_AUTH) } else { Ok(()) }
}

fn perms(acl: Option<AclList<'_>>) -> Result<i32, i32> {
    acl.and_then(|acl| acl.iter().next()).map(|acl| acl.perms).ok_or(-114)
}

impl Tree {
    pub(super) fn new() -> Self {
        let mut tree = Self { nodes: BTreeMap::new(), zxid: 0 };
        for path in ["/", "/zookeeper", "/zookeeper/quota"] {
            tree.nodes.insert(path.into(), Node { perms: OPEN, ..Node::default() });
        }
        tree
    }

    /// The stat as clients are shown it.
    pub(super) fn shown(&self, path: &[u8]) -> Stat {
        let node = &self.nodes[path];
        let children = i32::try_from(self.children(path).len()).unwrap();
        Stat {
            cversion: node.stat.cversion * 2 - children,
            num_children: children,
            data_length: i32::try_from(node.data.as_ref().map_or(0, Vec::len)).unwrap(),
            ..node.stat
        }
    }

    pub(super) fn children(&self, path: &[u8]) -> Vec<&[u8]> {
        let below = self.nodes.keys().filter(|key| paths::parent(key) == Some(path));
        below.map(|key| paths::name(key)).collect()
    }

    /// One transaction: the body of its answer, or its error, which changes nothing but the zxid.
    pub(super) fn write(&mut self, request: &Request<'_>, session: i64) -> Result<Bytes, i32> {
        let before = self.clone();
        self.zxid += 1;
        let done = self.transact(request, session);
        if done.is_err() {
            *self = Self { zxid: self.zxid, ..before };
        }
        done.map(Writer::finish)
    }

    fn transact(&mut self, request: &Request<'_>, session: i64) -> Done {
        let w = Writer::record();
        let text = |path: &Option<Text<'_>>| path.map(|p| p.as_bytes().to_vec()).ok_or(-5);
        match request {
            Request::Create(c) => {
                let path = self.create(c, session)?;
                let w = w.text(&path);
                Ok(if c.opcode == 1 { w } else { self.shown(&path).write(w) })
            }
            Request::Delete { path, version } => self.delete(&text(path)?, *version).map(|()| w),
            Request::SetData { path, data, version } => {
                let path = text(path)?;
                self.set_data(&path, *data, *version)?;
                Ok(self.shown(&path).write(w))
            }
            Request::SetAcl { path, acl, version } => {
                let path = text(path)?;
                let perms = perms(*acl)?;
                let node = self.nodes.get_mut(&path).ok_or(errors::NO_NODE)?;
                check(node, 16)?;
                expect(*version, node.stat.aversion)?;
                node.stat.aversion += 1;
                node.perms = perms;
                Ok(self.shown(&path).write(w))
            }
            Request::Multi(multi) => {
                let head = |w: Writer, kind: i32| w.i32(kind).bool(false).i32(0);
                let mut w = w;
                for op in multi.iter() {
                    let path = text(&op.path())?;
                    w = match op {
                        Op::Create(c) => {
                            let path = self.create(&c, session)?;
                            let w = head(w, c.opcode).text(&path);
                            if c.opcode == 1 { w } else { self.shown(&path).write(w) }
                        }
                        Op::Delete { version, .. } => {
                            self.delete(&path, version)?;
                            head(w, 2)
                        }
                        Op::SetData { data, version, .. } => {
                            self.set_data(&path, data, version)?;
                            self.shown(&path).write(head(w, 5))
                        }
                        Op::Check { version, .. } => {
                            let node = self.nodes.get(&path).ok_or(errors::NO_NODE)?;
                            check(node, 1)?;
                            expect(version, node.stat.version)?;
                            head(w, 13)
                        }
                        Op::GetChildren { .. } | Op::GetData { .. } => return Err(-5),
                    };
                }
                Ok(w.i32(-1).bool(true).i32(-1))
            }
            other => panic!("{other:?} is no write of the model"),
        }
    }

    fn create(&mut self, c: &Create<'_>, session: i64) -> Result<Vec<u8>, i32> {
        let mut path = c.path.ok_or(-5)?.as_bytes().to_vec();
        let mode = c.mode().ok_or(errors::BAD_ARGUMENTS)?;
        let perms = perms(c.acl)?;
        let above = paths::parent(&path).ok_or(errors::BAD_ARGUMENTS)?.to_vec();
        let parent = self.nodes.get(&above).ok_or(errors::NO_NODE)?;
        check(parent, 4)?;
        if mode.is_sequential() {
            path.extend(format!("{:010}", parent.stat.cversion).bytes());
        }
        if self.nodes.contains_key(&path) {
            return Err(errors::NODE_EXISTS);
        }
        if parent.stat.ephemeral_owner != 0 {
            return Err(errors::NO_CHILDREN_FOR_EPHEMERALS);
        }
        let zxid = self.zxid;
        let stat = Stat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: zxid,
            mtime: zxid,
            ephemeral_owner: if mode.is_ephemeral() { session } else { 0 },
            ..Stat::default()
        };
        self.nodes.insert(path.clone(), Node { data: c.data.map(<[u8]>::to_vec), perms, stat });
        let parent = self.nodes.get_mut(&above).unwrap();
        parent.stat.cversion += 1;
        parent.stat.pzxid = zxid;
        Ok(path)
    }

    fn delete(&mut self, path: &[u8], version: i32) -> Result<(), i32> {
        let above = paths::parent(path).ok_or(errors::BAD_ARGUMENTS)?;
        check(self.nodes.get(above).ok_or(errors::NO_NODE)?, 8)?;
        expect(version, self.nodes.get(path).ok_or(errors::NO_NODE)?.stat.version)?;
        if !self.children(path).is_empty() {
            return Err(errors::NOT_EMPTY);
        }
        self.nodes.remove(path);
        self.nodes.get_mut(above).unwrap().stat.pzxid = self.zxid;
        Ok(())
    }

    fn set_data(&mut self, path: &[u8], data: Option<&[u8]>, version: i32) -> Result<(), i32> {
        let node = self.nodes.get_mut(path).ok_or(errors::NO_NODE)?;
        check(node, 2)?;
        expect(version, node.stat.version)?;
        node.data = data.map(<[u8]>::to_vec);
        node.stat.version += 1;
        (node.stat.mzxid, node.stat.mtime) = (self.zxid, self.zxid);
        Ok(())
    }

    /// What a read sees, as an error code and a body.
    pub(super) fn read(&self, read: &Read) -> (i32, Bytes) {
        let (Read::Stat(path) | Read::Data(path) | Read::Acl(path) | Read::Children(path)) = read;
        let Some(node) = self.nodes.get(path) else {
            return (errors::NO_NODE, Bytes::new());
        };
        let right = if matches!(read, Read::Acl(_)) { 17 } else { 1 };
        if let Err(err) = check(node, right) {
            return (err, Bytes::new());
        }
        let w = Writer::record();
        let w = match read {
            Read::Stat(_) => w,
            Read::Data(_) => w.buffer(node.data.as_deref()),
            Read::Acl(_) => w.i32(1).i32(node.perms).text(b"world").text(b"anyone"),
            Read::Children(_) => w.names(self.children(path).into_iter()),
        };
        (0, self.shown(path).write(w).finish())
    }
}

fn expect(wanted: i32, is: i32) -> Result<(), i32> {
    if wanted == -1 || wanted == is { Ok(()) } else { Err(errors::BAD_VERSION) }
}
