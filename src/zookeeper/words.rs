//! Four-letter words: what may come in the place of a connect request, and is answered in text.
//!
//! Imports nothing of this crate. Says only what is known here: that Evenkeel is alive (`ruok`), and what the server behind
//! it is (`srvr`, as far as it is passed in). A connection whose first four bytes are no word of a server's is a client's: its
//! frame's length stands there.
//!
//! Source: `FourLetterCommands` of 3.8.6 and 3.9.5; the text of `srvr` after `StatCommand`.

use std::fmt::Write as _;

/// Every word that servers know.
const WORDS: [&[u8; 4]; 18] = [
    b"conf", b"cons", b"crst", b"dirs", b"dump", b"envi", b"gtmk", b"hash", b"isro", b"mntr", b"ruok",
    b"srst", b"srvr", b"stat", b"stmk", b"wchc", b"wchp", b"wchs",
];

/// What is done with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Is this alive? Answered here: [`IMOK`].
    Ruok,
    /// What is the server? Answered here: [`srvr`].
    Srvr,
    /// Is the server read-only? Forwarded to one.
    Isro,
    /// Any other that servers know: refused ([`refusal`]) unless the configuration allows it, and then forwarded.
    Other([u8; 4]),
}

/// The answer to `ruok`.
pub const IMOK: &str = "imok";

impl Word {
    /// The word that a connection begins with; `None` if these are the first bytes of a frame.
    ///
    /// Every word, taken as a length, is over 1.6 GB, so that no frame that is allowed begins with one.
    pub fn parse(first: [u8; 4]) -> Option<Self> {
        match &first {
            b"ruok" => Some(Self::Ruok),
            b"srvr" => Some(Self::Srvr),
            b"isro" => Some(Self::Isro),
            other if WORDS.contains(&other) => Some(Self::Other(first)),
            _ => None,
        }
    }

    /// Its four letters.
    pub fn letters(self) -> [u8; 4] {
        match self {
            Self::Ruok => *b"ruok",
            Self::Srvr => *b"srvr",
            Self::Isro => *b"isro",
            Self::Other(letters) => letters,
        }
    }
}

/// What a server is in its ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
    /// It follows, without a vote.
    Observer,
    /// It is alone.
    Standalone,
    /// It has lost its quorum.
    ReadOnly,
}

impl Mode {
    /// As in a server's own `srvr`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
            Self::Standalone => "standalone",
            Self::ReadOnly => "read-only",
        }
    }

    /// The mode that a server's own `srvr` tells of.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Leader, Self::Follower, Self::Observer, Self::Standalone, Self::ReadOnly]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

/// What is known of the server behind Evenkeel, or of several as one. What isn't known is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The servers' version, as in "3.9.5".
    pub version: Option<String>,
    /// What the server is.
    pub mode: Option<Mode>,
    /// The highest zxid that was seen.
    pub zxid: Option<i64>,
    /// Clients that are connected to Evenkeel.
    pub connections: usize,
    /// Requests under way.
    pub outstanding: usize,
}

/// The answer to `srvr`: the lines that monitors read, of what is known. No latencies, no node count: they are the
/// servers' to tell. With no mode known it is the text of a server that doesn't serve.
pub fn srvr(known: &Known) -> String {
    let Some(mode) = known.mode else {
        return refused_to_serve().to_owned();
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    if let Some(version) = &known.version {
        let _ = writeln!(out, "Zookeeper version: {version}, through evenkeel {}", env!("CARGO_PKG_VERSION"));
    }
    let _ = writeln!(out, "Connections: {}", known.connections);
    let _ = writeln!(out, "Outstanding: {}", known.outstanding);
    if let Some(zxid) = known.zxid {
        let _ = writeln!(out, "Zxid: {zxid:#x}");
    }
    let _ = writeln!(out, "Mode: {}", mode.name());
    out
}

/// What servers say when they have no quorum.
fn refused_to_serve() -> &'static str {
    "This ZooKeeper instance is not currently serving requests\n"
}

/// The answer to a word that isn't allowed, as a server's whose whitelist it isn't on.
pub fn refusal(word: [u8; 4]) -> String {
    format!("{} is not executed because it is not in the whitelist.", String::from_utf8_lossy(&word))
}

