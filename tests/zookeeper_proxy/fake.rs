//! An ensemble of scripted servers on loopback: what they know together, and the strings that a test pulls. What a server does with
//! a connection is in `server.rs`.

use crate::make;
use crate::server;
use crate::told::{Watches, event};
use crate::tree::{Change, Node, Tree};
use bytes::Bytes;
use evenkeel::zookeeper::wire::{ConnectRequest, Request, Stat, request_payload};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// What a server does with one request instead of serving it.
#[derive(Clone)]
pub enum Act {
    /// Reads it, does nothing, closes.
    Close,
    /// Does it, and closes without an answer.
    ApplyThenClose,
    /// Doesn't do it: this error.
    Fail(i32),
    /// Does it once the gate has been opened.
    Wait(Gate),
    /// Does it, and answers once the gate has been opened.
    AnswerLater(Gate),
    /// Reads it, and that is all: what its session sends behind it waits for it.
    Swallow,
    /// Doesn't do it: this body, without an error.
    Body(Bytes),
    /// Does it, as ever.
    Serve,
    /// Does it; and this happens at once, before anything else does.
    Then(Arc<dyn Fn(&mut World) + Send + Sync>),
}

pub fn then(what: impl Fn(&mut World) + Send + Sync + 'static) -> Act {
    Act::Then(Arc::new(what))
}

/// What a server does with one `ConnectRequest` instead of serving it.
#[derive(Clone)]
pub enum Attach {
    /// Nothing, ever. A server that is starting does that.
    Silent,
    /// Closes without a word. Without a quorum, or behind the client's zxid, servers do that.
    Close,
    /// Attaches once the gate has been opened.
    Later(Gate),
    /// Attaches, and says that it granted this time-out, in milliseconds.
    Timeout(i32),
    /// Says that the session is another one.
    Session(i64),
}

/// Opened once for each that waits at it.
pub type Gate = Arc<Semaphore>;

pub fn gate() -> Gate {
    Arc::new(Semaphore::new(0))
}

/// A request as a server got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub server: u8,
    pub conn: u64,
    pub xid: i32,
    pub code: i32,
    pub frame: Bytes,
    pub at: Instant,
}

impl Seen {
    pub fn request(&self) -> Request<'_> {
        Request::decode(self.code, request_payload(&self.frame)).unwrap()
    }
}

/// A `ConnectRequest` as a server got it.
#[derive(Clone, Debug)]
pub struct SeenAttach {
    pub server: u8,
    pub request: ConnectRequest,
    pub length: usize,
}

pub enum Out {
    Frame(Bytes),
    Close,
}

/// A connection with a session on it.
pub struct Conn {
    pub server: u8,
    pub session: i64,
    pub out: mpsc::UnboundedSender<Out>,
    pub watches: Watches,
    /// The nonce of its SASL challenge, and whose it is.
    pub nonce: Option<String>,
    pub proved: Option<String>,
}

pub struct Server {
    pub addr: SocketAddr,
    /// The name and password that each connection has to have, if any.
    pub wants: Option<(&'static str, &'static str)>,
    /// As `srvr` says it.
    pub mode: &'static str,
    pub frozen: watch::Sender<bool>,
    pub scripts: HashMap<i32, VecDeque<Act>>,
    pub attaches: VecDeque<Attach>,
    pub always: Option<Attach>,
    /// Where it stands while it lags behind, and what it will tell when it has caught up.
    pub lag: Option<(i64, Vec<(u64, Bytes)>)>,
    /// How often it was asked for `srvr`.
    pub looks: usize,
    /// Whether it says nothing to `mntr`.
    pub is_mute: bool,
    running: Option<(watch::Sender<()>, JoinHandle<()>)>,
}

pub struct Known {
    pub password: Bytes,
    pub timeout: i32,
    /// The connection that it is on.
    pub owner: u64,
    pub alive: bool,
}

/// What all servers share.
pub struct World {
    pub servers: BTreeMap<u8, Server>,
    pub tree: Tree,
    pub sessions: BTreeMap<i64, Known>,
    pub conns: BTreeMap<u64, Conn>,
    pub next_conn: u64,
    /// The least and the longest time-out that is granted.
    pub timeouts: (i32, i32),
    /// Whether events have their zxid in the header, as from 3.9 on.
    pub events_have_zxid: bool,
    /// A write that can't be decoded, or a lone check, came through.
    pub poisoned: Option<Bytes>,
    /// Whether servers say in `srvr` how far they have come.
    pub says_zxid: bool,
    pub seen: Vec<Seen>,
    pub attached: Vec<SeenAttach>,
    /// Four-letter words but `srvr`.
    pub words: Vec<String>,
}

