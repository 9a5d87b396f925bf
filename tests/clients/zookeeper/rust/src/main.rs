//! A session of the crate zookeeper-client: ephemerals, watches that are set again each time, three streams of writes, and a
//! persistent recursive watch (`--tree on`). No call is repeated. The lines that it prints are described in ../README.md.

use std::collections::HashMap;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use zookeeper_client::{
    Acls, AddWatchMode, Client, CreateMode, Error, EventType, OneshotWatcher, SessionState,
};

static STOPPED: AtomicBool = AtomicBool::new(false);

fn stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(0)
}

fn tell(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: then nobody misses it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A step of a stream that was told of its outcome: the version or the path that it brought.
type Done = Result<Value, Error>;

struct Session {
    servers: String,
    timeout: Duration,
    tree: bool,
    name: String,
    root: String,
    /// None when it is time to end.
    client: RwLock<Option<Client>>,
}

fn options(mode: CreateMode) -> zookeeper_client::CreateOptions<'static> {
    mode.with_acls(Acls::anyone_all())
}

async fn connect(servers: &str, timeout: Duration) -> Client {
    loop {
        match Client::connector().with_session_timeout(timeout).connect(servers).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

impl Session {
    fn client(&self) -> Client {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        client.unwrap_or_else(|| std::process::exit(0))
    }

    fn replace(&self, client: Option<Client>) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// What belongs to a session: its ephemeral nodes, the persistent watch, and somebody who tells of its state and makes
    /// another session when this one has expired, as an application does.
    fn open(self: Arc<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { self.opened().await })
    }

    async fn opened(self: &Arc<Self>) {
        let client = self.client();
        tell(
            &json!({"t": "session", "at": micros(), "what": "connected", "id": client.session_id().to_string()}),
        );
        let own = Arc::clone(self);
        let mut states = client.state_watcher();
        let session = client.clone();
        tokio::spawn(async move {
            loop {
                let what = match states.changed().await {
                    SessionState::Disconnected => "disconnected",
                    SessionState::SyncConnected => "connected",
                    SessionState::Expired => "expired",
                    _ => continue,
                };
                if stopped() {
                    return;
                }
                tell(&json!({"t": "session", "at": micros(), "what": what}));
                if what == "connected" && own.tree {
                    tokio::spawn(own.clone().plant_again(session.clone()));
                }
                if what == "expired" {
                    let fresh = connect(&own.servers, own.timeout).await;
                    own.replace(Some(fresh));
                    own.open().await;
                    return;
                }
            }
        });
        if self.tree {
            self.plant(&client).await;
        }
        for (path, mode) in
            [("/live/e", CreateMode::Ephemeral), ("/live/s-", CreateMode::EphemeralSequential)]
        {
            let path = format!("{}{path}", self.root);
            while !stopped() {
                match client.create(&path, b"", &options(mode)).await {
                    Ok((_, sequence)) => {
                        let made =
                            if mode == CreateMode::Ephemeral { path } else { format!("{path}{sequence}") };
                        tell(&json!({"t": "live", "at": micros(), "path": made}));
                        break;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
    }

    async fn plant(&self, client: &Client) {
        let Ok(mut watcher) =
            client.watch(&format!("{}/tree", self.root), AddWatchMode::PersistentRecursive).await
        else {
            return;
        };
        tell(&json!({"t": "planted", "at": micros()}));
        tokio::spawn(async move {
            loop {
                let event = watcher.changed().await;
                if event.event_type != EventType::Session {
                    tell(
                        &json!({"t": "tree", "at": micros(), "path": event.path, "e": word(event.event_type)}),
                    );
                } else if matches!(event.session_state, SessionState::Expired | SessionState::Closed) {
                    return;
                }
            }
        });
    }

    /// The library doesn't set its persistent watch again after a reconnect, so that the program does, as it has to. Who was told
    /// before is told again.
    async fn plant_again(self: Arc<Self>, client: Client) {
        let path = format!("{}/tree", self.root);
        while !stopped() && client.state() == SessionState::SyncConnected {
            if client.watch(&path, AddWatchMode::PersistentRecursive).await.is_ok() {
                tell(&json!({"t": "planted", "at": micros()}));
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn arm(&self, kind: &str) -> Result<(i64, OneshotWatcher), Error> {
        let (client, path) = (self.client(), format!("{}/watch/{kind}", self.root));
        match kind {
            "data" => client.get_and_watch_data(&path).await.map(|(_, stat, watcher)| (stat.mzxid, watcher)),
            "child" => {
                client.get_and_watch_children(&path).await.map(|(_, stat, watcher)| (stat.pzxid, watcher))
            }
            _ => {
                let (stat, watcher) = client.check_and_watch_stat(&path).await?;
                Ok((stat.map_or(0, |stat| stat.czxid), watcher))
            }
        }
    }

    async fn watch(self: Arc<Self>, kind: &'static str) {
        while !stopped() {
            let sent = micros();
            let Ok((state, watcher)) = self.arm(kind).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            tell(&json!({"t": "arm", "k": kind, "sent": sent, "at": micros(), "z": state}));
            let event = watcher.changed().await;
            if event.event_type == EventType::Session {
                tell(&json!({"t": "dropped", "k": kind, "at": micros()}));
            } else {
                tell(&json!({"t": "event", "k": kind, "at": micros(), "e": word(event.event_type)}));
            }
        }
    }

    async fn register(self: Arc<Self>, pause: Duration) {
        let path = format!("{}/register", self.root);
        let mut known = None;
        let mut beat = Beat::new(pause);
        while let Some(n) = beat.next().await {
            let client = self.client();
            let done = match known {
                None => {
                    let read = async {
                        let (data, stat) = client.get_data(&path).await?;
                        Ok(json!({"v": String::from_utf8_lossy(&data), "ver": stat.version}))
                    };
                    call(json!({"s": "read"}), read).await
                }
                Some(base) => {
                    let value = format!("{}-{n}", self.name);
                    let write = async {
                        let stat = client.set_data(&path, value.as_bytes(), Some(base)).await?;
                        Ok(json!({"ver": stat.version}))
                    };
                    call(json!({"s": "set", "v": &value, "base": base}), write).await
                }
            };
            known = done.and_then(|done| i32::try_from(done["ver"].as_i64()?).ok());
        }
    }

    async fn sequence(self: Arc<Self>, pause: Duration) {
        let path = format!("{}/seq/q-", self.root);
        let mut beat = Beat::new(pause);
        while let Some(n) = beat.next().await {
            let (client, value) = (self.client(), format!("{}-{n}", self.name));
            let make = async {
                let options = options(CreateMode::PersistentSequential);
                let (_, sequence) = client.create(&path, value.as_bytes(), &options).await?;
                Ok(json!({"path": format!("{path}{sequence}")}))
            };
            call(json!({"s": "seq", "v": &value}), make).await;
        }
    }

    async fn nodes(self: Arc<Self>, pause: Duration) {
        let mut beat = Beat::new(pause);
        while let Some(n) = beat.next().await {
            let (client, name) = (self.client(), format!("n-{n}"));
            let path = format!("{}/nodes/{name}", self.root);
            let make = async {
                client.create(&path, b"x", &options(CreateMode::Persistent)).await.map(|_| json!({}))
            };
            let made = call(json!({"s": "create", "v": &name}), make).await;
            if made.is_some() && n % 2 == 0 {
                let delete = async { client.delete(&path, None).await.map(|()| json!({})) };
                call(json!({"s": "delete", "v": &name}), delete).await;
            }
        }
    }
}

/// When to take which step.
struct Beat {
    pause: Duration,
    due: Instant,
    n: u64,
}

impl Beat {
    fn new(pause: Duration) -> Self {
        Self { pause, due: Instant::now(), n: 0 }
    }

    async fn next(&mut self) -> Option<u64> {
        let now = Instant::now();
        let latest = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        self.due = (self.due + self.pause).max(latest);
        tokio::time::sleep_until(self.due.into()).await;
        self.n += 1;
        (!stopped()).then_some(self.n - 1)
    }
}

/// Makes a call and tells of its outcome; none when it failed.
async fn call(mut line: Value, what: impl Future<Output = Done>) -> Option<Value> {
    line["t"] = json!("op");
    line["sent"] = json!(micros());
    let result = what.await;
    line["done"] = json!(micros());
    match result {
        Ok(done) => {
            for (key, value) in done.as_object().into_iter().flatten() {
                line[key] = value.clone();
            }
            tell(&line);
            Some(done)
        }
        Err(error) => {
            let name = match &error {
                // An error of the connection that the library passes on as it is; and CONNECTIONLOSS in an answer, for which it
                // has no name.
                Error::Custom(_) | Error::UnexpectedErrorCode(-4) => "ConnectionLoss".to_owned(),
                other => format!("{other:?}").split(['(', ' ']).next().unwrap_or("").to_owned(),
            };
            line["err"] = json!(name);
            line["msg"] = json!(error.to_string());
            tell(&line);
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

fn word(event: EventType) -> &'static str {
    match event {
        EventType::NodeCreated => "created",
        EventType::NodeDeleted => "deleted",
        EventType::NodeDataChanged => "changed",
        EventType::NodeChildrenChanged => "children",
        EventType::Session => "session",
    }
}

#[tokio::main(worker_threads = 1)]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let o: HashMap<&str, &str> =
        words.chunks_exact(2).map(|pair| (pair[0].trim_start_matches("--"), pair[1].as_str())).collect();
    std::thread::spawn(|| {
        if std::io::stdin().read_line(&mut String::new()).unwrap_or(0) == 0 {
            std::process::exit(1);
        }
        STOPPED.store(true, Ordering::Relaxed);
    });
    let timeout = Duration::from_millis(o["timeout"].parse().expect("--timeout"));
    let pause = Duration::from_secs_f64(1.0 / o["rate"].parse::<f64>().expect("--rate"));
    let session = Arc::new(Session {
        servers: o["servers"].to_owned(),
        timeout,
        tree: o["tree"] == "on",
        name: o["name"].to_owned(),
        root: format!("/bed/{}", o["name"]),
        client: RwLock::new(Some(connect(o["servers"], timeout).await)),
    });
    Arc::clone(&session).open().await;
    let watches =
        ["data", "child", "exist"].map(|kind| tokio::spawn(Arc::clone(&session).watch(kind)).abort_handle());
    tell(&json!({"t": "ready"}));
    tokio::join!(
        Arc::clone(&session).register(pause),
        Arc::clone(&session).sequence(pause),
        Arc::clone(&session).nodes(pause)
    );
    // The session is closed when nobody has the client any more.
    let mut states = session.client().state_watcher();
    for watch in watches {
        watch.abort();
    }
    session.replace(None);
    let closed =
        async { while !matches!(states.changed().await, SessionState::Closed | SessionState::Expired) {} };
    let _ = tokio::time::timeout(Duration::from_secs(10), closed).await;
    tell(&json!({"t": "end"}));
    // Whatever task is left has nothing more to say.
    std::process::exit(0);
}
