//! Requests as a client writes them, of every opcode, and what is read from them.

use super::super::*;
use proptest::prelude::*;

/// A path, a string or data: `None` is null.
pub(in crate::zookeeper) type Field = Option<Vec<u8>>;
/// An access control list: perms, scheme, id.
pub(in crate::zookeeper) type Acls = Option<Vec<(i32, Field, Field)>>;

/// A request before it is bytes. Its parts are those of `zookeeper.jute`.
#[derive(Debug, Clone)]
pub(in crate::zookeeper) enum Wanted {
    Create {
        opcode: i32,
        path: Field,
        data: Field,
        acl: Acls,
        flags: i32,
        ttl: i64,
    },
    /// A path alone: 6, 9, 20, 103, 104.
    Path {
        opcode: i32,
        path: Field,
    },
    /// A path and a number: 2, 13, 17, 18, 106.
    Number {
        opcode: i32,
        path: Field,
        number: i32,
    },
    /// A path and a flag: 3, 4, 8, 12.
    Flag {
        opcode: i32,
        path: Field,
        flag: bool,
    },
    SetData {
        path: Field,
        data: Field,
        version: i32,
    },
    SetAcl {
        path: Field,
        acl: Acls,
        version: i32,
    },
    Reconfig {
        joining: Field,
        leaving: Field,
        members: Field,
        from: i64,
    },
    Auth {
        scheme: Field,
        auth: Field,
    },
    Sasl {
        token: Field,
    },
    Lists {
        all: bool,
        relative: i64,
        lists: Vec<Option<Vec<Vec<u8>>>>,
    },
    Multi {
        reads: bool,
        ops: Vec<Wanted>,
    },
    /// Nothing: 11, 107, −10, −11.
    Bare {
        opcode: i32,
    },
}

impl Wanted {
    pub(in crate::zookeeper) fn opcode(&self) -> i32 {
        match self {
            Self::Create { opcode, .. }
            | Self::Path { opcode, .. }
            | Self::Number { opcode, .. }
            | Self::Flag { opcode, .. }
            | Self::Bare { opcode } => *opcode,
            Self::SetData { .. } => 5,
            Self::SetAcl { .. } => 7,
            Self::Reconfig { .. } => 16,
            Self::Auth { .. } => 100,
            Self::Sasl { .. } => 102,
            Self::Lists { all, .. } => 101 + 4 * i32::from(*all),
            Self::Multi { reads, .. } => 14 + 8 * i32::from(*reads),
        }
    }

    pub(in crate::zookeeper) fn write(&self, w: Writer) -> Writer {
        match self {
            Self::Create { opcode, path, data, acl: list, flags, ttl } => {
                let w = acl(w.buffer(path.as_deref()).buffer(data.as_deref()), list.as_deref()).i32(*flags);
                if *opcode == opcode::CREATE_TTL { w.i64(*ttl) } else { w }
            }
            Self::Path { path, .. } => w.buffer(path.as_deref()),
            Self::Number { path, number, .. } => w.buffer(path.as_deref()).i32(*number),
            Self::Flag { path, flag, .. } => w.buffer(path.as_deref()).bool(*flag),
            Self::SetData { path, data, version } => {
                w.buffer(path.as_deref()).buffer(data.as_deref()).i32(*version)
            }
            Self::SetAcl { path, acl: list, version } => {
                acl(w.buffer(path.as_deref()), list.as_deref()).i32(*version)
            }
            Self::Reconfig { joining, leaving, members, from } => {
                w.buffer(joining.as_deref()).buffer(leaving.as_deref()).buffer(members.as_deref()).i64(*from)
            }
            Self::Auth { scheme, auth } => w.i32(0).buffer(scheme.as_deref()).buffer(auth.as_deref()),
            Self::Sasl { token } => w.buffer(token.as_deref()),
            Self::Lists { all, relative, lists } => {
                lists.iter().take(if *all { 5 } else { 3 }).fold(w.i64(*relative), |w, list| match list {
                    Some(list) => w.names(list.iter().map(Vec::as_slice)),
                    None => w.i32(-1),
                })
            }
            Self::Multi { ops, .. } => {
                let parts = ops.iter().fold(w, |w, op| op.write(w.i32(op.opcode()).bool(false).i32(-1)));
                parts.i32(-1).bool(true).i32(-1)
            }
            Self::Bare { .. } => w,
        }
    }