/// A server's version and mode from its own answer to `srvr`.
pub fn read_srvr(text: &str) -> (Option<&str>, Option<Mode>) {
    let after = |head: &str| text.lines().find_map(|line| line.strip_prefix(head)).map(str::trim);
    // "3.9.5-6f0…, built on …"
    let version = after("Zookeeper version:").and_then(|line| line.split([',', '-', ' ']).next());
    (version.filter(|version| !version.is_empty()), after("Mode:").and_then(Mode::from_name))
}

/// A number in a server's answer to `mntr`; nothing if it isn't told.
pub fn read_mntr(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'))?.trim();
    // Some versions write gauges as fractions: "2.0".
    value.split('.').next()?.parse().ok()
}

/// The last transaction that a server has applied, from its answer to `srvr`.
pub fn read_zxid(text: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Zxid:"))?;
    i64::from_str_radix(line.trim().strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_frames() {
        assert_eq!(Word::parse(*b"ruok"), Some(Word::Ruok));
        assert_eq!(Word::parse(*b"srvr"), Some(Word::Srvr));
        assert_eq!(Word::parse(*b"isro"), Some(Word::Isro));
        for word in WORDS {
            let parsed = Word::parse(*word).unwrap();
            assert_eq!(parsed.letters(), *word);
            assert!(i32::from_be_bytes(*word) > 1_600_000_000);
        }
        assert_eq!(Word::parse(*b"mntr"), Some(Word::Other(*b"mntr")));
        for length in [44, 45, 0, 1_000_000, i32::MAX] {
            assert_eq!(Word::parse(i32::to_be_bytes(length)), None);
        }
        assert_eq!(Word::parse(*b"GET "), None);
    }

    #[test]
    fn srvr_tells_what_is_known_and_no_more() {
        let mut known = Known { connections: 3, outstanding: 1, ..Known::default() };
        assert_eq!(srvr(&known), "This ZooKeeper instance is not currently serving requests\n");
        known.mode = Some(Mode::Follower);
        assert_eq!(srvr(&known), "Connections: 3\nOutstanding: 1\nMode: follower\n");
        known.version = Some("3.9.5".to_owned());
        known.zxid = Some(0x1_0000_00ff);
        let text = srvr(&known);
        assert!(text.contains("Zxid: 0x1000000ff\n"), "{text}");
        assert_eq!(read_srvr(&text), (Some("3.9.5"), Some(Mode::Follower)));
    }

    #[test]
    fn a_servers_own_answer_is_read() {
        let text = "Zookeeper version: 3.8.6-17a80c4d8c5e, built on 2026-01-27 10:51 UTC\nLatency min/avg/max: 0/0.0/0\n\
                    Mode: leader\nNode count: 5\n";
        assert_eq!(read_srvr(text), (Some("3.8.6"), Some(Mode::Leader)));
        assert_eq!(read_zxid(text), None);
        assert_eq!(read_zxid("Outstanding: 0\nZxid: 0x20000001f\nMode: leader\n"), Some(0x2_0000_001f));
        assert_eq!(read_zxid("Zxid: ff\n"), None);
        assert_eq!(read_srvr("This ZooKeeper instance is not currently serving requests\n"), (None, None));
        assert_eq!(read_srvr(""), (None, None));
    }

    #[test]
    fn numbers_of_a_server_are_read() {
        let text = "zk_version\t3.9.5-x, built on y\nzk_server_state\tleader\nzk_synced_followers\t2\nzk_pending_syncs\t0.0\n";
        assert_eq!(read_mntr(text, "zk_synced_followers"), Some(2));
        assert_eq!(read_mntr(text, "zk_pending_syncs"), Some(0));
        assert_eq!(read_mntr(text, "zk_synced"), None, "the whole name");
        assert_eq!(
            read_mntr("mntr is not executed because it is not in the whitelist.", "zk_pending_syncs"),
            None
        );
    }

    #[test]
    fn a_refusal_names_the_word() {
        assert_eq!(refusal(*b"wchc"), "wchc is not executed because it is not in the whitelist.");
    }
}
