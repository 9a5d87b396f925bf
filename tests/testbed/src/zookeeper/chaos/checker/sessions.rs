//! What single sessions saw: reads that never go back, watches that are told before anything newer is seen, sessions and
//! ephemeral nodes that last.

use std::collections::BTreeMap;

use super::Verdict;
use crate::zookeeper::chaos::record::{Call, Found, Line, Op, Run, Told};

pub(super) fn check(run: &Run, found: &mut Verdict) {
    for (number, lines) in run.clients.iter().enumerate() {
        let mut client = Client::default();
        for line in lines {
            client.take(line, &mut found.breaches, number);
        }
        // Those of the session that it has still got.
        for path in client.ephemerals.iter().filter(|path| !run.truth.ephemerals.contains(*path)) {
            found.breaches.push(format!("client {number}: ephemeral {path} is lost"));
        }
    }
}

#[derive(Default)]
struct Client {
    session: i64,
    /// The highest zxid of an answer.
    zxid: i64,
    /// The newest state of each node that was seen, by its transaction.
    seen: BTreeMap<String, i64>,
    /// The state of each node that has a watch.
    watches: BTreeMap<String, i64>,
    ephemerals: Vec<String>,
}

impl Client {
    fn take(&mut self, line: &Line, breaches: &mut Vec<String>, number: usize) {
        let mut say = |text: String| breaches.push(format!("client {number}: {text}"));
        match line {
            Line::Connected { session, resumed, .. } => {
                if !*resumed {
                    *self = Self::default();
                } else if *session != self.session {
                    say(format!("session {:#x} came back as {session:#x}", self.session));
                }
                self.session = *session;
                self.watches.clear();
            }
            Line::Expired { at_us, session } => say(format!("session {session:#x} expired at {at_us} µs")),
            Line::Event { at_us, path, .. } => {
                if self.watches.remove(path).is_none() {
                    say(format!("an event of {path} at {at_us} µs, which has no watch"));
                }
            }
            Line::Lost { .. } => self.watches.clear(),
            Line::Op(op) => self.answered(op, &mut say),
            Line::Disorder { .. } => {}
        }
    }

    fn answered(&mut self, op: &Op, say: &mut dyn FnMut(String)) {
        if op.told == Told::Cut {
            return;
        }
        if op.zxid < self.zxid {
            say(format!("answers went back from {:#x} to {:#x}: {op:?}", self.zxid, op.zxid));
        }
        self.zxid = self.zxid.max(op.zxid);
        let Told::Done(nodes) = &op.told else {
            if let Call::Get { path, .. } = &op.call
                && let Some(on) = self.watches.remove(path)
            {
                say(format!("{path} was told gone, and not by its watch of {on:#x}: {op:?}"));
            }
            return;
        };
        match &op.call {
            Call::Get { path, watch } => {
                let Some(Found { mzxid, .. }) = nodes.first() else { return };
                if self.seen.get(path).is_some_and(|seen| mzxid < seen) {
                    say(format!("{path} went back behind {:#x}: {op:?}", self.seen.get(path).unwrap_or(&0)));
                }
                if let Some(on) = self.watches.get(path)
                    && on < mzxid
                {
                    say(format!("{path} was told changed, and not by its watch of {on:#x}: {op:?}"));
                    self.watches.remove(path);
                }
                if *watch {
                    self.watches.insert(path.clone(), *mzxid);
                }
                self.sees(path, *mzxid);
            }
            Call::Set { path, .. } | Call::Create { path, .. } => {
                self.sees(path, nodes.first().map_or(0, |node| node.mzxid));
            }
            Call::Pair { paths, .. } => {
                for (path, node) in paths.iter().zip(nodes) {
                    self.sees(path, node.mzxid);
                }
            }
            Call::Ephemeral { path } => self.ephemerals.push(path.clone()),
            Call::Delete { .. } | Call::Sequence { .. } => {}
        }
    }

    fn sees(&mut self, path: &str, mzxid: i64) {
        let newest = self.seen.entry(path.to_owned()).or_default();
        *newest = mzxid.max(*newest);
    }
}