    pub(in crate::zookeeper) fn payload(&self) -> Vec<u8> {
        self.write(Writer::record()).finish().to_vec()
    }
}

fn acl(w: Writer, list: Option<&[(i32, Field, Field)]>) -> Writer {
    let Some(list) = list else { return w.i32(-1) };
    list.iter().fold(w.i32(i32::try_from(list.len()).unwrap()), |w, (perms, scheme, id)| {
        w.i32(*perms).buffer(scheme.as_deref()).buffer(id.as_deref())
    })
}

/// The other way: what was read, as what was wanted.
fn reread(opcode: i32, request: Request<'_>) -> Wanted {
    let field = |text: Option<Text<'_>>| text.map(|t| t.0.to_vec());
    let bytes = |data: Option<&[u8]>| data.map(<[u8]>::to_vec);
    let list = |acl: Option<AclList<'_>>| {
        acl.map(|acl| acl.iter().map(|a| (a.perms, field(a.scheme), field(a.id))).collect())
    };
    let names = |n: Option<Names<'_>>| n.map(|n| n.iter().map(|t| t.0.to_vec()).collect());
    let create = |c: Create<'_>| Wanted::Create {
        opcode: c.opcode,
        path: field(c.path),
        data: bytes(c.data),
        acl: list(c.acl),
        flags: c.flags,
        ttl: c.ttl.unwrap_or_default(),
    };
    let part = |op: Op<'_>| match op {
        Op::Create(c) => create(c),
        Op::Delete { path, version } => Wanted::Number { opcode: 2, path: field(path), number: version },
        Op::Check { path, version } => Wanted::Number { opcode: 13, path: field(path), number: version },
        Op::SetData { path, data, version } => {
            Wanted::SetData { path: field(path), data: bytes(data), version }
        }
        Op::GetChildren { path } => Wanted::Flag { opcode: 8, path: field(path), flag: false },
        Op::GetData { path } => Wanted::Flag { opcode: 4, path: field(path), flag: false },
    };
    match request {
        Request::Create(c) => create(c),
        Request::Delete { path, version: number }
        | Request::Check { path, version: number }
        | Request::CheckWatches { path, kind: number }
        | Request::RemoveWatches { path, kind: number }
        | Request::AddWatch { path, mode: number } => Wanted::Number { opcode, path: field(path), number },
        Request::Exists { path, watch: flag }
        | Request::GetData { path, watch: flag }
        | Request::GetChildren { path, watch: flag }
        | Request::GetChildren2 { path, watch: flag } => Wanted::Flag { opcode, path: field(path), flag },
        Request::GetAcl { path }
        | Request::Sync { path }
        | Request::DeleteContainer { path }
        | Request::GetEphemerals { prefix: path }
        | Request::GetAllChildrenNumber { path } => Wanted::Path { opcode, path: field(path) },
        Request::SetData { path, data, version } => {
            Wanted::SetData { path: field(path), data: bytes(data), version }
        }
        Request::SetAcl { path, acl, version } => {
            Wanted::SetAcl { path: field(path), acl: list(acl), version }
        }
        Request::Reconfig(r) => Wanted::Reconfig {
            joining: field(r.joining),
            leaving: field(r.leaving),
            members: field(r.members),
            from: r.from_config,
        },
        Request::Auth { scheme, auth, .. } => Wanted::Auth { scheme: field(scheme), auth: bytes(auth) },
        Request::Sasl { token } => Wanted::Sasl { token: bytes(token) },
        Request::SetWatches(w) | Request::SetWatches2(w) => Wanted::Lists {
            all: opcode == 105,
            relative: w.relative_zxid,
            lists: [w.data, w.exist, w.child, w.persistent, w.recursive].map(names).into(),
        },
        Request::Multi(m) | Request::MultiRead(m) => {
            assert_eq!(m.iter().count(), m.len());
            Wanted::Multi { reads: opcode == 22, ops: m.iter().map(part).collect() }
        }
        Request::Ping | Request::WhoAmI | Request::CreateSession | Request::CloseSession => {
            Wanted::Bare { opcode }
        }
        Request::Unknown { opcode } => panic!("{opcode} is known"),
    }
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        1 => Just(None),
        4 => "/[a-z]{0,8}".prop_map(|s| Some(s.into_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Some),
    ]
}

fn acls() -> impl Strategy<Value = Acls> {
    prop::option::of(prop::collection::vec((any::<i32>(), field(), field()), 0..4))
}

