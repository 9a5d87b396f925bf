//! SASL with DIGEST-MD5: Evenkeel's own on each connection, and clients that prove themselves to it.
//!
//! Servers here judge with a digest of their own (RFC 2831, section 2.1.2.1, for the one exchange that there is), and send away whoever asks
//! for anything before (`sessionRequireClientSASLAuth`).

use crate::bed::Bed;
use crate::client::{Client, LONG, hello};
use crate::fake::{Conn, Fake};
use crate::make::*;
use bytes::Bytes;
use evenkeel::zookeeper::wire::{Reader, Writer};
use md5::{Digest, Md5};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

pub const USER: &str = "evenkeel";
pub const WORD: &str = "hunter2";
const URI: &str = "zookeeper/zk-sasl-md5";

fn md5(parts: &[&[u8]]) -> Vec<u8> {
    Md5::digest(parts.concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn response(who: (&str, &str), nonce: &str, cnonce: &str, method: &str) -> String {
    response_for(who, nonce, (cnonce, ""), method)
}

/// `acts`: a colon and for whom it acts, or nothing.
fn response_for(
    (user, word): (&str, &str),
    nonce: &str,
    (cnonce, acts): (&str, &str),
    method: &str,
) -> String {
    let secret = md5(&[format!("{user}:zk-sasl-md5:{word}").as_bytes()]);
    let one = hex(&md5(&[&secret, format!(":{nonce}:{cnonce}{acts}").as_bytes()]));
    let two = hex(&md5(&[format!("{method}:{URI}").as_bytes()]));
    hex(&md5(&[format!("{one}:{nonce}:00000001:{cnonce}:auth:{two}").as_bytes()]))
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("{key}="))?;
    Some(rest.split(',').next()?.trim_matches('"'))
}

fn said(token: &[u8]) -> Vec<u8> {
    Writer::record().buffer(Some(token)).finish().to_vec()
}

/// A server's part: the body of its answer, or nothing if it refuses.
pub fn step(conn: &mut Conn, payload: &[u8], wanted: (&str, &str)) -> Option<Vec<u8>> {
    let token = Reader::new(payload).buffer("token").unwrap().unwrap_or_default();
    let Some(nonce) = conn.nonce.take() else {
        assert!(token.is_empty() && conn.proved.is_none(), "an exchange begins with nothing, once");
        let nonce = format!("n{}", conn.session);
        let challenge = format!("realm=\"zk-sasl-md5\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
        conn.nonce = Some(nonce);
        return Some(said(challenge.as_bytes()));
    };
    let text = std::str::from_utf8(token).unwrap();
    let cnonce = value(text, ",cnonce")?;
    assert_eq!((value(text, "digest-uri"), value(text, "qop")), (Some(URI), Some("auth")), "{text}");
    let is_right = value(text, "username") == Some(wanted.0)
        && value(text, "response") == Some(&response(wanted, &nonce, cnonce, "AUTHENTICATE"));
    conn.proved = is_right.then(|| wanted.0.to_owned());
    is_right.then(|| said(format!("rspauth={}", response(wanted, &nonce, cnonce, "")).as_bytes()))
}

/// A file of a password, which is removed at the end.
pub struct File(PathBuf);

impl File {
    pub fn new(name: &str, text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("evenkeel-{}-{name}", std::process::id())));
        file.put(text);
        file
    }

    fn put(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    pub fn keys(&self) -> String {
        format!("sasl.username = \"{USER}\"\nsasl.password_file = \"{}\"\n", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn fake(servers: u8) -> Fake {
    let fake = Fake::start(servers).await;
    for id in fake.ids() {
        fake.server(id, |server| server.wants = Some((USER, WORD)));
    }
    fake
}

async fn bed(servers: u8, name: &str, keys: &str) -> (Bed, File) {
    let file = File::new(name, &format!("{WORD}\n"));
    let bed = Bed::over(fake(servers).await, "", &format!("{}{keys}", file.keys())).await;
    bed.ready().await;
    (bed, file)
}

fn proved(bed: &Bed, client: &Client) -> Option<String> {
    let world = bed.fake.world();
    world.conns.get(&world.sessions[&client.session].owner).and_then(|conn| conn.proved.clone())
}

/// The tokens of a client's own exchange: challenge or last word, and the error.
async fn exchange(client: &mut Client, token: &[u8]) -> (i32, String) {
    let payload = Writer::record().buffer(Some(token)).finish();
    client.send(SASL, &payload).await;
    let before = client.authenticated.len();
    client.until("the answer", |client| client.authenticated.len() > before).await;
    let text = Reader::new(&client.token).buffer("token").ok().flatten().unwrap_or_default();
    (client.authenticated.last().unwrap().1, String::from_utf8_lossy(text).into_owned())
}

async fn prove(client: &mut Client, user: &str, word: &str) -> (i32, bool) {
    prove_for(client, user, word, None).await
}

/// As Java's client, which says for whom it acts.
async fn prove_for(client: &mut Client, user: &str, word: &str, acts_for: Option<&str>) -> (i32, bool) {
    let (err, challenge) = exchange(client, b"").await;
    assert_eq!(err, 0);
    let nonce = value(&challenge, "nonce").unwrap();
    let (digested, said) = match acts_for {
        Some(other) => (format!(":{other}"), format!(",authzid=\"{other}\"")),
        None => (String::new(), String::new()),
    };
    let digest = response_for((user, word), nonce, ("c1", &digested), "AUTHENTICATE");
    let answer = format!(
        "charset=utf-8,username=\"{user}\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,cnonce=\"c1\",\
         digest-uri=\"{URI}\",maxbuf=65536,response={digest},qop=auth{said}"
    );
    let (err, last) = exchange(client, answer.as_bytes()).await;
    (err, value(&last, "rspauth") == Some(&response_for((user, word), nonce, ("c1", &digested), "")))
}

/// Each connection proves whose it is before anything is asked on it, wherever a session goes, and its client has nothing to do with it.
#[tokio::test]
async fn sessions_are_evenkeels_on_each_server() {
    let (bed, _file) = bed(2, "own", "").await;
    let mut client = bed.client_on(2).await;
    assert_eq!(proved(&bed, &client).as_deref(), Some(USER));
    client.did(CREATE, &create("/a", "", EPHEMERAL)).await;
    client.send_as(-4, AUTH, &auth("a:1")).await;
    client.until("the answer", |client| client.authenticated == [(-4, 0)]).await;

    bed.fake.forget();
    bed.fake.script(2, GET_DATA, crate::fake::Act::Close);
    client.did(GET_DATA, &read("/a", true)).await;
    assert_eq!(bed.on(&client), 1);
    assert_eq!(proved(&bed, &client).as_deref(), Some(USER));
    assert_eq!(bed.fake.codes(), [GET_DATA, SASL, SASL, AUTH, GET_DATA]);

    bed.fake.forget();
    bed.drained(1).await;
    assert_eq!((bed.on(&client), proved(&bed, &client).as_deref()), (2, Some(USER)));
    let codes: Vec<i32> = bed.fake.seen(SASL).iter().map(|seen| i32::from(seen.server)).collect();
    assert_eq!(codes, [2, 2]);
    bed.drain(1, false).await; // it leads, and writes wait for its end
    client.did(SET_DATA, &set_data("/a", "x", 0)).await;
    client.until("its watch", |client| client.events.len() == 1).await;
    assert_eq!(client.authenticated.len(), 1, "it was told nothing of SASL");
    bed.end(client).await;
}

/// Before any client comes it is known which server doesn't accept the credentials; the others serve. And when it does, it serves, too.
#[tokio::test]
async fn a_server_with_another_password_is_avoided_and_told() {
    let fake = fake(2).await;
    fake.server(2, |server| server.wants = Some((USER, "another")));
    let file = File::new("other", WORD);
    let bed = Bed::over(fake, "", &file.keys()).await;
    let state = |status: &serde_json::Value, at: usize| status["members"][at]["state"].clone();
    bed.until("one up, one down", |status| state(status, 0) == "up" && state(status, 1) == "down").await;
    let denied = format!("member=\"{}\",outcome=\"sasl\"", bed.fake.addr(2));
    bed.counted("upstream_connect_total", &denied, 1.0).await;
    for _ in 0..3 {
        let mut client = bed.client().await;
        client.did(GET_DATA, &read("/", false)).await;
        assert_eq!(bed.on(&client), 1);
        bed.fake.expire(client.session);
    }
    // Its own session moves nowhere meanwhile; another one's server goes, and there is one that changes its mind.
    let mut client = bed.client().await;
    bed.fake.server(2, |server| server.wants = Some((USER, WORD)));
    bed.fake.down(1).await;
    client.did(GET_DATA, &read("/", false)).await;
    assert_eq!(bed.on(&client), 2);
    bed.end(client).await;
}

/// A wrong password: nobody is served, nobody is told more than that, and servers are not stormed. When the file is right, all is.
#[tokio::test]
async fn a_wrong_password_is_no_storm_and_is_read_again() {
    let fake = fake(2).await;
    let file = File::new("wrong", "hunter3-wrong\n");
    let bed = Bed::over(fake, "", &file.keys()).await;
    bed.counted("upstream_connect_total", "outcome=\"sasl\"", 2.0).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let listen = bed.listen;
        clients.push(tokio::spawn(async move {
            let mut client = Client::connect(listen).await;
            client.greet(hello(LONG, Some(false))).await.map(|_| client)
        }));
    }
    let began = bed.fake.attaches().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let attempts = bed.fake.attaches().len() - began;
    // One for all at a time, at two servers with pauses that grow to a second: about fifteen.
    assert!(attempts < 60, "{attempts} attaches in 2 s");
    let told = bed.http("GET", "/v1/clusters/z").await.1 + &bed.http("GET", "/metrics").await.1;
    assert!(!told.contains("hunter"), "a password is shown");
    file.put(WORD);
    let mut served = 0;
    for client in clients {
        if let Some(mut client) = client.await.unwrap() {
            client.did(GET_DATA, &read("/", false)).await;
            served += 1;
        }
    }
    assert_eq!(served, 20);
    bed.settled().await;
}

/// A client with the same credentials is answered here, and its connection outlives its server.
#[tokio::test]
async fn a_client_that_proves_itself_outlives_its_server() {
    for acts_for in [None, Some(USER)] {
        let (bed, _file) = bed(2, "client", "").await;
        let mut client = bed.client_on(2).await;
        let before = bed.fake.seen(SASL).len();
        assert_eq!(prove_for(&mut client, USER, WORD, acts_for).await, (0, true), "{acts_for:?}");
        assert_eq!(bed.fake.seen(SASL).len(), before, "its server has nothing to do with it");
        assert_eq!(bed.metric("zookeeper_client_sasl_total", "fate=\"answered\"").await, 1.0);
        bed.fake.hang_up(2);
        client.did(GET_DATA, &read("/", false)).await;
        assert_eq!(bed.on(&client), 1);
        bed.end(client).await;
    }
}

/// Another's credentials, a wrong password, another mechanism, a forged answer: `AUTH_FAILED` and the end, as a server does it.
#[tokio::test]
async fn a_client_that_is_somebody_else_is_refused() {
    let (bed, _file) = bed(1, "stranger", "").await;
    for (user, word) in [("bob", WORD), (USER, "hunter3"), ("", "")] {
        let mut client = bed.client().await;
        assert_eq!(prove(&mut client, user, word).await, (-115, false), "{user} {word}");
        client.closed().await;
    }
    let mut client = bed.client().await;
    assert_eq!(
        prove_for(&mut client, USER, WORD, Some("bob")).await,
        (-115, false),
        "it is another's session that it wants"
    );
    client.closed().await;
    for token in [&b"\x60\x82\x01\x02"[..], b"username=\"x\""] {
        let mut client = bed.client().await;
        assert_eq!(exchange(&mut client, token).await.0, -115);
        client.closed().await;
    }
    assert_eq!(bed.metric("zookeeper_client_sasl_total", "fate=\"refused\"").await, 6.0);
    assert_eq!(bed.metric("zookeeper_lease_closes_total", "reason=\"auth\"").await, 6.0);
    let mut client = bed.client().await;
    assert_eq!(prove(&mut client, USER, WORD).await, (0, true), "others are not disturbed");
    bed.end(client).await;
}

/// Without credentials of our own the server judges, and what it says is passed on.
#[tokio::test]
async fn without_credentials_the_server_judges() {
    let bed = Bed::over(fake(2).await, "", "").await;
    bed.ready().await;
    let mut client = bed.client_on(2).await;
    assert_eq!(prove(&mut client, USER, WORD).await, (0, true));
    assert_eq!(proved(&bed, &client).as_deref(), Some(USER));
    client.did(GET_DATA, &read("/", false)).await;
    assert_eq!(bed.metric("zookeeper_client_sasl_total", "fate=\"passed\"").await, 1.0);
    bed.fake.hang_up(2);
    client.closed().await;
    bed.end(client).await;
    let mut client = bed.client_on(2).await;
    let refused: Bytes = read("/", false);
    assert_eq!(client.ask(GET_DATA, &refused).await.err, -124, "who says nothing is sent away by the server");
    client.closed().await;
}

/// Nobody can prove elsewhere what the client has proved to a server that is drained: the drain closes it when all others have left, and
/// ends. It comes back and goes elsewhere.
#[tokio::test]
async fn a_drain_ends_though_a_client_has_proved_itself_to_the_server() {
    let bed = Bed::over(fake(2).await, "", "").await;
    bed.ready().await;
    let mut client = bed.client_on(2).await;
    assert_eq!(prove(&mut client, USER, WORD).await, (0, true));
    assert_eq!(bed.drain(2, true).await, 202);
    let request = client.again();
    client.closed().await;
    assert_eq!(bed.metric("zookeeper_lease_closes_total", "reason=\"auth\"").await, 1.0);
    bed.drained(2).await;
    let mut client = Client::connect(bed.listen).await;
    client.greet(request).await.expect("the same session");
    assert_eq!(prove(&mut client, USER, WORD).await, (0, true));
    assert_eq!(bed.on(&client), 1);
    bed.end(client).await;
}
