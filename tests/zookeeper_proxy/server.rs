//! One scripted server: `auth` and `sasl` are answered at once, everything else in its order, as
//! `ZooKeeperServer.processPacket` and its processors do. A `ping` stands in line with the rest: behind a request of its session that
//! waits for a commit (`CommitProcessor.pendingRequests`), and behind one that is being served, whose worker it shares.
//!
//! What mimics a real server was seen on 3.8.0, 3.8.7 and 3.9.6: the answer to a `ConnectRequest` mirrors its last byte; a
//! wrong password and an expired session look the same (time-out 0, id 0); a server behind the client's zxid closes without a
//! word; once a session has moved, the old follower answers its reads and pings and closes at a write, without an answer, the
//! old leader at any request, and a move within one server closes the old connection at once; a write that can't be decoded, and
//! a lone `check`, stop an ensemble.

use crate::fake::{Act, Attach, Conn, Known, Out, Seen, SeenAttach, World};
use crate::sasl;
use crate::told::Watches;
use bytes::{BufMut, Bytes, BytesMut};
use evenkeel::zookeeper::wire::{
    ConnectRequest, ConnectResponse, Request, build, errors, opcode, request_header,
};
use evenkeel::zookeeper::wire::{request_payload, xid};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

type Shared = Arc<Mutex<World>>;

/// The first session's id.
const FIRST: i64 = 0x1_0000_0000_0001;

/// Takes the connection out of the world when it ends.
struct Place(Shared, u64);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).conns.remove(&self.1);
    }
}

pub async fn connection(world: Shared, id: u8, stream: TcpStream) {
    let (mut read, mut write) = stream.into_split();
    let mut frozen = world.lock().unwrap().servers[&id].frozen.subscribe();
    let mut first = [0; 4];
    if read.read_exact(&mut first).await.is_err() {
        return;
    }
    let _ = frozen.wait_for(|frozen| !frozen).await;
    if first[0] != 0 {
        let asked = String::from_utf8_lossy(&first).into_owned();
        if asked == "mntr" && world.lock().unwrap().servers[&id].is_mute {
            return std::future::pending().await;
        }
        let text = word_answer(&world, id, &asked);
        let _ = write.write_all(text.as_bytes()).await;
        return;
    }
    let Some(frame) = rest(&mut read, first).await else { return };
    let Ok(request) = ConnectRequest::decode(&frame) else { return };
    let act = {
        let mut world = world.lock().unwrap();
        world.attached.push(SeenAttach { server: id, request: request.clone(), length: frame.len() });
        let server = world.servers.get_mut(&id).unwrap();
        server.attaches.pop_front().or_else(|| server.always.clone())
    };
    match &act {
        Some(Attach::Close) => return,
        Some(Attach::Silent) => std::future::pending().await,
        Some(Attach::Later(gate)) => gate.acquire().await.unwrap().forget(),
        _ => {}
    }
    let (out, outgoing) = mpsc::unbounded_channel();
    let Some((response, conn)) = attach(&world, id, &request, act.as_ref(), out) else { return };
    let _place = Place(Arc::clone(&world), conn);
    if write.write_all(&response.encode()).await.is_err() || response.is_expired() {
        return;
    }
    let (work, todo) = mpsc::unbounded_channel();
    // What came before the peer closed is done, as a server does.
    let thawed = frozen.clone();
    let reading = async {
        read_all(&world, id, conn, &mut read, thawed, &work).await;
        drop(work);
    };
    tokio::select! {
        _ = async { tokio::join!(reading, work_all(&world, conn, todo)) } => {}
        () = write_all(&mut write, outgoing, frozen) => {}
    }
}

fn word_answer(world: &Shared, id: u8, asked: &str) -> String {
    let mut world = world.lock().unwrap();
    if asked == "srvr" {
        world.servers.get_mut(&id).unwrap().looks += 1;
        let mode = world.servers[&id].mode;
        return match mode {
            "none" => "This ZooKeeper instance is not currently serving requests\n".to_owned(),
            mode => {
                let zxid =
                    if world.says_zxid { format!("Zxid: {:#x}\n", world.shown(id)) } else { String::new() };
                format!("Zookeeper version: 3.9.6-fake, built on x\n{zxid}Mode: {mode}\nNode count: 5\n")
            }
        };
    }
    world.words.push(asked.to_owned());
    if asked == "isro" { "rw".to_owned() } else { format!("{asked} of a server") }
}

async fn rest(read: &mut OwnedReadHalf, length: [u8; 4]) -> Option<Bytes> {
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    read.read_exact(&mut frame).await.ok()?;
    Some(frame.into())
}

