//! Evenkeel in this process, before a fake cluster.

use crate::client::{Client, PATIENCE};
use crate::fake::Fake;
use evenkeel::app::{App, Exit, Reload};
use evenkeel::config;
use evenkeel::lifecycle::{Signal, Signals};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Broker ports for each Evenkeel.
const PORTS: u16 = 10;

pub struct Bed {
    pub fake: Fake,
    pub bootstrap: SocketAddr,
    pub first_port: u16,
    pub admin: SocketAddr,
    pub signals: mpsc::Sender<Signal>,
    pub run: JoinHandle<Exit>,
}

impl Bed {
    /// Brokers `nodes` and a topic `t` with one partition, led by the first of them.
    pub async fn new(nodes: &[i32]) -> Self {
        let fake = Fake::start(nodes).await;
        fake.topic("t", &nodes[..1]);
        Self::over(fake, "", "").await
    }

    /// With lines for the configuration: at its top, and of the cluster.
    pub async fn over(fake: Fake, top: &str, cluster: &str) -> Self {
        let bootstrap: Vec<String> =
            fake.world().brokers.values().map(|broker| broker.addr.to_string()).collect();
        // These tests ask what becomes of records as they come; `inject.rs` has those about the identity.
        let identity = if cluster.contains("idempotence") { "" } else { "idempotence = \"off\"\n" };
        let listen = if cluster.contains("listen") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        loop {
            let first = free_ports();
            let text = format!(
                "{top}\n[admin]\nlisten = \"127.0.0.1:0\"\n[[kafka]]\nname = \"k\"\nbootstrap = {bootstrap:?}\n\
                 broker_ports = \"{first}-{}\"\n{listen}{identity}{cluster}\n",
                first + PORTS - 1
            );
            let config = config::parse(&text, "test.toml", []).unwrap();
            // Somebody else may have taken a port: other ports, then.
            let Ok(app) = App::bind(config).await else { continue };
            let (bootstrap, admin) = (app.kafka_addrs()[0][0], app.admin_addrs()[0]);
            let (signals, receiver) = Signals::channel();
            let run = tokio::spawn(app.run(receiver, Reload::default()));
            return Self { fake, bootstrap, first_port: first, admin, signals, run };
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.bootstrap).await
    }

    /// Where clients find a node.
    pub fn door(&self, node: i32) -> SocketAddr {
        SocketAddr::new([127, 0, 0, 1].into(), self.first_port + u16::try_from(node).unwrap() % PORTS)
    }

    pub async fn client_of(&self, node: i32) -> Client {
        Client::connect(self.door(node)).await
    }

    async fn get(&self, path: &str) -> String {
        self.http("GET", path).await
    }

    /// What the admin listener answers.
    pub async fn http(&self, method: &str, path: &str) -> String {
        self.answer(method, path).await.1
    }

    /// The same with its status.
    pub async fn answer(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The sum of the series that begin so.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await;
        let matching = text.lines().filter(|line| line.starts_with(series));
        matching.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub async fn status(&self) -> Value {
        serde_json::from_str(&self.get("/v1/clusters/k").await).unwrap()
    }

    pub async fn held(&self) -> Value {
        self.status().await["hold"].clone()
    }

    /// Waits until the cluster's status fulfils a condition.
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

    /// Waits until all brokers have been reached.
    pub async fn ready(&self) {
        let all = self.fake.world().brokers.len();
        let up = |status: &Value| {
            let members = status["members"].as_array().unwrap();
            members.len() == all && members.iter().all(|member| member["state"] == "up")
        };
        self.until("all brokers up", up).await;
    }

    /// Waits for so many held requests.
    pub async fn holding(&self, count: u64) {
        self.until("held", |status| status["hold"]["waiting"] == count).await;
    }

    /// The book of held requests balances, and nothing is left in it.
    pub async fn balanced(&self) {
        self.until("balanced", |status| status["hold"]["bytes"] == 0 && status["hold"]["waiting"] == 0).await;
        let hold = self.held().await;
        let count = |key: &str| hold[key].as_u64().unwrap();
        assert_eq!(count("started"), count("released") + count("expired") + count("cancelled"), "{hold}");
        let series = |name: &'static str| self.metric(name);
        assert_eq!(series("evenkeel_hold_requests").await, 0.0);
        assert_eq!(series("evenkeel_hold_started_total").await, count("started") as f64);
        assert_eq!(series("evenkeel_hold_ended_total").await, count("started") as f64);
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

/// A range below the ports that the kernel gives out, another for each call, and for each process most likely.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 1900;
    let step = u32::from(NEXT.fetch_add(1, Relaxed));
    11_000 + u16::try_from((start + step * 7) % 1900).unwrap() * PORTS
}
