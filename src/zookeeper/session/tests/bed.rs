//! One session, its client and its servers.

use crate::config::{self, Config, HostPort};
use crate::dns::{DnsOptions, Resolver};
use crate::hold::Ledger;
use crate::lifecycle::{DrainTrigger, Readiness, drain};
use crate::metrics::Metrics;
use crate::net::Stream;
use crate::zookeeper::ensemble::{Ensemble, Settings};
use crate::zookeeper::session::{End, Session};
use crate::zookeeper::wire::{ConnectRequest, ConnectResponse, ReplyHeader, Writer, build, opcode};
use crate::zookeeper::wire::{reply_body, reply_header, request_header, request_payload};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longer than anything that a test waits for takes, on a loaded machine too.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The session of every test.
pub(super) const SESSION: i64 = 0x1234;
/// An error that a client library knows as "connection lost".
pub(super) const CONNECTION_LOSS: i32 = -4;

pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let length = stream.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.ok()?;
    Some(Bytes::from(frame))
}

/// A server, as far as the test plays it.
pub(super) struct Server {
    pub(super) at: HostPort,
    came: mpsc::UnboundedReceiver<TcpStream>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, came) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if sender.send(stream).is_err() {
                    return; // nobody accepts any more: the listener ends
                }
            }
        });
        Self { at: HostPort { host: "127.0.0.1".to_owned(), port }, came }
    }

    /// How many connections came that nobody has taken.
    pub(super) fn connections(&mut self) -> usize {
        std::iter::from_fn(|| self.came.try_recv().ok()).count()
    }

    /// The next connection, whatever it will say.
    pub(super) async fn connection(&mut self) -> Peer {
        let stream = soon("a connection", self.came.recv()).await.unwrap();
        Peer { stream }
    }

    /// The next connection, and what it asks for.
    pub(super) async fn asked(&mut self) -> (Peer, ConnectRequest) {
        let mut peer = self.connection().await;
        let frame = peer.frame().await;
        (peer, ConnectRequest::decode(&frame).unwrap())
    }

    /// The next connection, with the session on it.
    pub(super) async fn attached(&mut self, timeout: i32) -> Peer {
        let (mut peer, _) = self.asked().await;
        peer.grant(timeout).await;
        peer
    }
}

/// A connection at its server's end.
pub(super) struct Peer {
    stream: TcpStream,
}

/// A request as a server sees it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) xid: i32,
    pub(super) code: i32,
    pub(super) payload: Bytes,
}

impl Peer {
    async fn frame(&mut self) -> Bytes {
        soon("a frame", read_frame(&mut self.stream)).await.expect("a frame, not the end")
    }

    pub(super) async fn grant(&mut self, timeout: i32) {
        let response = ConnectResponse {
            protocol: 0,
            timeout,
            session: if timeout > 0 { SESSION } else { 0 },
            password: Bytes::from_static(&[7; 16]),
            read_only: Some(false),
        };
        self.say(&response.encode()).await;
    }

    /// Whoever is at the other end may have gone: the test sees it by what comes, or doesn't.
    pub(super) async fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next request that is no ping; those are answered meanwhile.
    pub(super) async fn request(&mut self, zxid: i64) -> Asked {
        soon("a request", self.maybe(zxid)).await.expect("a request, not the end")
    }

    /// The same, or the end of the connection.
    pub(super) async fn maybe(&mut self, zxid: i64) -> Option<Asked> {
        loop {
            let frame = read_frame(&mut self.stream).await?;
            let header = request_header(&frame).unwrap();
            if header.opcode == opcode::PING {
                self.say(&build::ping_reply(zxid)).await;
                continue;
            }
            let payload = Bytes::copy_from_slice(request_payload(&frame));
            return Some(Asked { xid: header.xid, code: header.opcode, payload });
        }
    }

    /// Answers the next request, a ping too, with this error.
    pub(super) async fn refuses(&mut self, err: i32) {
        let Ok(frame) = tokio::time::timeout(PATIENCE, read_frame(&mut self.stream)).await else { return };
        let Some(frame) = frame else { return std::future::pending().await };
        let header = request_header(&frame).unwrap();
        let xid = if header.opcode == opcode::PING { -2 } else { header.xid };
        self.say(&build::reply(xid, 1, err, &[])).await;
    }

