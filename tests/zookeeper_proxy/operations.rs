//! The operation table, row by row: each request goes where its row says, and meets what its row says when its server dies after
//! having received it, before or behind the deed.
//!
//! Every test goes over the whole table, so that a new row is tried as well; one whose behaviour differs from what it says
//! fails. The same rows on real ensembles with a real kill are in `tests/zookeeper_clusters`.

use crate::bed::Bed;
use crate::client::{Answer, Client};
use crate::fake::Act;
use crate::make::*;
use bytes::Bytes;
use evenkeel::zookeeper::operations::{Forward, Kind, Loss, OPERATIONS, Operation, Verify};
use evenkeel::zookeeper::wire::Writer;

/// What follows the header of a good request of this kind.
fn good(code: i32) -> Bytes {
    match code {
        CREATE | CREATE2 => create("/new", "x", EPHEMERAL),
        19 => create("/new", "x", 4),
        21 => Writer::record().raw(&create("/new", "x", 5)).i64(60_000).finish(),
        DELETE => delete("/d", 0),
        EXISTS | GET_DATA | GET_CHILDREN | GET_CHILDREN2 => read("/a", true),
        SET_DATA => set_data("/a", "new", 0),
        SET_ACL => set_acl("/a", 0),
        MULTI => multi(&[(CREATE, create("/new", "", EPHEMERAL)), (SET_DATA, set_data("/a", "new", 0))]),
        22 => multi(&[(GET_DATA, read("/a", false)), (GET_CHILDREN, read("/", false))]),
        RECONFIG => reconfig("server.2=h:1:2:participant;0.0.0.0:9"),
        CHECK => path_and("/a", 0),
        17 | 18 => path_and("/w", 2),
        ADD_WATCH => path_and("/a", 1),
        AUTH => auth("u:p"),
        SASL => sasl(),
        SET_WATCHES => set_watches(i64::MAX, &[&["/a"], &[], &[]]),
        SET_WATCHES2 => set_watches(i64::MAX, &[&["/a"], &[], &[], &[], &[]]),
        PING | 107 | CLOSE_SESSION => Bytes::new(),
        _ => path("/a"),
    }
}

struct Trial {
    bed: Bed,
    client: Client,
    row: &'static Operation,
    payload: Bytes,
}

/// Two servers; a client on the second one, with a watch on data, that has seen the newest zxid.
async fn trial(row: &'static Operation) -> Trial {
    let bed = Bed::with(2, "", "persistent_watches = \"keep\"").await;
    for path in ["/a", "/d", "/w"] {
        bed.fake.create(path);
    }
    bed.fake.world().tree.set_config("server.1=h:1:2:participant;0.0.0.0:9\nversion=ZXID");
    let mut client = bed.client_on(2).await;
    client.did(GET_DATA, &read("/w", true)).await;
    bed.fake.forget();
    Trial { bed, client, row, payload: good(row.opcode) }
}

/// The xid of the request that is tried: pings of our own are told from it by none.
const XID: i32 = 4242;

impl Trial {
    /// Sends it, and waits for its answer: those that come early have none in order.
    async fn ask(&mut self) -> Option<Answer> {
        let (code, before) = (self.row.opcode, (self.client.pongs, self.client.authenticated.len()));
        self.client.send_as(XID, code, &self.payload).await;
        match code {
            PING => self.client.until("the ping's answer", |client| client.pongs > before.0).await,
            AUTH | SASL => {
                self.client.until("its answer", |client| client.authenticated.len() > before.1).await;
            }
            _ => return Some(self.client.answer().await),
        }
        None
    }

    /// How often servers got it.
    fn times(&self) -> usize {
        self.bed.fake.seen_of(self.row.opcode, XID).len()
    }

    async fn end(self) {
        if self.row.opcode == CLOSE_SESSION {
            let mut client = self.client;
            client.closed().await;
            self.bed.end(client).await;
        } else {
            self.bed.end(self.client).await;
        }
    }
}

fn offered() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(|row| matches!(row.forward, Forward::AsIs | Forward::Checked))
}

/// As the bytes it came in, once, and answered; or never, with the error of its row, and the end where it says so.
#[tokio::test]
async fn each_is_forwarded_or_refused() {
    for row in OPERATIONS {
        let mut trial = trial(row).await;
        match row.forward {
            Forward::AsIs | Forward::Checked => {
                let answer = trial.ask().await;
                assert_eq!(answer.map_or(0, |answer| answer.err), 0, "{}", row.name);
                let seen = trial.bed.fake.seen_of(row.opcode, XID);
                assert_eq!(seen.len(), 1, "{}", row.name);
                assert_eq!(seen[0].frame[8..], trial.payload[..], "{}", row.name);
            }
            Forward::Refuse(code) | Forward::RefuseAndClose(code) => {
                let answer = trial.ask().await.unwrap();
                assert_eq!((answer.err, answer.body.len()), (code, 0), "{}", row.name);
                if matches!(row.forward, Forward::RefuseAndClose(_)) {
                    trial.client.closed().await;
                } else {
                    trial.client.did(GET_DATA, &read("/a", false)).await;
                }
                assert_eq!(trial.times(), 0, "{}", row.name);
            }
        }
        trial.end().await;
    }
}

