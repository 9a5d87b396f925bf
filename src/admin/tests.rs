//! The admin listener over real TCP, spoken to in raw bytes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config;
use crate::lifecycle::{DrainOutcome, DrainTrigger, drain};
use crate::metrics::AdminRefusal;
use fake::Orders;

mod door;
mod fake;
mod orders;
mod ui;

struct Server {
    address: SocketAddr,
    readiness: Readiness,
    trigger: DrainTrigger,
    orders: Arc<Orders>,
    admin: Arc<Admin>,
}

async fn start(limits: Limits) -> Server {
    behind(Door::control(&config::Admin::default()).unwrap(), limits).await
}

async fn behind(door: Door, limits: Limits) -> Server {
    let door = Arc::new(door);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, drain) = drain::new();
    let readiness = Readiness::new();
    let orders = Orders::new();
    let clusters: Vec<Arc<dyn ClusterStatus>> = vec![Arc::clone(&orders) as _];
    let admin = Admin::new(Metrics::new(), readiness.clone(), clusters);
    tokio::spawn(serve(listener, Arc::clone(&admin), door, limits, drain));
    Server { address, readiness, trigger, orders, admin }
}

/// All that comes back for `bytes`, until the server closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_all(&mut stream).await
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut out = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut out)).await;
    // A reset after the answer is no loss here: what came counts.
    let _ = read.expect("the server keeps the connection open");
    String::from_utf8(out).unwrap()
}

/// Status, head and body of one request on a connection of its own.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = raw(address, request.as_bytes()).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn bypass_is_a_switch() {
    let server = start(Limits::default()).await;
    for (method, on) in [("PUT", true), ("PUT", true), ("DELETE", false), ("DELETE", false)] {
        let (status, head, body) = ask(server.address, method, "/v1/clusters/orders/bypass").await;
        assert_eq!(status, 200, "{body}");
        assert!(head.contains("content-type: application/json"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, json!({ "cluster": "orders", "bypass": on }));
        assert_eq!(server.orders.bypass.load(Relaxed), on);
    }
    let (status, head, _) = ask(server.address, "GET", "/v1/clusters/orders/bypass").await;
    assert_eq!(status, 405, "a look changes nothing");
    assert!(head.contains("allow: put, delete"), "{head}");
    assert_eq!(ask(server.address, "PUT", "/v1/clusters/nobody/bypass").await.0, 404);
    assert_eq!(ask(server.address, "PUT", "/v1/clusters/orders/bypass/more").await.0, 404);
    assert_eq!(ask(server.address, "PUT", "/v1/clusters/orders").await.0, 405);
    let url = format!("http://{}", server.address);
    let (status, body) =
        client::Client::new().ask(&url, hyper::Method::PUT, "/v1/clusters/orders/bypass").await.unwrap();
    assert_eq!((status, server.orders.bypass.load(Relaxed)), (200, true), "{body}");
}

/// Status and body of one request with a body.
async fn send(address: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nEvenkeel-Client: test\r\nConnection: close\r\n{kind}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let text = raw(address, request.as_bytes()).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole answer: {text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

#[tokio::test]
async fn a_body_is_json_and_has_a_bound() {
    let server = start(Limits::default()).await;
    let path = "/v1/clusters/orders/bypass";
    assert_eq!(send(server.address, "PUT", path, JSON, "{}").await.0, 200);
    assert_eq!(send(server.address, "DELETE", path, JSON, "{}").await.0, 200);
    assert_eq!(send(server.address, "GET", "/healthz", "", "what?").await.0, 200, "it means nothing there");
    for kind in ["", "Content-Type: text/plain\r\n"] {
        let (status, body) = send(server.address, "PUT", path, kind, "{}").await;
        assert_eq!((status, &body["status"]), (415, &json!(415)), "{kind}");
    }
    let (status, _) = send(server.address, "PUT", path, JSON, &"x".repeat(64 * 1024 + 1)).await;
    assert_eq!(status, 413);
    // One that doesn't tell its length is counted as it comes.
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000)).repeat(5);
    let head = "PUT /v1/clusters/orders/bypass HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n";
    let text = raw(server.address, format!("{head}{JSON}\r\n{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 413"), "{text:?}");
}

