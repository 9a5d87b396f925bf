//! The whole application inside the test, on free ports, and what `deploy/` promises about it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use evenkeel::app::{App, Exit, Reload};
use evenkeel::config::{self, Config};
use evenkeel::lifecycle::{Signal, Signals};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// Ten ports in a row that nobody else has, below those that the system gives out: tests run side by side, and so do
/// whole runs of them.
fn broker_ports() -> String {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 1000).unwrap();
    loop {
        let block = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(block < 1000, "no ten free ports in a row");
        let first = 20_000 + (start + block) % 1000 * 10;
        if (first..first + 10).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return format!("{first}-{}", first + 9);
        }
    }
}

fn config(more: &str) -> Config {
    let ports = broker_ports();
    let text = format!(
        "{more}\n[admin]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n[[kafka]]\nname = \"orders\"\n\
         listen = \"127.0.0.1:0\"\nbootstrap = [\"127.0.0.1:1\"]\nbroker_ports = \"{ports}\"\n"
    );
    config::parse(&text, "test.toml", []).unwrap()
}

async fn status(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn it_runs_on_free_ports_and_ends_after_a_drain() {
    let app = App::bind(config("")).await.unwrap();
    let addresses = app.admin_addrs();
    assert_eq!(addresses.len(), 2);
    let (signals, receiver) = Signals::channel();
    // SIGHUP without a file to read changes nothing and ends nothing.
    signals.send(Signal::Reload).await.unwrap();
    let run = tokio::spawn(app.run(receiver, Reload::default()));
    for address in &addresses {
        assert_eq!(status(*address, "/healthz").await, "HTTP/1.1 200 OK");
        assert_eq!(status(*address, "/readyz").await, "HTTP/1.1 503 Service Unavailable");
    }
    signals.send(Signal::Terminate).await.unwrap();
    let exit = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    assert_eq!(exit, Exit::Drained);
    assert_eq!(exit.code(), 0);
    assert!(TcpStream::connect(addresses[0]).await.is_err(), "the listener is still open");
}

#[tokio::test]
async fn a_second_signal_is_told_by_the_exit_code() {
    let app = App::bind(config("worker_threads = 2")).await.unwrap();
    let address = app.admin_addrs()[0];
    let (signals, receiver) = Signals::channel();
    let run = tokio::spawn(app.run(receiver, Reload { load: None, telemetry: None }));
    // A request under way keeps the last part of the drain waiting.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /hea").await.unwrap();
    assert_eq!(status(address, "/healthz").await, "HTTP/1.1 200 OK");
    signals.try_send(Signal::Terminate).unwrap();
    signals.try_send(Signal::Reload).unwrap();
    signals.try_send(Signal::Interrupt).unwrap();
    let exit = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    assert_eq!(exit, Exit::Forced(Signal::Interrupt));
    assert_eq!(exit.code(), 130);
}

#[tokio::test]
async fn sighup_reads_again_each_time() {
    let app = App::bind(config("")).await.unwrap();
    let (signals, receiver) = Signals::channel();
    let (loaded, mut loads) = tokio::sync::mpsc::unbounded_channel();
    let load = move || {
        loaded.send(()).unwrap();
        config::parse("wat = 1", "test.toml", [])
    };
    let run = tokio::spawn(app.run(receiver, Reload { load: Some(Arc::new(load)), telemetry: None }));
    for _ in 0..2 {
        signals.send(Signal::Reload).await.unwrap();
        tokio::time::timeout(PATIENCE, loads.recv()).await.unwrap().unwrap();
    }
    signals.send(Signal::Terminate).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap(), Exit::Drained);
}

/// The service manager must not kill what is still within its own bound.
#[test]
fn the_unit_waits_longer_than_a_drain_lasts() {
    let unit = include_str!("../deploy/evenkeel.service");
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}"))
    };
    let stop: u64 = value("TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
    assert!(stop >= Config::default().shutdown.grace.as_secs() + 5, "{stop}");
    assert_eq!(value("Type"), "notify");
    assert!(value("ExecStart").ends_with("evenkeel run --config /etc/evenkeel/evenkeel.toml"));
    // Its variables are those that the configuration knows.
    let (name, folder) = value("Environment").split_once('=').unwrap();
    let text = include_str!("../config/minimal.toml");
    let config = config::parse(text, "minimal.toml", [(name.to_owned(), folder.to_owned())]).unwrap();
    assert!(config.state_dir.is_some());
}
