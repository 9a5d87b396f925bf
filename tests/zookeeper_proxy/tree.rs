//! The tree of nodes, as if it were replicated in no time: all servers share it.
//!
//! As `DataTree` and `PrepRequestProcessor` of 3.9 do it, no more than these tests need: no permissions, no quotas. A write
//! takes a zxid whether it succeeds or not.

use evenkeel::zookeeper::wire::{Create, CreateMode, EventType, Multi, Op, Request, Stat, Text, Writer};
use evenkeel::zookeeper::wire::{errors, opcode};
use std::collections::BTreeMap;

pub type Acl = Vec<(i32, String, String)>;

#[derive(Clone, Debug)]
pub struct Node {
    pub data: Option<Vec<u8>>,
    pub acl: Acl,
    stat: Stat,
    /// Children that were ever created.
    ever: i32,
}

#[derive(Clone)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    pub zxid: i64,
}

/// What happened to a node.
pub type Change = (EventType, String);

/// The body of an answer, or an error.
pub type Answer = Result<Vec<u8>, i32>;

fn string(text: Option<Text<'_>>) -> Result<String, i32> {
    let path = text.ok_or(errors::BAD_ARGUMENTS)?;
    Ok(path.lossy().into_owned())
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

fn open() -> Acl {
    vec![(31, "world".to_owned(), "anyone".to_owned())]
}

impl Tree {
    pub fn new() -> Self {
        let mut tree = Self { nodes: BTreeMap::new(), zxid: 0x100 };
        for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            let node = Node { data: Some(Vec::new()), acl: open(), stat: Stat::default(), ever: 0 };
            tree.nodes.insert(path.to_owned(), node);
        }
        tree
    }

    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub fn stat(&self, path: &str) -> Option<Stat> {
        let node = self.nodes.get(path)?;
        let children = self.children(path).len() as i32;
        let data_length = node.data.as_ref().map_or(0, Vec::len) as i32;
        Some(Stat { num_children: children, cversion: node.ever * 2 - children, data_length, ..node.stat })
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let head = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.nodes.keys().filter_map(|key| key.strip_prefix(&head));
        below.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect()
    }

    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        let owned = |node: &Node| node.stat.ephemeral_owner == session;
        self.nodes.iter().filter(|(_, node)| owned(node)).map(|(path, _)| path.clone()).collect()
    }

    /// What the ensemble's configuration says.
    pub fn set_config(&mut self, text: &str) {
        self.zxid += 1;
        let zxid = self.zxid;
        let node = self.nodes.get_mut("/zookeeper/config").unwrap();
        node.data = Some(text.replace("ZXID", &format!("{zxid:x}")).into_bytes());
        node.stat.mzxid = zxid;
        node.stat.version += 1;
    }

    /// A write.
    pub fn write(&mut self, request: &Request<'_>, session: i64, changes: &mut Vec<Change>) -> Answer {
        self.zxid += 1;
        match *request {
            Request::Create(create) => self.create(&create, session, changes),
            Request::Delete { path, version } => self.delete(&string(path)?, version, changes),
            Request::SetData { path, data, version } => self.set_data(&string(path)?, data, version, changes),
            Request::SetAcl { path, acl, version } => {
                let path = string(path)?;
                let text = |text: Option<Text<'_>>| text.unwrap_or_default().lossy().into_owned();
                let acl: Acl = acl.unwrap().iter().map(|a| (a.perms, text(a.scheme), text(a.id))).collect();
                let node = self.nodes.get_mut(&path).ok_or(errors::NO_NODE)?;
                if version != -1 && version != node.stat.aversion {
                    return Err(errors::BAD_VERSION);
                }
                node.stat.aversion += 1;
                node.acl = acl;
                Ok(self.stat_bytes(&path))
            }
            Request::Multi(multi) => Ok(self.multi(&multi, session, changes)),
            Request::Reconfig(reconfig) => {
                let members = string(reconfig.members)?;
                self.set_config(&format!("{members}\nversion=ZXID"));
                self.data("/zookeeper/config")
            }
            ref other => panic!("no write: {other:?}"),
        }
    }

    fn stat_bytes(&self, path: &str) -> Vec<u8> {
        self.stat(path).unwrap().write(Writer::record()).finish().to_vec()
    }

    fn create(&mut self, create: &Create<'_>, session: i64, changes: &mut Vec<Change>) -> Answer {
        let mut path = string(create.path)?;
        let mode = create.mode().ok_or(errors::BAD_ARGUMENTS)?;
        if create.acl.is_none_or(|acl| acl.is_empty()) {
            return Err(-114);
        }
        let zxid = self.zxid;
        let above = parent(&path).to_owned();
        let up = self.nodes.get_mut(&above).ok_or(errors::NO_NODE)?;
        if mode.is_sequential() {
            path = format!("{path}{:010}", up.ever);
        }
        if self.nodes.contains_key(&path) {
            return Err(errors::NODE_EXISTS);
        }
        let up = self.nodes.get_mut(&above).unwrap();
        up.ever += 1;
        up.stat.pzxid = zxid;
        let owner = if mode.is_ephemeral() { session } else { 0 };
        let owner = if mode == CreateMode::Container { i64::MIN } else { owner };
        let stat = Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, ephemeral_owner: owner, ..Stat::default() };
        let node = Node { data: create.data.map(<[u8]>::to_vec), acl: open(), stat, ever: 0 };
        self.nodes.insert(path.clone(), node);
        changes.push((EventType::NodeCreated, path.clone()));
        changes.push((EventType::NodeChildrenChanged, above));
        let body = Writer::record().text(path.as_bytes());
        Ok(if create.opcode == opcode::CREATE {
            body.finish().to_vec()
        } else {
            self.stat(&path).unwrap().write(body).finish().to_vec()
        })
    }

    fn delete(&mut self, path: &str, version: i32, changes: &mut Vec<Change>) -> Answer {
        let stat = self.stat(path).ok_or(errors::NO_NODE)?;
        if version != -1 && version != stat.version {
            return Err(errors::BAD_VERSION);
        }
        if stat.num_children > 0 {
            return Err(errors::NOT_EMPTY);
        }
        self.remove(path, changes);
        Ok(Vec::new())
    }

    pub fn remove(&mut self, path: &str, changes: &mut Vec<Change>) {
        self.nodes.remove(path);
        let above = parent(path).to_owned();
        self.nodes.get_mut(&above).unwrap().stat.pzxid = self.zxid;
        changes.push((EventType::NodeDeleted, path.to_owned()));
        changes.push((EventType::NodeChildrenChanged, above));
    }

    fn set_data(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        changes: &mut Vec<Change>,
    ) -> Answer {
        let zxid = self.zxid;
        let node = self.nodes.get_mut(path).ok_or(errors::NO_NODE)?;
        if version != -1 && version != node.stat.version {
            return Err(errors::BAD_VERSION);
        }
        node.data = data.map(<[u8]>::to_vec);
        node.stat.version += 1;
        node.stat.mzxid = zxid;
        changes.push((EventType::NodeDataChanged, path.to_owned()));
        Ok(self.stat_bytes(path))
    }

    fn multi(&mut self, multi: &Multi<'_>, session: i64, changes: &mut Vec<Change>) -> Vec<u8> {
        let (before, mark) = (self.clone(), changes.len());
        let mut done = Vec::new();
        let mut failed = None;
        for op in multi.iter() {
            let (kind, answer) = match op {
                Op::Create(create) => (create.opcode, self.create(&create, session, changes)),
                Op::Delete { path, version } => {
                    (2, string(path).and_then(|path| self.delete(&path, version, changes)))
                }
                Op::SetData { path, data, version } => {
                    (5, string(path).and_then(|path| self.set_data(&path, data, version, changes)))
                }
                Op::Check { path, version } => {
                    let stat = string(path).and_then(|path| self.stat(&path).ok_or(errors::NO_NODE));
                    let same = |stat: Stat| version == -1 || version == stat.version;
                    (13, stat.and_then(|s| if same(s) { Ok(Vec::new()) } else { Err(errors::BAD_VERSION) }))
                }
                _ => (-1, Err(errors::UNIMPLEMENTED)),
            };
            failed = failed.or(answer.as_ref().err().map(|err| (done.len(), *err)));
            done.push((kind, answer));
        }
        let mut body = Writer::record();
        if let Some((first, err)) = failed {
            let zxid = self.zxid;
            *self = Self { zxid, ..before };
            changes.truncate(mark);
            for at in 0..done.len() {
                let code = match at.cmp(&first) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => err,
                    std::cmp::Ordering::Greater => -2,
                };
                body = body.i32(-1).bool(false).i32(code).i32(code);
            }
        } else {
            for (kind, answer) in done {
                body = body.i32(kind).bool(false).i32(0).raw(&answer.unwrap());
            }
        }
        body.i32(-1).bool(true).i32(-1).finish().to_vec()
    }

    fn data(&self, path: &str) -> Answer {
        let node = self.nodes.get(path).ok_or(errors::NO_NODE)?;
        let body = Writer::record().buffer(node.data.as_deref());
        Ok(self.stat(path).unwrap().write(body).finish().to_vec())
    }

    /// A read, or a `sync`.
    pub fn read(&self, request: &Request<'_>, session: i64) -> Answer {
        let list = |names: Vec<String>| Writer::record().names(names.iter().map(String::as_bytes));
        let there = |path| {
            let path = string(path)?;
            self.stat(&path).map(|stat| (path, stat)).ok_or(errors::NO_NODE)
        };
        Ok(match *request {
            Request::Exists { path, .. } => self.stat_bytes(&there(path)?.0),
            Request::GetData { path, .. } => return self.data(&string(path)?),
            Request::GetAcl { path } => {
                let (path, stat) = there(path)?;
                let acl = &self.nodes[&path].acl;
                let each =
                    acl.iter().fold(Writer::record().i32(acl.len() as i32), |w, (perms, scheme, id)| {
                        w.i32(*perms).text(scheme.as_bytes()).text(id.as_bytes())
                    });
                stat.write(each).finish().to_vec()
            }
            Request::GetChildren { path, .. } => list(self.children(&there(path)?.0)).finish().to_vec(),
            Request::GetChildren2 { path, .. } => {
                let (path, stat) = there(path)?;
                stat.write(list(self.children(&path))).finish().to_vec()
            }
            Request::Sync { path } => Writer::record().text(string(path)?.as_bytes()).finish().to_vec(),
            Request::MultiRead(multi) => {
                let each = multi.iter().fold(Writer::record(), |w, op| {
                    let (kind, answer) = match op {
                        Op::GetData { path } => (4, self.data(&string(path).unwrap())),
                        other => {
                            (8, Ok(list(self.children(&string(other.path()).unwrap())).finish().to_vec()))
                        }
                    };
                    match answer {
                        Ok(body) => w.i32(kind).bool(false).i32(0).raw(&body),
                        Err(err) => w.i32(-1).bool(false).i32(err).i32(err),
                    }
                });
                each.i32(-1).bool(true).i32(-1).finish().to_vec()
            }
            Request::GetEphemerals { .. } => list(self.ephemerals(session)).finish().to_vec(),
            Request::GetAllChildrenNumber { path } => {
                let head = format!("{}/", there(path)?.0.trim_end_matches('/'));
                let below = self.nodes.keys().filter(|key| key.starts_with(&head) && **key != head).count();
                Writer::record().i32(below as i32).finish().to_vec()
            }
            Request::WhoAmI => Writer::record().i32(1).text(b"ip").text(b"127.0.0.1").finish().to_vec(),
            _ => return Err(errors::UNIMPLEMENTED),
        })
    }
}
