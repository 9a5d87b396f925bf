//! The operation table, row by row, on a real ensemble: what a client is told when the server that had its request is killed, and what
//! the tree says of it.
//!
//! Each row has a session of its own, all on one server behind a tap. In one round the servers carry everything out and the answers are
//! withheld; in the other the requests themselves are, though Evenkeel has written them. Then the server is killed (SIGKILL). The rows
//! come from the table: a new one has no request here, and fails.

use std::time::Duration;

use bytes::Bytes;
use evenkeel::zookeeper::operations::{Forward, Loss, OPERATIONS, Operation, Verify};
use evenkeel::zookeeper::wire::{Stat, Writer, reply};
use rustix::process::Signal;
use testbed::{Ensemble, EnsembleSpec, Sidecar, ZooKeeperVersion, wait};

use crate::cut::{Shared, Withheld, book, tap};
use crate::make::*;
use crate::plain::{Answer, Plain};

const PATIENCE: Duration = Duration::from_secs(60);
const XID: i32 = 4242;
const CREATE_CONTAINER: i32 = 19;
const CREATE_TTL: i32 = 21;
const CHECK_WATCHES: i32 = 17;
const REMOVE_WATCHES: i32 = 18;

/// What follows the header of a good request; `base`: the row's own nodes.
fn good(code: i32, base: &str, members: &str) -> Bytes {
    let at = |name: &str| format!("{base}/{name}");
    match code {
        CREATE | CREATE2 => create(&at("new"), "x", EPHEMERAL),
        CREATE_CONTAINER => create(&at("new"), "x", 4),
        CREATE_TTL => Writer::record().raw(&create(&at("new"), "x", 5)).i64(60_000).finish(),
        DELETE => delete(&at("d"), 0),
        EXISTS | GET_DATA | GET_CHILDREN | GET_CHILDREN2 => read(&at("a"), true),
        SET_DATA => set_data(&at("a"), "new", 0),
        SET_ACL => set_acl(&at("a"), 0),
        MULTI => {
            multi(&[(CREATE, create(&at("new"), "", EPHEMERAL)), (SET_DATA, set_data(&at("a"), "new", 0))])
        }
        22 => multi(&[(GET_DATA, read(&at("a"), false)), (GET_CHILDREN, read(base, false))]),
        RECONFIG => reconfig(members),
        CHECK => path_and(&at("a"), 0),
        CHECK_WATCHES | REMOVE_WATCHES => path_and(&at("w"), 2),
        ADD_WATCH => path_and(&at("a"), 1),
        AUTH => auth("u:p"),
        SASL => sasl(),
        SET_WATCHES => set_watches(i64::MAX, &[&[&at("a")], &[], &[]]),
        SET_WATCHES2 => set_watches(i64::MAX, &[&[&at("a")], &[], &[], &[], &[]]),
        PING | 107 | CLOSE_SESSION | -10 => Bytes::new(),
        6 | SYNC | 103 | 104 => path(&at("a")),
        20 => path(&at("d")),
        other => panic!("operation {other} has no request here: its row is not tried"),
    }
}

struct Trial {
    row: &'static Operation,
    base: String,
    client: Plain,
    xid: i32,
}

