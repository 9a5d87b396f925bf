//! Evenkeel in this process, before an ensemble of scripted servers.

use crate::client::{Client, LONG, PATIENCE};
use crate::fake::Fake;
use evenkeel::app::{App, Exit, Reload};
use evenkeel::config;
use evenkeel::lifecycle::{Signal, Signals};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub struct Bed {
    pub fake: Fake,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub signals: mpsc::Sender<Signal>,
    pub run: JoinHandle<Exit>,
    /// What a reload reads.
    pub text: Arc<Mutex<String>>,
}

fn text(fake: &Fake, ids: &[u8], top: &str, cluster: &str) -> String {
    let servers: Vec<String> = ids.iter().map(|id| fake.addr(*id).to_string()).collect();
    let tick = if cluster.contains("tick_time") { "" } else { "tick_time = \"200ms\"\n" };
    format!(
        "{top}\n[admin]\nlisten = \"127.0.0.1:0\"\n[[zookeeper]]\nname = \"z\"\nlisten = \"127.0.0.1:0\"\n\
         servers = {servers:?}\n{tick}{cluster}\n"
    )
}

impl Bed {
    /// Before so many servers, all of which have been reached.
    pub async fn new(servers: u8) -> Self {
        Self::with(servers, "", "").await
    }

    /// With lines for the configuration: at its top, and of the ensemble.
    pub async fn with(servers: u8, top: &str, cluster: &str) -> Self {
        let bed = Self::over(Fake::start(servers).await, top, cluster).await;
        bed.ready().await;
        bed
    }

    pub async fn over(fake: Fake, top: &str, cluster: &str) -> Self {
        let first = text(&fake, &fake.ids(), top, cluster);
        Self::as_told(fake, first).await
    }

    /// With these servers alone in the configuration.
    pub async fn of(fake: Fake, servers: &[u8], cluster: &str) -> Self {
        let first = text(&fake, servers, "", cluster);
        Self::as_told(fake, first).await
    }

    async fn as_told(fake: Fake, first: String) -> Self {
        let app = App::bind(config::parse(&first, "test.toml", []).unwrap()).await.unwrap();
        let (listen, admin) = (app.zookeeper_addrs()[0][0], app.admin_addrs()[0]);
        let (signals, receiver) = Signals::channel();
        let text = Arc::new(Mutex::new(first));
        let read = Arc::clone(&text);
        let load = move || config::parse(&read.lock().unwrap(), "test.toml", []);
        let run = tokio::spawn(app.run(receiver, Reload { load: Some(Arc::new(load)), telemetry: None }));
        Self { fake, listen, admin, signals, run, text }
    }

    /// Another configuration, with these servers.
    pub async fn reload(&self, servers: &[u8], top: &str, cluster: &str) {
        *self.text.lock().unwrap() = text(&self.fake, servers, top, cluster);
        self.signals.send(Signal::Reload).await.unwrap();
    }

    /// A client of a library that knows −4, with a long time-out.
    pub async fn client(&self) -> Client {
        Client::open(self.listen, LONG, Some(false)).await
    }

    /// A client on this server.
    pub async fn client_on(&self, server: u8) -> Client {
        self.client_of(server, LONG, Some(false)).await
    }

    pub async fn client_of(&self, server: u8, timeout: i32, read_only: Option<bool>) -> Client {
        let end = Instant::now() + PATIENCE;
        loop {
            let client = Client::open(self.listen, timeout, read_only).await;
            if self.fake.place(client.session) == Some(server) {
                return client;
            }
            assert!(Instant::now() < end, "never on server {server}");
            // The others are a lot until it has the fewest.
            self.fake.expire(client.session);
            drop(client);
        }
    }

    /// The server that a client is on.
    pub fn on(&self, client: &Client) -> u8 {
        self.fake.place(client.session).expect("it is on a server")
    }

    /// What the admin listener answers: status and text.
    pub async fn http(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Begins or ends the drain of a server; the status.
    pub async fn drain(&self, server: u8, on: bool) -> u16 {
        let path = format!("/v1/clusters/z/members/{}/drain", self.fake.addr(server));
        self.http(if on { "PUT" } else { "DELETE" }, &path).await.0
    }

    /// Waits until a drain says that the server can go.
    pub async fn drained(&self, server: u8) {
        let end = Instant::now() + PATIENCE;
        while self.drain(server, true).await != 200 {
            assert!(Instant::now() < end, "never drained: {:#}", self.status().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The sum of the series that begin so and contain the rest.
    pub async fn metric(&self, series: &str, label: &str) -> f64 {
        let text = self.http("GET", "/metrics").await.1;
        let head = |line: &&str| {
            line.strip_prefix("evenkeel_").is_some_and(|line| {
                line.strip_prefix(series).is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
        };
        let matching = text.lines().filter(head).filter(|line| line.contains(label));
        matching.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub async fn status(&self) -> Value {
        serde_json::from_str(&self.http("GET", "/v1/clusters/z").await.1).unwrap()
    }

    /// Waits until the ensemble's status fulfils a condition.
    pub async fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if condition(&status) {
                return status;
            }
            assert!(Instant::now() < end, "never {what}: {status:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a metric has reached a value.
    pub async fn counted(&self, series: &str, label: &str, least: f64) {
        let end = Instant::now() + PATIENCE;
        while self.metric(series, label).await < least {
            assert!(Instant::now() < end, "never counted: {series} {label}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until all servers have been reached.
    pub async fn ready(&self) {
        let up = |status: &Value| status["members"].as_array().unwrap().iter().all(|m| m["state"] == "up");
        self.until("all servers up", up).await;
    }

    /// Waits until so many requests are held.
    pub async fn holding(&self, count: u64) {
        self.until("held", |status| status["hold"]["waiting"] == count).await;
    }

    /// No client is left: every gauge is back at nothing, the book of held requests balances, and nothing poisonous came
    /// through.
    pub async fn settled(&self) {
        let none =
            |member: &Value| ["sessions", "connections", "in_flight"].iter().all(|key| member[key] == 0);
        let nothing = |status: &Value| {
            let hold = &status["hold"];
            status["clients"] == 0
                && hold["waiting"] == 0
                && hold["bytes"] == 0
                && status["members"].as_array().unwrap().iter().all(none)
        };
        let hold = self.until("settled", nothing).await["hold"].clone();
        let count = |key: &str| hold[key].as_u64().unwrap() as f64;
        assert_eq!(count("started"), count("released") + count("expired") + count("cancelled"), "{hold}");
        for gauge in
            ["hold_requests", "hold_bytes", "zookeeper_sessions", "zookeeper_watches", "client_connections"]
        {
            assert_eq!(self.metric(gauge, "").await, 0.0, "{gauge}");
        }
        for counter in ["hold_started_total", "hold_ended_total"] {
            assert_eq!(self.metric(counter, "").await, count("started"), "{counter}");
        }
        let ended = |label| self.metric("hold_ended_total", label);
        assert_eq!(ended("released").await, count("released"), "{hold}");
        assert_eq!(ended("cancelled").await, count("cancelled"), "{hold}");
        assert_eq!(self.fake.world().poisoned, None);
    }

    /// The client goes, and what it leaves behind is looked at.
    pub async fn end(&self, client: Client) {
        drop(client);
        self.settled().await;
    }
}

/// Waits for a condition.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
