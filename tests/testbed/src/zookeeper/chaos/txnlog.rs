//! The transaction logs of the servers, read as files: what they wrote down is what happened, whoever was told what. Source:
//! `FileTxnLog` and `zookeeper.jute` of Apache `ZooKeeper` 3.8 and 3.9.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::record::{Change, Txn};
use crate::zookeeper::raw::opcode;
use crate::zookeeper::wire::In;
use crate::{Error, Result};

/// "ZKLG".
const MAGIC: i32 = 0x5a4b_4c47;
const CREATE_TTL: i32 = 21;
const CREATE_CONTAINER: i32 = 19;

/// The folder of a server's data, and the file that it logs to.
pub(super) type Place = (PathBuf, PathBuf);

/// All transactions of these servers that count, in order, and what is missing in between. What one server lacks, since it
/// got a snapshot instead, another may have. Of servers that run: what they are writing now may be cut short.
///
/// What only one server has may have been proposed by a leader that was lost before anybody else had it. It counts if
/// the leader of the next epoch had it; else it was given up, though it may still stand in a file of a server that got a
/// snapshot since.
pub(super) fn read(places: &[Place]) -> Result<(Vec<Txn>, Vec<String>)> {
    let mut all: BTreeMap<i64, (Txn, BTreeSet<usize>)> = BTreeMap::new();
    let mut leaders = BTreeMap::new();
    for (number, (folder, log)) in places.iter().enumerate() {
        for epoch in led(log)? {
            leaders.insert(epoch, number);
        }
        let files = fs::read_dir(folder.join("version-2")).map_err(Error::io("listing transaction logs"))?;
        for file in files.filter_map(|entry| Some(entry.ok()?.path())) {
            if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")) {
                for txn in file_of(&file)? {
                    let (_, servers) = all.entry(txn.zxid).or_insert_with(|| (txn, BTreeSet::new()));
                    servers.insert(number);
                }
            }
        }
    }
    all.retain(|zxid, (_, servers)| {
        let next = leaders.range((zxid >> 32) + 1..).next();
        servers.len() > 1 || next.is_none_or(|(_, leader)| servers.contains(leader))
    });
    let mut gaps = Vec::new();
    for (one, next) in all.keys().zip(all.keys().skip(1)) {
        // The upper half is the epoch, in which transactions are counted from 1.
        let follows = if one >> 32 == next >> 32 { one + 1 } else { ((next >> 32) << 32) + 1 };
        if *next != follows {
            gaps.push(format!("{one:#x} is followed by {next:#x}"));
        }
    }
    Ok((all.into_values().map(|(txn, _)| txn).collect(), gaps))
}

/// The epochs in which a server led a quorum, as it logged them.
fn led(log: &Path) -> Result<Vec<i64>> {
    let bytes = fs::read(log).map_err(Error::io(format!("reading {}", log.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let zxids =
        text.lines().filter_map(|line| line.split_once("starting up and setting last processed zxid: 0x"));
    Ok(zxids.filter_map(|(_, zxid)| Some(i64::from_str_radix(zxid.trim(), 16).ok()? >> 32)).collect())
}

fn file_of(path: &Path) -> Result<Vec<Txn>> {
    let bytes = fs::read(path).map_err(Error::io(format!("reading {}", path.display())))?;
    let mut log = In::of(bytes);
    let mut all = Vec::new();
    // A file that was only just made.
    let Ok(magic) = log.int() else { return Ok(all) };
    if magic != MAGIC {
        return if magic == 0 {
            Ok(all)
        } else {
            Err(Error::program("a transaction log", "begins strangely"))
        };
    }
    let _version_and_database = (log.int()?, log.long()?);
    // The rest of the file is zeros, room for more.
    while let Ok(_checksum @ 1..) = log.long() {
        let Ok(entry) = log.buffer() else { break };
        if entry.is_empty() || log.flag().is_err() {
            break;
        }
        all.push(txn(&mut In::of(entry))?);
    }
    Ok(all)
}

fn txn(entry: &mut In) -> Result<Txn> {
    let (session, xid, zxid, _time, kind) =
        (entry.long()?, entry.int()?, entry.long()?, entry.long()?, entry.int()?);
    let mut changes = Vec::new();
    if kind == opcode::MULTI {
        for _ in 0..entry.int()? {
            let (kind, data) = (entry.int()?, entry.buffer()?);
            changes.extend(change(kind, &mut In::of(data))?);
        }
    } else {
        changes.extend(change(kind, entry)?);
    }
    Ok(Txn { zxid, session, xid, changes })
}

fn change(kind: i32, body: &mut In) -> Result<Option<Change>> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(match kind {
        opcode::CREATE | opcode::CREATE2 | CREATE_TTL | CREATE_CONTAINER => {
            Some(Change::Made { path: body.text()?, value: text(body.buffer()?) })
        }
        opcode::SET_DATA => {
            Some(Change::Set { path: body.text()?, value: text(body.buffer()?), version: body.int()? })
        }
        opcode::DELETE => Some(Change::Removed { path: body.text()? }),
        opcode::CLOSE => Some(Change::Ended),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zookeeper::wire::Out;

    #[test]
    fn a_log_is_read_up_to_its_end() {
        let head = |zxid: i64, kind: i32| Out::default().long(7).int(3).long(zxid).long(0).int(kind);
        let made = |zxid| head(zxid, opcode::CREATE).text("/a").buffer(b"x").open_acl().flag(false).int(1);
        let set = Out::default().text("/a").buffer(b"y").int(4);
        let multi = |zxid| head(zxid, opcode::MULTI).int(1).int(opcode::SET_DATA).buffer(set.bytes());
        let late = head(0x2_0000_0002, opcode::ERROR).int(-101);
        let base = std::env::temp_dir().join(format!("evenkeel-txnlog-{}", std::process::id()));
        let server = |name: &str, led: &str, entries: &[&Out]| {
            let (folder, log) = (base.join(name), base.join(format!("{name}.log")));
            let begin = Out::default().int(MAGIC).int(2).long(0);
            let file =
                entries.iter().fold(begin, |file, entry| file.long(9).buffer(entry.bytes()).flag(true));
            fs::create_dir_all(folder.join("version-2")).unwrap();
            fs::write(folder.join("version-2/log.1"), file.long(0).long(0).bytes()).unwrap();
            fs::write(&log, format!("a quorum; starting up and setting last processed zxid: 0x{led}\n"))
                .unwrap();
            (folder, log)
        };
        // The first leader has one that nobody else had; the second one's epoch begins without it.
        let (first, second) = (made(0x1_0000_0001), multi(0x1_0000_0002));
        let one = server("one", "100000000", &[&first, &second, &multi(0x1_0000_0003)]);
        let two = server("two", "200000000", &[&first, &second, &late]);
        let (all, gaps) = read(&[one, two]).unwrap();
        fs::remove_dir_all(base).unwrap();
        let changes: Vec<&[Change]> = all.iter().map(|txn| txn.changes.as_slice()).collect();
        let (path, value) = ("/a".to_owned(), "x".to_owned());
        assert_eq!(changes[0], [Change::Made { path: path.clone(), value }]);
        assert_eq!(changes[1], [Change::Set { path, value: "y".to_owned(), version: 4 }]);
        assert!(changes[2].is_empty() && all[2].session == 7 && all[2].xid == 3);
        assert_eq!(all.len(), 3);
        assert_eq!(gaps, ["0x100000002 is followed by 0x200000002"]);
    }
}