    /// What comes until the connection ends, with nothing answered.
    pub(super) async fn unanswered(&mut self) -> Vec<i32> {
        let mut codes = Vec::new();
        while let Some(frame) = soon("a frame or the end", read_frame(&mut self.stream)).await {
            codes.push(request_header(&frame).unwrap().opcode);
        }
        codes
    }

    /// Answers pings until the connection ends.
    pub(super) fn goes_on(mut self, zxid: i64) -> JoinHandle<()> {
        tokio::spawn(async move { while self.maybe(zxid).await.is_some() {} })
    }

    /// Answers pings for as long as the other future takes.
    pub(super) async fn pinged<T>(&mut self, zxid: i64, other: impl Future<Output = T>) -> T {
        tokio::select! {
            asked = self.maybe(zxid) => panic!("{asked:?}"),
            done = other => done,
        }
    }

    pub(super) async fn reply(&mut self, asked: &Asked, zxid: i64, err: i32, body: &[u8]) {
        self.say(&build::reply(asked.xid, zxid, err, body)).await;
    }

    pub(super) async fn event(&mut self, zxid: i64, kind: i32, path: &[u8]) {
        let body = Writer::record().i32(kind).i32(3).text(path).finish();
        self.say(&build::reply(-1, zxid, 0, &body)).await;
    }
}

/// The client's end.
pub(super) struct Client {
    stream: DuplexStream,
}

impl Client {
    pub(super) async fn send(&mut self, frame: &[u8]) {
        self.stream.write_all(frame).await.unwrap();
    }

    pub(super) async fn ask(&mut self, xid: i32, code: i32, payload: &[u8]) {
        self.send(&build::again(xid, code, payload)).await;
    }

    /// The next frame; nothing at the end.
    pub(super) async fn frame(&mut self) -> Option<Bytes> {
        soon("a frame or the end", read_frame(&mut self.stream)).await
    }

    /// The next answer or event.
    pub(super) async fn heard(&mut self) -> (ReplyHeader, Bytes) {
        let frame = self.frame().await.expect("an answer, not the end");
        (reply_header(&frame).unwrap(), Bytes::copy_from_slice(reply_body(&frame)))
    }

    /// Pings until the connection ends; nothing else may come.
    pub(super) async fn pings_until_the_end(&mut self) {
        loop {
            let _ = self.stream.write_all(&build::ping()).await;
            let Some(frame) = self.frame().await else { return };
            assert_eq!(reply_header(&frame).unwrap().xid, -2);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Whether nothing comes for so long.
    pub(super) async fn hears_nothing(&mut self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.stream.read_u8()).await.is_err()
    }
}

/// All of it.
pub(super) struct Bed {
    pub(super) ensemble: Arc<Ensemble>,
    pub(super) servers: Vec<Server>,
    pub(super) ledger: Arc<Ledger>,
    _drain: DrainTrigger,
    pub(super) holder: crate::lifecycle::Drain,
}

/// A session's task.
pub(super) struct Running {
    pub(super) end: JoinHandle<End>,
    polls: Arc<AtomicUsize>,
}

impl Running {
    /// How often it is polled in so long.
    pub(super) async fn polls_in(&self, pause: Duration) -> usize {
        let before = self.polls.load(Relaxed);
        tokio::time::sleep(pause).await;
        self.polls.load(Relaxed) - before
    }

    pub(super) async fn end(self) -> End {
        soon("the session's end", self.end).await.unwrap()
    }
}

impl Bed {
    pub(super) async fn new(count: usize) -> Self {
        Self::with(count, |_| {}).await
    }

