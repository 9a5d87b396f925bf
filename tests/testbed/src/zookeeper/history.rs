//! What a client program went through, line by line as it told it. The lines are described in
//! `tests/clients/zookeeper/README.md`.

use serde_json::Value;

use crate::admin::text;

/// What a one-shot watch watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A node's data; its node is only ever written to.
    Data,
    /// A node's list of children.
    Child,
    /// Whether a node exists.
    Exist,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 3] = [Self::Data, Self::Child, Self::Exist];

    /// Its word, in lines and in paths.
    pub fn word(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Child => "child",
            Self::Exist => "exist",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A write, or a read of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Gives the register this value if its version is `base`.
    Set {
        /// What is written; no other write has it.
        value: String,
        /// The version that it must have.
        base: i32,
    },
    /// Reads the register.
    Read,
    /// Makes a sequential node with this data, which no other has.
    Sequence(String),
    /// Makes a node of this name, which is made once.
    Create(String),
    /// Removes a node that this client made.
    Delete(String),
}

/// What the application was told of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done. For a set the new version, for a read the version and the value, for a sequential node its path.
    Done {
        /// The version, where there is one.
        version: Option<i32>,
        /// The path or the value, where there is one.
        text: String,
    },
    /// The library doesn't know.
    Unknown(String),
    /// It was not done.
    Refused(String),
}

/// A call and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What was asked for.
    pub call: Call,
    /// When, in microseconds since the epoch.
    pub sent_us: i64,
    /// When the application had the outcome.
    pub done_us: i64,
    /// What it was told.
    pub outcome: Outcome,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A word about the session: connected, disconnected, expired.
    Session {
        /// When.
        at_us: i64,
        /// The word.
        what: String,
    },
    /// A call.
    Op(Op),
    /// A one-shot watch was set.
    Armed {
        /// On what.
        kind: Kind,
        /// When it was asked for.
        sent_us: i64,
        /// When the answer came.
        at_us: i64,
        /// The transaction that made what is there: the last change of the data or of the children, the creation; 0: no node, or
        /// a child was removed and the library doesn't say when.
        state: i64,
    },
    /// A one-shot watch was told of a change.
    Event {
        /// Of which watch.
        kind: Kind,
        /// When.
        at_us: i64,
        /// created, deleted, changed, children.
        what: String,
    },
    /// The library dropped a one-shot watch and said so.
    Dropped {
        /// Which.
        kind: Kind,
        /// When.
        at_us: i64,
    },
    /// An ephemeral node was made.
    Live {
        /// When it was known.
        at_us: i64,
        /// Its whole path.
        path: String,
    },
    /// The persistent recursive watch was set.
    Planted {
        /// When it was known.
        at_us: i64,
    },
    /// The persistent recursive watch was told of a change.
    Tree {
        /// When.
        at_us: i64,
        /// The last part of the path.
        node: String,
        /// created, deleted, changed.
        what: String,
    },
    /// A recipe lost or got what it is for.
    Recipe {
        /// When.
        at_us: i64,
        /// Which: latch, lock, cache.
        which: String,
        /// lost, got, or a word of its own.
        what: String,
    },
}

/// Names of errors behind which a write may have been done, in small letters and without "exception", "error" and signs.
const UNKNOWN: [&str; 12] = [
    "connectionloss",
    "connectionclosed",
    "sessionexpired",
    "sessionclosed",
    "operationtimeout",
    "timeout",
    "noserver",
    "clientclosed",
    "requesttimeout",
    "closing",
    "nohosts",
    "sessionmoved",
];

impl Line {
    /// Reads a line; `None` for one that is a mark (`ready`, `end`) or of no kind that judges know.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let long = |name: &str| value.get(name).and_then(Value::as_i64);
        let at_us = long("at").unwrap_or(0);
        let kind = || Kind::of(&text(value, "k"));
        Some(match text(value, "t").as_str() {
            "session" => Self::Session { at_us, what: text(value, "what") },
            "op" => Self::Op(op(value)?),
            "arm" => Self::Armed { kind: kind()?, sent_us: long("sent")?, at_us, state: long("z")? },
            "event" => Self::Event { kind: kind()?, at_us, what: text(value, "e") },
            "dropped" => Self::Dropped { kind: kind()?, at_us },
            "live" => Self::Live { at_us, path: text(value, "path") },
            "planted" => Self::Planted { at_us },
            "tree" => {
                let path = text(value, "path");
                let node = path.rsplit('/').next().unwrap_or("").to_owned();
                Self::Tree { at_us, node, what: text(value, "e") }
            }
            "recipe" => Self::Recipe { at_us, which: text(value, "which"), what: text(value, "what") },
            _ => return None,
        })
    }
}

fn op(value: &Value) -> Option<Op> {
    let long = |name: &str| value.get(name).and_then(Value::as_i64);
    let small = |name: &str| long(name).and_then(|n| i32::try_from(n).ok());
    let word = text(value, "v");
    let stream = text(value, "s");
    let call = match stream.as_str() {
        "set" => Call::Set { value: word.clone(), base: small("base")? },
        "read" => Call::Read,
        "seq" => Call::Sequence(word.clone()),
        "create" => Call::Create(word.clone()),
        "delete" => Call::Delete(word.clone()),
        _ => return None,
    };
    let outcome = match value.get("err") {
        Some(_) => failed(&text(value, "err"), &text(value, "msg")),
        None => Outcome::Done {
            version: small("ver"),
            text: if stream == "seq" { text(value, "path") } else { word },
        },
    };
    Some(Op { call, sent_us: long("sent")?, done_us: long("done")?, outcome })
}

/// What an error's name says about the write behind it.
fn failed(name: &str, message: &str) -> Outcome {
    let plain = name.to_lowercase().replace("exception", "").replace("error", "");
    let plain: String = plain.chars().filter(char::is_ascii_alphabetic).collect();
    if UNKNOWN.contains(&plain.as_str()) {
        Outcome::Unknown(name.to_owned())
    } else {
        Outcome::Refused(if message.is_empty() || message == name {
            name.to_owned()
        } else {
            format!("{name}: {message}")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_read() {
        let arm = json!({"t": "arm", "k": "child", "sent": 1, "at": 2, "z": 3});
        assert_eq!(Line::of(&arm), Some(Line::Armed { kind: Kind::Child, sent_us: 1, at_us: 2, state: 3 }));
        let set = json!({"t": "op", "s": "set", "v": "a-1", "base": 4, "sent": 1, "done": 2, "ver": 5});
        let Some(Line::Op(op)) = Line::of(&set) else { panic!("{set}") };
        assert_eq!(op.outcome, Outcome::Done { version: Some(5), text: "a-1".to_owned() });
        assert_eq!(Line::of(&json!({"t": "ready"})), None);
    }

    #[test]
    fn errors_of_every_library_are_known_for_what_they_are() {
        for name in [
            "ConnectionLoss",
            "ConnectionLossException",
            "SessionExpiredError",
            "CONNECTION_LOSS",
            "zk: connection closed",
        ] {
            let name = name.strip_prefix("zk: ").unwrap_or(name);
            assert!(matches!(failed(name, ""), Outcome::Unknown(_)), "{name}");
        }
        for name in ["BadVersionException", "NodeExistsError", "NO_NODE", "NoAuthError"] {
            assert!(matches!(failed(name, ""), Outcome::Refused(_)), "{name}");
        }
    }
}
