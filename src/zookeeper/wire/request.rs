//! Every request of 3.4 to 3.9, decoded whole.

use super::acl::AclList;
use super::create::Create;
use super::jute::{Malformed, Names, Reader, Text};
use super::multi::Multi;
use super::opcode;

/// The watches that a client sets anew: `setWatches` and `setWatches2`. Null vectors get −5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchLists<'a> {
    /// What happened after it fires at once.
    pub relative_zxid: i64,
    /// On data.
    pub data: Option<Names<'a>>,
    /// On nodes that weren't there.
    pub exist: Option<Names<'a>>,
    /// On children.
    pub child: Option<Names<'a>>,
    /// Persistent ones; `setWatches2` only.
    pub persistent: Option<Names<'a>>,
    /// Persistent recursive ones; `setWatches2` only.
    pub recursive: Option<Names<'a>>,
}

/// A request, borrowed from its frame. Paths that are null are let through: servers answer them with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are those of zookeeper.jute: path, version (-1 for any), watch, data"
)]
pub enum Request<'a> {
    Create(Create<'a>),
    Delete {
        path: Option<Text<'a>>,
        version: i32,
    },
    Exists {
        path: Option<Text<'a>>,
        watch: bool,
    },
    GetData {
        path: Option<Text<'a>>,
        watch: bool,
    },
    SetData {
        path: Option<Text<'a>>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    GetAcl {
        path: Option<Text<'a>>,
    },
    SetAcl {
        path: Option<Text<'a>>,
        acl: Option<AclList<'a>>,
        version: i32,
    },
    GetChildren {
        path: Option<Text<'a>>,
        watch: bool,
    },
    GetChildren2 {
        path: Option<Text<'a>>,
        watch: bool,
    },
    Sync {
        path: Option<Text<'a>>,
    },
    Ping,
    Check {
        path: Option<Text<'a>>,
        version: i32,
    },
    Multi(Multi<'a>),
    MultiRead(Multi<'a>),
    Reconfig(Reconfig<'a>),
    CheckWatches {
        path: Option<Text<'a>>,
        kind: i32,
    },
    RemoveWatches {
        path: Option<Text<'a>>,
        kind: i32,
    },
    DeleteContainer {
        path: Option<Text<'a>>,
    },
    Auth {
        kind: i32,
        scheme: Option<Text<'a>>,
        auth: Option<&'a [u8]>,
    },
    SetWatches(WatchLists<'a>),
    SetWatches2(WatchLists<'a>),
    Sasl {
        token: Option<&'a [u8]>,
    },
    GetEphemerals {
        prefix: Option<Text<'a>>,
    },
    GetAllChildrenNumber {
        path: Option<Text<'a>>,
    },
    AddWatch {
        path: Option<Text<'a>>,
        mode: i32,
    },
    WhoAmI,
    CreateSession,
    CloseSession,
    /// One that 3.9 doesn't know.
    Unknown {
        opcode: i32,
    },
}

/// A change of the ensemble's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconfig<'a> {
    /// Those that come, separated by commas.
    pub joining: Option<Text<'a>>,
    /// The ids of those that go.
    pub leaving: Option<Text<'a>>,
    /// All of them, instead.
    pub members: Option<Text<'a>>,
    /// The version that is expected of the present configuration, or −1.
    pub from_config: i64,
}

impl<'a> Request<'a> {
    /// Decodes what follows a request's header.
    ///
    /// This is what a server's own decoder does (3.9.5), so what fails here is what it can't decode: of writes that
    /// stops a 3.9 ensemble. Null paths and lists, text that isn't UTF-8, and bytes behind the end are let through: they
    /// are harmless there, and answered by the server itself.
    ///
    /// # Errors
    /// Where and why the server's decoder would fail.
    pub fn decode(opcode: i32, payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let r = &mut reader;
        Ok(match opcode {
            opcode::CREATE | opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => {
                Self::Create(Create::read(opcode, r)?)
            }
            opcode::DELETE => Self::Delete { path: r.text("path")?, version: r.i32("version")? },
            opcode::EXISTS => Self::Exists { path: r.text("path")?, watch: r.bool("watch")? },
            opcode::GET_DATA => Self::GetData { path: r.text("path")?, watch: r.bool("watch")? },
            opcode::SET_DATA => {
                Self::SetData { path: r.text("path")?, data: r.buffer("data")?, version: r.i32("version")? }
            }
            opcode::GET_ACL => Self::GetAcl { path: r.text("path")? },
            opcode::SET_ACL => {
                Self::SetAcl { path: r.text("path")?, acl: AclList::read(r)?, version: r.i32("version")? }
            }
            opcode::GET_CHILDREN => Self::GetChildren { path: r.text("path")?, watch: r.bool("watch")? },
            opcode::GET_CHILDREN2 => Self::GetChildren2 { path: r.text("path")?, watch: r.bool("watch")? },
            opcode::SYNC => Self::Sync { path: r.text("path")? },
            opcode::PING => Self::Ping,
            opcode::CHECK => Self::Check { path: r.text("path")?, version: r.i32("version")? },
            opcode::MULTI => Self::Multi(Multi::read(r)?),
            opcode::MULTI_READ => Self::MultiRead(Multi::read(r)?),
            opcode::RECONFIG => Self::Reconfig(Reconfig::read(r)?),
            opcode::CHECK_WATCHES => Self::CheckWatches { path: r.text("path")?, kind: r.i32("type")? },
            opcode::REMOVE_WATCHES => Self::RemoveWatches { path: r.text("path")?, kind: r.i32("type")? },
            opcode::DELETE_CONTAINER => Self::DeleteContainer { path: r.text("path")? },
            opcode::AUTH => {
                Self::Auth { kind: r.i32("type")?, scheme: r.text("scheme")?, auth: r.buffer("auth")? }
            }
            opcode::SET_WATCHES => Self::SetWatches(WatchLists::read(false, r)?),
            opcode::SET_WATCHES2 => Self::SetWatches2(WatchLists::read(true, r)?),
            opcode::SASL => Self::Sasl { token: r.buffer("token")? },
            opcode::GET_EPHEMERALS => Self::GetEphemerals { prefix: r.text("prefixPath")? },
            opcode::GET_ALL_CHILDREN_NUMBER => Self::GetAllChildrenNumber { path: r.text("path")? },
            opcode::ADD_WATCH => Self::AddWatch { path: r.text("path")?, mode: r.i32("mode")? },
            opcode::WHO_AM_I => Self::WhoAmI,
            // Neither is read by a server when it comes in a session.
            opcode::CREATE_SESSION => Self::CreateSession,
            opcode::CLOSE_SESSION => Self::CloseSession,
            opcode => Self::Unknown { opcode },
        })
    }
}

impl<'a> Reconfig<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            joining: reader.text("joiningServers")?,
            leaving: reader.text("leavingServers")?,
            members: reader.text("newMembers")?,
            from_config: reader.i64("curConfigId")?,
        })
    }
}

impl<'a> WatchLists<'a> {
    fn read(all: bool, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            relative_zxid: reader.i64("relativeZxid")?,
            data: reader.names("dataWatches")?,
            exist: reader.names("existWatches")?,
            child: reader.names("childWatches")?,
            persistent: if all { reader.names("persistentWatches")? } else { None },
            recursive: if all { reader.names("persistentRecursiveWatches")? } else { None },
        })
    }
}
