//! `docs/zookeeper-operations.md`, written from the table.

use super::{Forward, Kind, Loss, OPERATIONS, Operation, UNKNOWN, Verify, Watches};
use crate::zookeeper::wire::errors;
use std::fmt::Write;

const HEAD: &str = "\
# ZooKeeper operations

Generated from the table in `src/zookeeper/operations/table.rs`; `BLESS=1 cargo test --lib zookeeper_operations` writes it anew.

One row for every operation that servers of 3.4 to 3.9 know: what Evenkeel does with it when it comes, and when the server is
lost that it was sent to.

**Forwarded**:

- *as it is*: the bytes that came.
- *if it can be decoded*: every write is decoded whole first. One that a server can't decode stops all writes of a 3.9
  ensemble, so it is answered −5 (MarshallingError) here. Null paths and lists, text that isn't UTF-8 and bytes behind the end
  are harmless, and sent on. One that servers can decode and not apply ends them, and comes again from their logs: it is
  answered −8 (BadArguments). These are, alone or in a multi: to make or delete a `zookeeper_limits` that stands in a node whose path
  begins with `/zookeeper` and is not under `/zookeeper/quota/…`; and to write into one that does, or into a `zookeeper_stats` beside it,
  what is not of the form `count=5,bytes=-1` (or, from 3.7 on, `count=5,bytes=6=;countHardLimit=9`), or whose count needs more than the
  32 bits that servers have for it to 3.6.
- *never*: answered with the error, by Evenkeel; *and closed* where a server closes too.

**Watches** are counted when the answer comes, as the server counts them, and set anew on the next server:

- *exists*: with the watch flag; on data if the node is there, on its creation if it isn't (NoNode); none otherwise.
- *data*, *children*: with the watch flag, on success.
- *persistent*: on success; recursive with mode 1. Of both at one path the later one is set later again: before 3.9 it takes the
  other's place.
- *lists*: all that it names, from when it is sent, since its events come before its answer.
- *removes*: on success.

**Lost**: what is done with it when it was sent, and its server is lost before the answer. A request that was not sent is sent, to
the next server, whatever it is.

- *sent again*: it changes nothing, or nothing twice.
- *after the watches*: sent again when they are back.
- *credentials*: sent again on every new connection; the client gets one answer.
- *handshake*: the client is closed, unless Evenkeel has credentials of its own.
- *reattach*: a session that is gone was closed by it; else it is sent again.
- *verified*: behind the fence, when nothing of the old connection can still be applied, the evidence named below decides: it
  was **done** (and is answered as the server would have), it was **rejected** (and by which error), it was **not done** (and is
  sent again), or that is **unknown** (ConnectionLoss, or the client is closed). Never a guess.
- *dropped*: nobody needs its answer.

**Early**: whether Evenkeel may answer it before a server does, within the session's lease.

";

const EVIDENCE: &str = "
## Evidence

`Z0` is the highest zxid that the client's connection had seen before the request was sent. Writes of one session are applied in
the order in which they were sent, up to some one of them and none behind it; so what is known of one tells of its neighbours.
An answer `NoAuth` to a verifying read tells nothing.
Where a client came with a session that it had, nothing is *done* until a write was answered since: what looks like this
connection's doing may be an earlier one's.

| write | reads | done | rejected | sent again | unknown |
|---|---|---|---|---|---|
| create, ephemeral | node, parent | its owner is this session and it is newer than `Z0` | it is older than `Z0`: NodeExists | it isn't there, and no child came or went since `Z0` | otherwise |
| create, persistent, container, TTL | node, parent, access control list | never: a rival may have made it | it is older than `Z0`: NodeExists | as above | otherwise; one newer than `Z0` with this data and list is told as likely in the log |
| create, sequential | siblings | one sibling has the unique part of its name | | no child came or went since `Z0` | otherwise |
| delete | node | | a version other than the one expected, untouched since `Z0`: BadVersion | the same node is there, untouched | it isn't there, or another one is |
| setData, version v | node and data | never: a rival may have set the same data over the same version | v+1 with other data, or untouched with another version: BadVersion | version v, of the same node | otherwise; version v+1 with this data is told as likely in the log |
| setData, any version | node | | | untouched since `Z0` | otherwise |
| setACL, version v | list | never, as setData | v+1 with another list: BadVersion | version v, of the same node | otherwise |
| multi | as its parts | one part is proved done | | one part is proved not done; or there are only checks | otherwise |
| reconfig | `/zookeeper/config` | | | the configuration is older than `Z0` | otherwise |