fn attach(
    world: &Shared,
    id: u8,
    request: &ConnectRequest,
    act: Option<&Attach>,
    out: mpsc::UnboundedSender<Out>,
) -> Option<(ConnectResponse, u64)> {
    let mut world = world.lock().unwrap();
    let world = &mut *world;
    if request.last_zxid > world.shown(id) {
        return None;
    }
    world.next_conn += 1;
    let conn = world.next_conn;
    let (least, most) = world.timeouts;
    let mut session = request.session;
    if session == 0 {
        session = FIRST + world.sessions.len() as i64;
        let password = Bytes::copy_from_slice(&[session as u8 ^ 0x5a; 16]);
        world.sessions.insert(session, Known { password, timeout: 0, owner: 0, alive: true });
    }
    let known = world.sessions.get_mut(&session);
    let known =
        known.filter(|known| known.alive && (request.session == 0 || known.password == request.password));
    let read_only = request.read_only.map(|_| false);
    let Some(known) = known else {
        let password = Bytes::from_static(&[0; 16]);
        let response = ConnectResponse { protocol: 0, timeout: 0, session: 0, password, read_only };
        return Some((response, conn));
    };
    let before = std::mem::replace(&mut known.owner, conn);
    known.timeout = request.timeout.clamp(least, most);
    let (timeout, password) = (known.timeout, known.password.clone());
    if world.conns.get(&before).is_some_and(|old| old.server == id) {
        world.send(before, Out::Close);
    }
    world.conns.insert(
        conn,
        Conn { server: id, session, out, watches: Watches::default(), nonce: None, proved: None },
    );
    let mut response = ConnectResponse { protocol: 0, timeout, session, password, read_only };
    match act {
        Some(Attach::Timeout(timeout)) => response.timeout = *timeout,
        Some(Attach::Session(session)) => response.session = *session,
        _ => {}
    }
    Some((response, conn))
}

type Todo = (Bytes, Option<Act>);

async fn read_all(
    world: &Shared,
    id: u8,
    conn: u64,
    read: &mut OwnedReadHalf,
    mut frozen: watch::Receiver<bool>,
    work: &mpsc::UnboundedSender<Todo>,
) {
    loop {
        let mut length = [0; 4];
        if read.read_exact(&mut length).await.is_err() {
            return;
        }
        let Some(frame) = rest(read, length).await else { return };
        let _ = frozen.wait_for(|frozen| !frozen).await;
        let header = request_header(&frame).unwrap();
        let act = {
            let mut world = world.lock().unwrap();
            let (xid, code) = (header.xid, header.opcode);
            let seen = Seen { server: id, conn, xid, code, frame: frame.clone(), at: Instant::now() };
            world.seen.push(seen);
            let scripts = &mut world.servers.get_mut(&id).unwrap().scripts;
            scripts.get_mut(&code).and_then(std::collections::VecDeque::pop_front)
        };
        if matches!(header.opcode, opcode::AUTH | opcode::SASL) {
            if !one(world, conn, &frame, act).await {
                end(world, conn).await;
            }
        } else if work.send((frame, act)).is_err() {
            return;
        }
    }
}

async fn work_all(world: &Shared, conn: u64, mut todo: mpsc::UnboundedReceiver<Todo>) {
    while let Some((frame, act)) = todo.recv().await {
        if !one(world, conn, &frame, act).await {
            end(world, conn).await;
        }
    }
}

/// Nothing more is done here; what has been said before still goes out.
async fn end(world: &Shared, conn: u64) {
    world.lock().unwrap().send(conn, Out::Close);
    std::future::pending::<()>().await;
}

async fn write_all(
    write: &mut OwnedWriteHalf,
    mut outgoing: mpsc::UnboundedReceiver<Out>,
    mut frozen: watch::Receiver<bool>,
) {
    while let Some(Out::Frame(frame)) = outgoing.recv().await {
        let _ = frozen.wait_for(|frozen| !frozen).await;
        if write.write_all(&frame).await.is_err() {
            std::future::pending::<()>().await; // it reads on
        }
    }
}

/// One request; false when the connection is to end at once.
async fn one(world: &Shared, conn: u64, frame: &Bytes, act: Option<Act>) -> bool {
    let header = request_header(frame).unwrap();
    match &act {
        Some(Act::Close) => return false,
        Some(Act::Swallow) => std::future::pending().await,
        Some(Act::Wait(gate)) => gate.acquire().await.unwrap().forget(),
        _ => {}
    }
    let served = match &act {
        Some(Act::Fail(err)) => Some((*err, Vec::new(), false)),
        Some(Act::Body(body)) => Some((0, body.to_vec(), false)),
        _ => {
            let mut world = world.lock().unwrap();
            serve(&mut world, conn, header.opcode, request_payload(frame))
        }
    };
    let Some((err, body, close)) = served else {
        // The end comes behind what is still to be written.
        world.lock().unwrap().send(conn, Out::Close);
        return true;
    };
    match &act {
        Some(Act::ApplyThenClose) => return false,
        Some(Act::AnswerLater(gate)) => gate.acquire().await.unwrap().forget(),
        _ => {}
    }
    let mut world = world.lock().unwrap();
    if world.poisoned.is_some() && header.opcode != opcode::PING {
        return true;
    }
    let Some(known) = world.conns.get(&conn) else { return false };
    let (number, zxid) = match header.opcode {
        opcode::PING => (xid::PING, world.shown(known.server)),
        opcode::AUTH | opcode::SASL => (header.xid, 0),
        _ => (header.xid, world.shown(known.server)),
    };
    let body = if err == 0 { &body[..] } else { &[] };
    world.send(conn, Out::Frame(build::reply(number, zxid, err, body)));
    if close {
        world.send(conn, Out::Close);
    }
    if let Some(Act::Then(what)) = act {
        what(&mut world);
    }
    true
}