impl World {
    pub fn send(&mut self, conn: u64, out: Out) {
        if let Some(conn) = self.conns.get(&conn) {
            let _ = conn.out.send(out);
        }
    }

    /// The zxid that a server shows.
    pub fn shown(&self, server: u8) -> i64 {
        self.servers[&server].lag.as_ref().map_or(self.tree.zxid, |(zxid, _)| *zxid)
    }

    /// Everyone who waits for these changes is told.
    pub fn tell(&mut self, changes: &[Change]) {
        let zxid = if self.events_have_zxid { self.tree.zxid } else { -1 };
        for change in changes {
            for (&id, conn) in &mut self.conns {
                if !conn.watches.fires(change) {
                    continue;
                }
                let frame = event(change.0, &change.1, zxid);
                match &mut self.servers.get_mut(&conn.server).unwrap().lag {
                    Some((_, backlog)) => backlog.push((id, frame)),
                    None => drop(conn.out.send(Out::Frame(frame))),
                }
            }
        }
    }

    /// Another client's write.
    pub fn write(&mut self, code: i32, payload: &Bytes) {
        let mut changes = Vec::new();
        let request = Request::decode(code, payload).unwrap();
        self.tree.write(&request, 0x77, &mut changes).unwrap();
        self.tell(&changes);
    }

    pub fn set(&mut self, path: &str, data: &str) {
        self.write(5, &make::set_data(path, data, -1));
    }

    /// The server has caught up.
    pub fn catch_up(&mut self, id: u8) {
        let backlog = self.servers.get_mut(&id).unwrap().lag.take();
        for (conn, frame) in backlog.unwrap_or_default().1 {
            self.send(conn, Out::Frame(frame));
        }
    }

    pub fn end_session(&mut self, session: i64) {
        self.sessions.get_mut(&session).unwrap().alive = false;
        self.tree.zxid += 1;
        let mut changes = Vec::new();
        for path in self.tree.ephemerals(session) {
            self.tree.remove(&path, &mut changes);
        }
        self.tell(&changes);
    }
}

pub struct Fake {
    world: Arc<Mutex<World>>,
}

impl Fake {
    /// Servers 1 to `count`; the first one leads.
    pub async fn start(count: u8) -> Self {
        let world = World {
            servers: BTreeMap::new(),
            tree: Tree::new(),
            sessions: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            timeouts: (100, 60_000),
            events_have_zxid: true,
            poisoned: None,
            says_zxid: true,
            seen: Vec::new(),
            attached: Vec::new(),
            words: Vec::new(),
        };
        let fake = Self { world: Arc::new(Mutex::new(world)) };
        for id in 1..=count {
            fake.add(id, if id == 1 { "leader" } else { "follower" }).await;
        }
        fake
    }

    /// Another server.
    pub async fn add(&self, id: u8, mode: &'static str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            addr: listener.local_addr().unwrap(),
            wants: None,
            mode,
            frozen: watch::Sender::new(false),
            scripts: HashMap::new(),
            attaches: VecDeque::new(),
            always: None,
            lag: None,
            looks: 0,
            is_mute: false,
            running: None,
        };
        self.world().servers.insert(id, server);
        self.serve(id, listener);
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn server<R>(&self, id: u8, with: impl FnOnce(&mut Server) -> R) -> R {
        with(self.world().servers.get_mut(&id).unwrap())
    }

    pub fn addr(&self, id: u8) -> SocketAddr {
        self.server(id, |server| server.addr)
    }