## Order

A session's requests take effect in the order in which they were sent, and its client is told of everything in the order in which it
happened, but for three cases. The first two need several requests of one client under way when its server is lost, of which an earlier one is
sent again behind a later one that took effect:

- A **read** before a write: it shows what that write has done (`exists`, then `create` of the same node: the node is there).
- A **write** that was not done, though the server may have reached and rejected it (`NoAuth`, say), before one whose outcome is unknown:
  if that one was done, and what stood in the way of the first is gone by then, the first is done behind it.

The third needs one write under way when the server is lost, and a watch:

- The **success of a write** that was proved comes before the **events** of what happened before it and the lost server had not told yet. The
  next server tells those when the watches are set there, which is behind the proof; a server itself tells an event before the answer to any later
  write. They come before the answer to whatever the client asks after that success.

A client that waits for each answer, as synchronous calls do, never meets the first two. It can meet the third.

";

/// The whole file.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    out.push_str("## Operations\n\n");
    out.push_str("| opcode | name | since | kind | forwarded | watches | lost | early | why |\n");
    out.push_str("|---:|---|---|---|---|---|---|---|---|\n");
    for row in OPERATIONS {
        line(&mut out, row);
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\nAny other: {}, as a 3.9 server does.", forward(UNKNOWN));
    out.push_str(EVIDENCE.trim_end());
    out.push('\n');
    out
}

fn line(out: &mut String, row: &Operation) {
    let _ = writeln!(
        out,
        "| {} | {} | {}.{} | {} | {} | {} | {} | {} | {} |",
        row.opcode,
        row.name,
        row.since.0,
        row.since.1,
        kind(row.kind),
        forward(row.forward),
        watches(row.watches),
        loss(row.loss),
        if row.early { "yes" } else { "" },
        row.note
    );
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Sync => "sync",
        Kind::Session => "session",
    }
}

fn forward(forward: Forward) -> String {
    match forward {
        Forward::AsIs => "as it is".to_owned(),
        Forward::Checked => "if it can be decoded".to_owned(),
        Forward::Refuse(code) => format!("never: {code} ({})", errors::name(code)),
        Forward::RefuseAndClose(code) => format!("never: {code} ({}), and closed", errors::name(code)),
    }
}

fn watches(watches: Watches) -> &'static str {
    match watches {
        Watches::None => "",
        Watches::Exists => "exists",
        Watches::Data => "data",
        Watches::Children => "children",
        Watches::Persistent => "persistent",
        Watches::Lists => "lists",
        Watches::Remove => "removes",
    }
}

fn loss(loss: Loss) -> String {
    match loss {
        Loss::Replay => "sent again".to_owned(),
        Loss::AfterWatches => "after the watches".to_owned(),
        Loss::Credentials => "credentials".to_owned(),
        Loss::Handshake => "handshake".to_owned(),
        Loss::Verify(by) => format!("verified: {}", evidence(by)),
        Loss::Reattach => "reattach".to_owned(),
        Loss::Never => "dropped".to_owned(),
        Loss::Refused => String::new(),
    }
}

fn evidence(by: Verify) -> &'static str {
    match by {
        Verify::Create => "create",
        Verify::Delete => "delete",
        Verify::SetData => "setData",
        Verify::SetAcl => "setACL",
        Verify::Multi => "multi",
        Verify::Reconfig => "reconfig",
    }
}