fn is_write(request: &Request<'_>) -> bool {
    use Request::*;
    matches!(
        request,
        Create(_) | Delete { .. } | SetData { .. } | SetAcl { .. } | Multi(_) | Reconfig(_) | Check { .. }
    )
}

/// Error, body, and whether the connection ends behind it; nothing when it ends without an answer.
fn serve(world: &mut World, conn: u64, code: i32, payload: &[u8]) -> Option<(i32, Vec<u8>, bool)> {
    let (id, session) = world.conns.get(&conn).map(|known| (known.server, known.session))?;
    let owns = world.sessions[&session].owner == conn;
    if !owns && matches!(world.servers[&id].mode, "leader" | "standalone") {
        return None;
    }
    let wants = world.servers[&id].wants;
    if let Some(wanted) = wants.filter(|_| code == opcode::SASL) {
        let answer = sasl::step(world.conns.get_mut(&conn)?, payload, wanted);
        // As a server with `sessionRequireClientSASLAuth`.
        return Some(answer.map_or((-124, Vec::new(), true), |body| (0, body, false)));
    }
    if wants.is_some() && code != opcode::AUTH && world.conns[&conn].proved.is_none() {
        return Some((-124, Vec::new(), true)); // AuthenticationHelper.enforceAuthentication
    }
    let Ok(request) = Request::decode(code, payload) else {
        let writes = [1, 2, 5, 7, 14, 15, 16, 19, 21].contains(&code);
        if writes {
            world.poisoned = Some(Bytes::copy_from_slice(payload));
        }
        return (code != opcode::AUTH).then(|| (errors::MARSHALLING_ERROR, Vec::new(), false));
    };
    let (err, body) = match request {
        Request::Check { .. } => {
            world.poisoned = Some(Bytes::copy_from_slice(payload));
            (0, Vec::new())
        }
        Request::Auth { auth: Some(b"wrong"), .. } => {
            return Some((errors::AUTH_FAILED, Vec::new(), true));
        }
        Request::Ping | Request::Auth { .. } => (0, Vec::new()),
        Request::Sasl { token } => {
            let mut body = BytesMut::new();
            body.put_i32(token.unwrap_or_default().len() as i32);
            body.put_slice(token.unwrap_or_default());
            (0, body.to_vec())
        }
        Request::CloseSession => {
            world.end_session(session);
            return Some((0, Vec::new(), true));
        }
        Request::SetWatches(lists) | Request::SetWatches2(lists) => {
            let mut watches = std::mem::take(&mut world.conns.get_mut(&conn)?.watches);
            for event in watches.set(&lists, &world.tree) {
                world.send(conn, Out::Frame(event));
            }
            world.conns.get_mut(&conn)?.watches = watches;
            (0, Vec::new())
        }
        Request::AddWatch { .. } => {
            world.conns.get_mut(&conn)?.watches.served(&request, 0);
            (0, Vec::new())
        }
        Request::CheckWatches { path, kind } | Request::RemoveWatches { path, kind } => {
            let (watches, path) = (&mut world.conns.get_mut(&conn)?.watches, path?.lossy().into_owned());
            let there = match request {
                Request::CheckWatches { .. } => watches.has(&path, kind),
                _ => watches.remove(&path, kind),
            };
            (if there { 0 } else { errors::NO_WATCHER }, Vec::new())
        }
        _ if is_write(&request) => {
            if !owns {
                return None;
            }
            let mut changes = Vec::new();
            let answer = world.tree.write(&request, session, &mut changes);
            world.tell(&changes);
            answer.map_or_else(|err| (err, Vec::new()), |body| (0, body))
        }
        Request::Unknown { .. } | Request::DeleteContainer { .. } | Request::CreateSession => {
            return Some((errors::UNIMPLEMENTED, Vec::new(), true));
        }
        _ => {
            let answer = world.tree.read(&request, session);
            let (err, body) = answer.map_or_else(|err| (err, Vec::new()), |body| (0, body));
            world.conns.get_mut(&conn)?.watches.served(&request, err);
            (err, body)
        }
    };
    Some((err, body, false))
}