impl Trial {
    fn new(
        row: &'static Operation,
        round: Withheld,
        listen: std::net::SocketAddr,
        admin: &mut Plain,
    ) -> Self {
        let base = format!("/{round:?}-{}", row.name);
        for node in ["", "/a", "/d", "/w"] {
            assert_eq!(admin.ask(CREATE, &create(&format!("{base}{node}"), "", 0)).err, 0, "{base}{node}");
        }
        let mut client = Plain::connect(listen);
        if row.opcode == CLOSE_SESSION {
            assert_eq!(client.ask(CREATE, &create(&format!("{base}/own"), "", EPHEMERAL)).err, 0);
        }
        assert_eq!(client.ask(SYNC, &path("/")).err, 0);
        if matches!(row.opcode, CHECK_WATCHES | REMOVE_WATCHES) {
            assert_eq!(client.ask(GET_DATA, &read(&format!("{base}/w"), true)).err, 0);
        }
        let xid = if row.opcode == PING { -2 } else { XID };
        Self { row, base, client, xid }
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// How often servers got it.
    fn seen(&self, shared: &Shared) -> usize {
        book(shared).seen(self.client.session, self.xid, self.row.opcode)
    }

    /// Never sent to a server: the error of its row, and the end where it says so.
    fn is_refused(&mut self, code: i32, members: &str, shared: &Shared) {
        self.client.send(self.xid, self.row.opcode, &good(self.row.opcode, &self.base, members));
        let answer = self.client.answer().unwrap();
        assert_eq!((answer.xid, answer.err), (self.xid, code), "{}", self.row.name);
        if matches!(self.row.forward, Forward::RefuseAndClose(_)) {
            assert!(self.client.answer().is_none(), "{}", self.row.name);
        } else {
            assert_eq!(self.client.ask(GET_DATA, &read(&self.at("a"), false)).err, 0);
        }
        assert_eq!(self.seen(shared), 0, "{}", self.row.name);
    }

    /// What its row promises, held against the tree. Answers whether the outcome was unknown.
    fn verdict(&mut self, round: Withheld, admin: &mut Plain, shared: &Shared) -> bool {
        let what = format!("{}, its {round:?} withheld", self.row.name);
        let answer = self.client.answer();
        if self.row.loss == Loss::Handshake {
            assert!(answer.is_none(), "{what}: a step of a handshake can't be repeated");
            return false;
        }
        let Some(answer) = answer else { panic!("{what}: closed") };
        assert_eq!(answer.xid, self.xid, "{what}");
        let seen = self.seen(shared);
        match self.row.loss {
            Loss::Replay | Loss::AfterWatches | Loss::Credentials => {
                assert_eq!((answer.err, seen), (0, 2), "{what}");
                self.watches_are_right(&what, admin);
            }
            Loss::Verify(how) => self.write_is_right(&what, how, (round, &answer, seen), admin),
            Loss::Reattach => {
                assert_eq!(answer.err, 0, "{what}");
                assert!(self.client.answer().is_none(), "{what}");
                assert!(stat(admin, &self.at("own")).is_none(), "{what}: the session lives");
                return false;
            }
            Loss::Never => assert_eq!(answer.err, 0, "{what}"),
            Loss::Handshake | Loss::Refused => panic!("{what}"),
        }
        // And the session goes on.
        let next = self.client.ask(EXISTS, &read(&self.at("w"), false));
        assert_eq!(next.err, 0, "{what}");
        answer.err == -4
    }

    /// A watch that it set is there; one that it took away is not.
    fn watches_are_right(&mut self, what: &str, admin: &mut Plain) {
        let (path_of_watch, child) = match self.row.opcode {
            EXISTS | GET_DATA | SET_WATCHES | SET_WATCHES2 | ADD_WATCH => ("a", false),
            GET_CHILDREN | GET_CHILDREN2 => ("a", true),
            CHECK_WATCHES | REMOVE_WATCHES => ("w", false),
            _ => return,
        };
        let path_of_watch = self.at(path_of_watch);
        let done = if child {
            admin.ask(CREATE, &create(&format!("{path_of_watch}/c"), "", 0))
        } else {
            admin.ask(SET_DATA, &set_data(&path_of_watch, "told", -1))
        };
        assert_eq!(done.err, 0, "{what}");
        assert_eq!(self.client.ask(SYNC, &path("/")).err, 0, "{what}");
        let due = if self.row.opcode == REMOVE_WATCHES { Vec::new() } else { vec![path_of_watch] };
        assert_eq!(self.client.events, due, "{what}");
    }

    /// Done once or not at all, as it is said; unknown only where the table can't tell.
    fn write_is_right(
        &self,
        what: &str,
        how: Verify,
        (round, answer, seen): (Withheld, &Answer, usize),
        admin: &mut Plain,
    ) {
        let was_done = round == Withheld::Answer;
        let new = stat(admin, &self.at("new"));
        let a = stat(admin, &self.at("a")).unwrap();
        let is_ephemeral =
            |stat: &Option<Stat>| stat.is_some_and(|stat| stat.ephemeral_owner == self.client.session);
        // A server that was not told to refuses nodes with a time to live: it answers so again.
        if self.row.opcode == CREATE_TTL && answer.err == -6 {
            assert!(new.is_none() && seen == 2, "{what}");
            return;
        }
        let there = match how {
            Verify::Create if matches!(self.row.opcode, CREATE | CREATE2) => is_ephemeral(&new),
            Verify::Create => new.is_some(),
            Verify::Delete => stat(admin, &self.at("d")).is_none(),
            Verify::SetData => a.version == 1,
            Verify::SetAcl => a.aversion == 1,
            Verify::Multi => is_ephemeral(&new) && a.version == 1,
            Verify::Reconfig => true, // what it changes is looked at where all is
        };
        assert!(there, "{what}: not once: {a:?}, {new:?}, told {}", answer.err);
        if !was_done {
            assert_eq!((answer.err, seen), (0, 2), "{what}: it was not done, and goes again");
            return;
        }
        assert_eq!(seen, 1, "{what}: what was done never goes again");
        let proved = match how {
            Verify::Create => matches!(self.row.opcode, CREATE | CREATE2),
            Verify::Multi => true,
            // By whom can't be known, or only if nobody else would write the same.
            Verify::Delete | Verify::SetData | Verify::SetAcl | Verify::Reconfig => false,
        };
        assert!(answer.err == 0 || (answer.err == -4 && !proved), "{what}: told {}", answer.err);
        assert!(how != Verify::Delete || answer.err == -4, "{what}: by whom it was deleted can't be known");
    }
}

fn stat(admin: &mut Plain, path: &str) -> Option<Stat> {
    let answer = admin.ask(EXISTS, &read(path, false));
    assert!(matches!(answer.err, 0 | -101), "{path}: {}", answer.err);
    (answer.err == 0).then(|| reply::stat(&answer.body).unwrap())
}

/// The ensemble's list of members, and its version.
fn config(admin: &mut Plain) -> (String, i64) {
    let answer = admin.ask(GET_DATA, &read("/zookeeper/config", false));
    let (data, stat) = reply::data(&answer.body).unwrap();
    let text = String::from_utf8(data.unwrap().to_vec()).unwrap();
    let members: Vec<&str> = text.lines().filter(|line| line.starts_with("server.")).collect();
    (members.join("\n"), stat.mzxid)
}

#[test]
fn each_row_keeps_its_promise_when_its_server_is_killed() {
    let mut ensemble = Ensemble::with(EnsembleSpec::new(ZooKeeperVersion::V3_9_5).reconfig()).unwrap();
    let shared = Shared::default();
    for round in [Withheld::Answer, Withheld::Request] {
        let began = std::time::Instant::now();
        let unknown = one_round(&mut ensemble, round, &shared);
        println!("{round:?}: {} rows, {unknown} unknown, {:?}", OPERATIONS.len(), began.elapsed());
    }
}

/// All rows, and one kill. Answers how many outcomes were unknown.
fn one_round(ensemble: &mut Ensemble, round: Withheld, shared: &Shared) -> usize {
    let leader = ensemble.leader().unwrap();
    let victim = ensemble.ids().into_iter().find(|id| *id != leader).unwrap();
    let taps: Vec<_> = ensemble.ids().into_iter().map(|id| (id, tap(ensemble.addr(id), shared))).collect();
    let own = taps.iter().find(|(id, _)| *id == victim).unwrap().1.to_string();
    let keys = "tick_time = \"500ms\"\npersistent_watches = \"keep\"";
    let (mut sidecar, listen) = Sidecar::zookeeper(&Sidecar::binary().unwrap(), &own, "", keys).unwrap();
    sidecar.wait_ready(PATIENCE).unwrap();
    let mut admin = Plain::connect(ensemble.addr(leader));
    let (members, version) = config(&mut admin);
    let mut trials: Vec<Trial> =
        OPERATIONS.iter().map(|row| Trial::new(row, round, listen, &mut admin)).collect();
    // Sessions stay where they are; the other servers are there for what is to come.
    let text = std::fs::read_to_string(sidecar.config()).unwrap();
    let all: Vec<String> = taps.iter().map(|(_, addr)| format!("\"{addr}\"")).collect();
    std::fs::write(sidecar.config(), text.replace(&format!("\"{own}\""), &all.join(", "))).unwrap();
    sidecar.signal(Signal::HUP).unwrap();
    wait::until("all servers up", PATIENCE, || {
        let text = sidecar.get("/v1/clusters/bed").map(|(_, text)| text).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let members = status["members"].as_array().cloned().unwrap_or_default();
        members.iter().filter(|member| member["state"] == "up").count() == 3
    })
    .unwrap();

    for trial in &mut trials {
        if let Forward::Refuse(code) | Forward::RefuseAndClose(code) = trial.row.forward {
            trial.is_refused(code, &members, shared);
            continue;
        }
        // What it has seen is newer than everything that was prepared.
        assert_eq!(trial.client.ask(SYNC, &path("/")).err, 0);
        book(shared).mark(trial.client.session, trial.xid, round);
    }
    trials.retain(|trial| trial.row.loss != Loss::Refused);
    for trial in &mut trials {
        trial.client.send(trial.xid, trial.row.opcode, &good(trial.row.opcode, &trial.base, &members));
    }
    wait::until("all requests under way", PATIENCE, || book(shared).due() == 0).unwrap();
    ensemble.kill(victim).unwrap();

    let mut unknown = 0;
    for trial in &mut trials {
        unknown += usize::from(trial.verdict(round, &mut admin, shared));
    }
    assert!(config(&mut admin).1 > version, "no reconfig was done");
    let counted = sidecar.metric_sum("evenkeel_unknown_outcomes_total", &[]).unwrap();
    assert_eq!(format!("{counted}"), format!("{unknown}"), "{}", sidecar.log_tail(40));
    assert_eq!(unknown > 0, round == Withheld::Answer, "deleted by whom, nobody can tell");
    ensemble.start_server(victim).unwrap();
    ensemble.wait_ready().unwrap();
    unknown
}