fn create() -> impl Strategy<Value = Wanted> {
    let opcode = prop::sample::select(vec![1, 15, 19, 21]);
    (opcode, field(), field(), acls(), -1..8i32, any::<i64>()).prop_map(
        |(opcode, path, data, acl, flags, ttl)| {
            let ttl = if opcode == 21 { ttl } else { 0 };
            Wanted::Create { opcode, path, data, acl, flags, ttl }
        },
    )
}

fn numbered(opcodes: Vec<i32>) -> impl Strategy<Value = Wanted> {
    (prop::sample::select(opcodes), field(), any::<i32>()).prop_map(|(opcode, path, number)| Wanted::Number {
        opcode,
        path,
        number,
    })
}

fn set_data() -> impl Strategy<Value = Wanted> {
    (field(), field(), any::<i32>()).prop_map(|(path, data, version)| Wanted::SetData { path, data, version })
}

fn multi() -> impl Strategy<Value = Wanted> {
    let write = prop_oneof![create(), numbered(vec![2, 13]), set_data()];
    let read = (prop::sample::select(vec![4, 8]), field()).prop_map(|(opcode, path)| Wanted::Flag {
        opcode,
        path,
        flag: false,
    });
    prop_oneof![
        prop::collection::vec(write, 0..5).prop_map(|ops| Wanted::Multi { reads: false, ops }),
        prop::collection::vec(read, 0..5).prop_map(|ops| Wanted::Multi { reads: true, ops }),
    ]
}

/// The writes that are forwarded.
pub(in crate::zookeeper) fn write() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        create(),
        numbered(vec![2]),
        set_data(),
        (field(), acls(), any::<i32>()).prop_map(|(path, acl, version)| Wanted::SetAcl {
            path,
            acl,
            version
        }),
        (field(), field(), field(), any::<i64>()).prop_map(|(joining, leaving, members, from)| {
            Wanted::Reconfig { joining, leaving, members, from }
        }),
        multi(),
    ]
}

fn other() -> impl Strategy<Value = Wanted> {
    let list = || prop::option::of(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..4));
    prop_oneof![
        numbered(vec![13, 17, 18, 106]),
        (prop::sample::select(vec![3, 4, 8, 12]), field(), any::<bool>())
            .prop_map(|(opcode, path, flag)| Wanted::Flag { opcode, path, flag }),
        (prop::sample::select(vec![6, 9, 20, 103, 104]), field())
            .prop_map(|(opcode, path)| Wanted::Path { opcode, path }),
        (field(), field()).prop_map(|(scheme, auth)| Wanted::Auth { scheme, auth }),
        field().prop_map(|token| Wanted::Sasl { token }),
        (any::<bool>(), any::<i64>(), prop::collection::vec(list(), 5)).prop_map(
            |(all, relative, mut lists)| {
                if !all {
                    lists[3..].fill(None);
                }
                Wanted::Lists { all, relative, lists }
            }
        ),
        prop::sample::select(vec![11, 107, -10, -11]).prop_map(|opcode| Wanted::Bare { opcode }),
    ]
}

proptest! {
    #[test]
    fn every_request_is_read_as_it_was_written(wanted in prop_oneof![write(), other()]) {
        let payload = wanted.payload();
        let request = Request::decode(wanted.opcode(), &payload).unwrap();
        prop_assert_eq!(format!("{:?}", reread(wanted.opcode(), request)), format!("{wanted:?}"));
    }

    #[test]
    fn a_write_that_is_cut_short_anywhere_is_refused(wanted in write(), cut in any::<prop::sample::Index>()) {
        let payload = wanted.payload();
        let cut = cut.index(payload.len());
        let refused = Request::decode(wanted.opcode(), &payload[..cut]);
        prop_assert!(refused.is_err(), "{:?} cut at {cut}: {refused:?}", wanted);
    }

    #[test]
    fn bytes_behind_the_end_change_nothing(wanted in write(), tail in prop::collection::vec(any::<u8>(), 1..9)) {
        let payload = wanted.payload();
        let mut longer = payload.clone();
        longer.extend(tail);
        prop_assert_eq!(
            format!("{:?}", Request::decode(wanted.opcode(), &longer).map(|r| reread(wanted.opcode(), r))),
            format!("{:?}", Request::decode(wanted.opcode(), &payload).map(|r| reread(wanted.opcode(), r)))
        );
    }
}