#[tokio::test]
async fn every_route_answers() {
    let server = start(Limits::default()).await;
    let (status, head, body) = ask(server.address, "GET", "/").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain"));
    for (method, path, _) in routes::ROUTES {
        assert!(body.contains(&format!("{method} {path} ")), "{body}");
    }
    let (status, head, body) = ask(server.address, "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("# TYPE evenkeel_ready gauge\nevenkeel_ready 0\n"), "{body}");
    assert_eq!(ask(server.address, "GET", "/healthz").await.0, 200);
    let (status, head, body) = ask(server.address, "GET", "/v1/clusters").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/json"));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["clusters"][0]["name"], "orders");
    let (status, _, body) = ask(server.address, "GET", "/v1/clusters/orders").await;
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["name"], "orders");
    // A query is no part of the route.
    assert_eq!(ask(server.address, "GET", "/healthz?verbose=1").await.0, 200);
}

#[tokio::test]
async fn readiness_is_told_with_every_reason() {
    let server = start(Limits::default()).await;
    assert_eq!(ask(server.address, "GET", "/readyz").await.0, 200);
    let block = server.readiness.block("kafka orders: no broker reached yet");
    let other = server.readiness.block("stopping");
    let (status, _, body) = ask(server.address, "GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, "kafka orders: no broker reached yet\nstopping\n"));
    // Not ready is not unhealthy.
    assert_eq!(ask(server.address, "GET", "/healthz").await.0, 200);
    drop((block, other));
    let (status, _, body) = ask(server.address, "GET", "/readyz").await;
    assert_eq!((status, body.as_str()), (200, "ready\n"));
}

#[tokio::test]
async fn head_has_the_length_of_the_body_and_no_body() {
    let server = start(Limits::default()).await;
    let (status, head, body) = ask(server.address, "HEAD", "/healthz").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("content-length: 3"), "{head}");
}