    pub(super) async fn with(count: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(Server::start().await);
        }
        let zookeeper = config::ZooKeeper {
            name: "z".to_owned(),
            servers: servers.iter().map(|server| server.at.clone()).collect(),
            ..config::ZooKeeper::default()
        };
        let config = Config::default();
        let mut settings = Settings {
            net: config.net,
            limits: config.limits,
            hold: config.hold,
            retry: config.retry,
            zookeeper,
        };
        change(&mut settings);
        let metrics = Metrics::new().zookeeper("z");
        let ledger = Ledger::new(settings.hold.bytes);
        let dns = DnsOptions { servers: Vec::new(), min_ttl: Duration::from_secs(1), timeout: PATIENCE };
        let block = Readiness::new().block("no server yet");
        let resolver = Resolver::new(dns, None).unwrap();
        let ensemble = Ensemble::new(settings, resolver, metrics, Arc::clone(&ledger), block);
        for server in &servers {
            ensemble.server_is_up(&server.at);
        }
        let (drain, holder) = drain::new();
        Self { ensemble, servers, ledger, _drain: drain, holder }
    }

    /// A client's connection, with nothing said yet.
    pub(super) fn connect(&self, room: usize) -> (Client, Running) {
        let (ours, theirs) = tokio::io::duplex(room);
        let session = Session::new(Arc::clone(&self.ensemble), Stream::Memory(theirs), self.holder.clone());
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        let mut run = Box::pin(session.run());
        let counted = poll_fn(move |cx| {
            count.fetch_add(1, Relaxed);
            run.as_mut().poll(cx)
        });
        (Client { stream: ours }, Running { end: tokio::spawn(counted), polls })
    }

    /// A client that has asked for a session with this time-out.
    pub(super) async fn greeted(&self, timeout: i32) -> (Client, Running) {
        let (mut client, run) = self.connect(1 << 20);
        let request = ConnectRequest {
            protocol: 0,
            last_zxid: 0,
            timeout,
            session: 0,
            password: Bytes::from_static(&[0; 16]),
            read_only: Some(false),
        };
        client.send(&request.encode()).await;
        (client, run)
    }

    /// A client with a session, on the one of two or more servers that took it, which is the first from now on.
    pub(super) async fn served(&mut self, timeout: i32) -> (Client, Running, Peer) {
        let (mut client, run) = self.greeted(timeout).await;
        let (at, stream) = loop {
            let came =
                self.servers.iter_mut().enumerate().find_map(|(at, s)| Some((at, s.came.try_recv().ok()?)));
            match came {
                Some(came) => break came,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        self.servers.swap(0, at);
        let mut peer = Peer { stream };
        peer.frame().await;
        peer.grant(timeout).await;
        let response = ConnectResponse::decode(&client.frame().await.unwrap()).unwrap();
        assert_eq!((response.session, response.timeout), (SESSION, timeout));
        (client, run, peer)
    }

    /// The next session to come to any server but the first.
    pub(super) async fn elsewhere(&mut self, timeout: i32) -> (Peer, ConnectRequest) {
        self.behind(1, timeout).await
    }

    /// The next session to come to any server.
    pub(super) async fn anywhere(&mut self, timeout: i32) -> (Peer, ConnectRequest) {
        self.behind(0, timeout).await
    }

    async fn behind(&mut self, first: usize, timeout: i32) -> (Peer, ConnectRequest) {
        let stream = soon("a connection to a server", async {
            loop {
                if let Some(stream) = self.servers.iter_mut().skip(first).find_map(|s| s.came.try_recv().ok())
                {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let mut peer = Peer { stream: stream.await };
        let request = ConnectRequest::decode(&peer.frame().await).unwrap();
        peer.grant(timeout).await;
        (peer, request)
    }

    /// Begins or ends the drain of the first server.
    pub(super) fn drain_first(&self, on: bool) {
        let first = self.servers[0].at.to_string();
        self.ensemble.drain(&first, on.then_some(Duration::from_secs(600))).unwrap();
    }

    /// Nothing is left in any book.
    pub(super) fn is_balanced(&self) {
        let account = self.ledger.account();
        assert_eq!((account.waiting, self.ledger.bytes()), (0, 0), "{account:?}");
        assert_eq!(account.started, account.released + account.expired + account.cancelled);
        assert_eq!(self.ensemble.metrics.hold_requests.get(), 0, "{account:?}");
    }
}