    fn serve(&self, id: u8, listener: TcpListener) {
        let (stop, stopped) = watch::channel(());
        let world = Arc::clone(&self.world);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut end = stopped.clone();
            loop {
                tokio::select! {
                    _ = end.changed() => break,
                    Ok((stream, _)) = listener.accept() => {
                        stream.set_nodelay(true).unwrap();
                        connections.spawn(server::connection(Arc::clone(&world), id, stream));
                    }
                }
            }
            drop(listener);
            connections.shutdown().await;
        });
        self.server(id, |server| server.running = Some((stop, task)));
    }

    /// Ends a server: connections are refused from now on, those that there are end.
    pub async fn down(&self, id: u8) {
        if let Some((stop, task)) = self.server(id, |server| server.running.take()) {
            drop(stop);
            task.await.unwrap();
        }
    }

    /// Starts it again where it was.
    pub async fn up(&self, id: u8) {
        let listener = TcpListener::bind(self.addr(id)).await.unwrap();
        self.serve(id, listener);
    }

    pub fn ids(&self) -> Vec<u8> {
        self.world().servers.keys().copied().collect()
    }

    pub async fn all_down(&self) {
        for id in self.ids() {
            self.down(id).await;
        }
    }

    pub async fn all_up(&self) {
        for id in self.ids() {
            self.up(id).await;
        }
    }

    /// Stopped, or thawed: connections stay, and nothing is read or said.
    pub fn freeze(&self, id: u8, frozen: bool) {
        self.server(id, |server| server.frozen.send_replace(frozen));
    }

    /// What the server does with the next request of this kind.
    pub fn script(&self, id: u8, code: i32, act: Act) {
        self.server(id, |server| server.scripts.entry(code).or_default().push_back(act));
    }

    /// What the server that has it does with the next request of this kind; the others too, if it comes there.
    pub fn script_all(&self, code: i32, act: &Act) {
        for id in self.ids() {
            self.script(id, code, act.clone());
        }
    }

    /// What is scripted and has not come is forgotten.
    pub fn forget_scripts(&self) {
        self.world().servers.values_mut().for_each(|server| server.scripts.clear());
    }

    /// What the server does with the next `ConnectRequest`.
    pub fn attach(&self, id: u8, attach: Attach) {
        self.server(id, |server| server.attaches.push_back(attach));
    }

    /// What the server does with each of them.
    pub fn always(&self, id: u8, attach: Option<Attach>) {
        self.server(id, |server| server.always = attach);
    }

    /// It lags behind from now on: what it shows and tells stands still.
    pub fn lag(&self, id: u8) {
        let mut world = self.world();
        let zxid = world.tree.zxid;
        world.servers.get_mut(&id).unwrap().lag = Some((zxid, Vec::new()));
    }

    /// Requests of this kind, in the order in which servers got them.
    pub fn seen(&self, code: i32) -> Vec<Seen> {
        self.world().seen.iter().filter(|seen| seen.code == code).cloned().collect()
    }

    /// Requests of this kind that carry this xid.
    pub fn seen_of(&self, code: i32, xid: i32) -> Vec<Seen> {
        self.seen(code).into_iter().filter(|seen| seen.xid == xid).collect()
    }

    /// The kinds of all requests but pings, in the order in which servers got them.
    pub fn codes(&self) -> Vec<i32> {
        self.world().seen.iter().map(|seen| seen.code).filter(|code| *code != 11).collect()
    }

    pub fn forget(&self) {
        let mut world = self.world();
        world.seen.clear();
        world.attached.clear();
    }

    pub fn attaches(&self) -> Vec<SeenAttach> {
        self.world().attached.clone()
    }

    /// The server that a session is on, if its connection is there.
    pub fn place(&self, session: i64) -> Option<u8> {
        let world = self.world();
        world.conns.get(&world.sessions.get(&session)?.owner).map(|conn| conn.server)
    }

    /// How many connections a session has, its old ones too.
    pub fn connections(&self, session: i64) -> usize {
        self.world().conns.values().filter(|conn| conn.session == session).count()
    }

    /// The watches that the session's server has for it.
    pub fn watches(&self, session: i64) -> Watches {
        let world = self.world();
        let owner = world.sessions[&session].owner;
        world.conns.get(&owner).map(|conn| conn.watches.clone()).unwrap_or_default()
    }

    pub fn node(&self, path: &str) -> Option<Node> {
        self.world().tree.node(path).cloned()
    }

    pub fn stat(&self, path: &str) -> Option<Stat> {
        self.world().tree.stat(path)
    }

    pub fn zxid(&self) -> i64 {
        self.world().tree.zxid
    }

    /// Another client's write.
    pub fn write(&self, code: i32, payload: &Bytes) {
        self.world().write(code, payload);
    }

    pub fn create(&self, path: &str) {
        self.write(1, &make::create(path, "", 0));
    }

    pub fn set(&self, path: &str, data: &str) {
        self.world().set(path, data);
    }

    pub fn delete(&self, path: &str) {
        self.write(2, &make::delete(path, -1));
    }

    /// The ensemble ends a session.
    pub fn expire(&self, session: i64) {
        self.world().end_session(session);
    }

    /// The server closes its connections, and goes on.
    pub fn hang_up(&self, id: u8) {
        let world = self.world();
        for conn in world.conns.values().filter(|conn| conn.server == id) {
            let _ = conn.out.send(Out::Close);
        }
    }
}