#[tokio::test]
async fn errors_are_problems_in_json() {
    let server = start(Limits::default()).await;
    let long = format!("/{}", "x".repeat(2000));
    for (method, path, expected) in [
        ("GET", "/nothing", 404),
        ("GET", "/v1/clusters/", 404),
        ("GET", "/v1/clusters/payments", 404),
        ("GET", "/v1/clusters/orders/members", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/v1/clusters/orders", 405),
        ("GET", long.as_str(), 414),
    ] {
        let (status, head, body) = ask(server.address, method, path).await;
        assert_eq!(status, expected, "{method} {path}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], expected);
        assert!(!body["detail"].as_str().unwrap().is_empty());
        assert_eq!(expected == 405, head.contains("allow: get, head"), "{head}");
    }
}

#[tokio::test]
async fn garbage_is_refused_and_harms_nobody() {
    let server = start(Limits::default()).await;
    let text = raw(server.address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text:?}");
    // A head that never ends.
    let mut endless = b"GET / HTTP/1.1\r\n".to_vec();
    endless.extend(std::iter::repeat_n(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", 5000).flatten());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close while it is still being written.
    let _ = stream.write_all(&endless).await;
    let text = read_all(&mut stream).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text:?}");
    // A Kafka client that took the wrong port: a length and an ApiVersions request.
    let text =
        raw(server.address, b"\x00\x00\x00\x10\x00\x12\x00\x03\x00\x00\x00\x01\x00\x04test\x00\x00").await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text:?}");
    assert_eq!(ask(server.address, "GET", "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_connection_is_kept_for_more_requests_and_others_are_served_beside_it() {
    let server = start(Limits::default()).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        for stream in [&mut first, &mut second] {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let mut text = String::new();
            while !text.ends_with("\r\n\r\nok\n") {
                let mut buf = [0; 512];
                let n = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buf))
                    .await
                    .unwrap()
                    .unwrap();
                assert_ne!(n, 0, "closed after {text:?}");
                text.push_str(std::str::from_utf8(&buf[..n]).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let head = Duration::from_millis(500);
    let server = start(Limits { head, ..Limits::default() }).await;
    let began = Instant::now();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
    let text = read_all(&mut slow).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text:?}");
    assert!(began.elapsed() >= head);
    assert_eq!(server.admin.own.refused.get(AdminRefusal::GaveWay).get(), 0);
}

/// Whoever asks is served, however many say nothing, or half a head, or have asked and stay.
#[tokio::test]
async fn those_that_are_waited_for_give_way() {
    for door in [Door::control(&config::Admin::default()).unwrap(), Door::metrics()] {
        let server = behind(door, Limits::default()).await;
        let mut idle = Vec::new();
        for round in 0..60 {
            for said in [&b""[..], b"GET /hea", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n"]
            {
                let mut stream = TcpStream::connect(server.address).await.unwrap();
                stream.write_all(said).await.unwrap();
                idle.push(stream);
            }
            assert_eq!(ask(server.address, "GET", "/healthz").await.0, 200, "{round}");
        }
        let refused = &server.admin.own.refused;
        assert_eq!(refused.get(AdminRefusal::Full).get(), 0);
        let gave_way = refused.get(AdminRefusal::GaveWay).get();
        assert!((100..=240).contains(&gave_way), "{gave_way}");
        assert!(server.admin.own.connections.get() <= 64 + 1);
    }
}

#[tokio::test]
async fn what_is_being_answered_gives_way_to_nobody() {
    let server = start(Limits { connections: 1, ..Limits::default() }).await;
    server.orders.sessions.store(1, Relaxed);
    let mut hook = TcpStream::connect(server.address).await.unwrap();
    let drain = "GET /v1/hooks/prestop?cluster=orders&member=zk-1:2181&timeout_s=60 HTTP/1.1\r\nHost: localhost\r\n\
                 Evenkeel-Client: test\r\nConnection: close\r\n\r\n";
    hook.write_all(drain.as_bytes()).await.unwrap();
    while server.orders.drains.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let healthz = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for told in 1..=3 {
        let text = raw(server.address, healthz).await;
        assert!(text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 1"), "{text}");
        assert!(text.ends_with("\r\n\r\nall connections are in use\n"), "{text}");
        assert_eq!(server.admin.own.refused.get(AdminRefusal::Full).get(), told);
    }
    server.orders.sessions.store(0, Relaxed);
    let text = read_all(&mut hook).await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert_eq!(ask(server.address, "GET", "/healthz").await.0, 200);
    assert_eq!(server.admin.own.refused.get(AdminRefusal::GaveWay).get(), 0);
}

#[tokio::test]
async fn a_peer_that_never_reads_cannot_stay() {
    let lifetime = Duration::from_millis(200);
    let server = start(Limits { connections: 1, lifetime, ..Limits::default() }).await;
    let mut deaf = TcpStream::connect(server.address).await.unwrap();
    // More answers than any socket buffer takes; the writes end when the server stops reading.
    let requests = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3000);
    let _ = tokio::time::timeout(Duration::from_secs(2), deaf.write_all(&requests)).await;
    let until = Instant::now() + Duration::from_secs(30);
    while ask(server.address, "GET", "/healthz").await.0 != 200 {
        assert!(Instant::now() < until, "it holds its slot");
    }
}

#[tokio::test]
async fn the_drain_lets_nothing_wait() {
    let server = start(Limits::default()).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /hea").await.unwrap();
    assert_eq!(ask(server.address, "GET", "/healthz").await.0, 200);
    assert_eq!(server.trigger.drain(Duration::from_secs(20)).await, DrainOutcome::Drained);
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is still open");
}