/// What is checked gets −5 from here when it can't be decoded, what isn't is the server's to answer.
#[tokio::test]
async fn each_is_checked_or_not() {
    for row in offered().filter(|row| row.kind != Kind::Session && row.opcode != 107) {
        let mut trial = trial(row).await;
        trial.payload = Bytes::from_static(&[0, 0, 0]);
        assert_eq!(trial.ask().await.unwrap().err, -5, "{}", row.name);
        assert_eq!(trial.times() == 0, row.forward == Forward::Checked, "{}", row.name);
        trial.end().await;
    }
}

/// Its server dies with it in hand, and has not done it.
#[tokio::test]
async fn each_that_was_lost_and_not_done() {
    for row in offered() {
        let mut trial = trial(row).await;
        trial.bed.fake.script(2, row.opcode, Act::Close);
        if row.loss == Loss::Handshake {
            trial.client.send_as(XID, row.opcode, &trial.payload).await;
            trial.client.closed().await;
            assert_eq!(trial.times(), 1, "{}", row.name);
            trial.bed.end(trial.client).await;
            continue;
        }
        let answer = trial.ask().await;
        assert_eq!(answer.map_or(0, |answer| answer.err), 0, "{}", row.name);
        let order = trial.bed.fake.codes();
        let fences = order.iter().filter(|code| **code == MULTI && row.opcode != MULTI).count();
        match row.loss {
            Loss::Verify(_) => {
                assert_eq!(trial.times(), 2, "{}: {order:?}", row.name);
                assert!(row.opcode == MULTI || fences == 1, "{}: behind a fence: {order:?}", row.name);
            }
            Loss::AfterWatches => {
                let again = order.iter().rposition(|code| *code == row.opcode).unwrap();
                let watches = order.iter().position(|code| [SET_WATCHES, SET_WATCHES2].contains(code));
                assert!(watches.unwrap() < again, "{}: behind the watches: {order:?}", row.name);
                assert_eq!((trial.times(), fences), (2, 0), "{}", row.name);
            }
            Loss::Replay | Loss::Credentials | Loss::Reattach => {
                assert_eq!((trial.times(), fences), (2, 0), "{}: {order:?}", row.name);
            }
            Loss::Never => assert_eq!((trial.times(), fences), (1, 0), "{}: {order:?}", row.name),
            Loss::Handshake | Loss::Refused => panic!("{}: {:?}", row.name, row.loss),
        }
        trial.end().await;
    }
}

/// Its server has done it, and dies before it says so.
#[tokio::test]
async fn each_that_was_lost_and_done() {
    for row in offered().filter(|row| row.loss != Loss::Handshake) {
        let mut trial = trial(row).await;
        trial.bed.fake.script(2, row.opcode, Act::ApplyThenClose);
        let answer = trial.ask().await;
        let err = answer.map_or(0, |answer| answer.err);
        match row.loss {
            Loss::Verify(by) => {
                // Proved where something shows whose deed it was; else told as unknown. Never sent again.
                let ephemeral = matches!(row.opcode, CREATE | CREATE2);
                let proved = match by {
                    Verify::Create => ephemeral,
                    Verify::Multi => true, // it makes an ephemeral node
                    Verify::SetData | Verify::Delete | Verify::SetAcl | Verify::Reconfig => false,
                };
                assert_eq!(err, if proved { 0 } else { -4 }, "{}", row.name);
                assert_eq!(trial.times(), 1, "{}", row.name);
            }
            // What the session's own end took with it.
            Loss::Reattach | Loss::Never => assert_eq!((err, trial.times()), (0, 1), "{}", row.name),
            _ => assert_eq!((err, trial.times()), (0, 2), "{}", row.name),
        }
        if row.opcode != CLOSE_SESSION {
            trial.client.did(GET_DATA, &read("/a", false)).await;
        }
        trial.end().await;
    }
}

/// Rows that need the leader wait while it is drained, and the others don't.
#[tokio::test]
async fn each_waits_for_the_leader_or_not() {
    for row in offered() {
        let mut trial = trial(row).await;
        let known = |status: &serde_json::Value| {
            status["members"].as_array().unwrap().iter().all(|member| member["mode"].is_string())
        };
        trial.bed.until("modes known", known).await;
        trial.bed.drained(1).await;
        let waits = matches!(row.kind, Kind::Write | Kind::Sync);
        if waits {
            trial.client.send_as(XID, row.opcode, &trial.payload).await;
            trial.bed.holding(1).await;
            assert_eq!(trial.times(), 0, "{}", row.name);
            trial.bed.drain(1, false).await;
            assert_eq!(trial.client.answer().await.err, 0, "{}", row.name);
        } else {
            trial.ask().await;
        }
        assert_eq!(trial.times(), 1, "{}", row.name);
        trial.end().await;
    }
}
