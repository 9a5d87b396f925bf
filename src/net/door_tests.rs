//! A door with few turns: peers that say nothing, that say half, and a crowd that comes at once from far away.

use super::*;
use crate::lifecycle::drain::{self, DrainTrigger};
use crate::metrics::{KafkaMetrics, Metrics};
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// The beginning of a record of TLS, and no more.
const HALF: &[u8] = &[22, 3, 1, 2, 0, 1];
/// So long it takes until what a client of the crowd sends is here, and the answer there.
const FAR: Duration = Duration::from_millis(100);

struct House {
    door: Arc<Door>,
    listener: TcpListener,
    folder: PathBuf,
    options: Options,
    connector: TlsConnector,
    metrics: Arc<KafkaMetrics>,
    drain: Drain,
    _trigger: DrainTrigger,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl House {
    /// Whose door has so many turns, with a clock that is paused.
    async fn new(name: &str, at_once: usize) -> Self {
        crate::time::go_on(Duration::from_millis(5));
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = std::env::temp_dir().join(format!("evenkeel-door-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = (folder.join("listen.pem"), folder.join("listen.key"));
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let options = Options { enabled: true, ca: None, certificate: Some(certificate), key: Some(key) };
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone()).unwrap();
        let settings = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
        let settings = settings.with_safe_default_protocol_versions().unwrap();
        let settings = settings.with_root_certificates(roots).with_no_client_auth();
        let (trigger, drain) = drain::new();
        Self {
            door: Arc::new(Door::of(at_once)),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            folder,
            options,
            connector: TlsConnector::from(Arc::new(settings)),
            metrics: Metrics::new().kafka("k"),
            drain,
            _trigger: trigger,
        }
    }

    fn count(&self, outcome: ClientHandshake) -> u64 {
        self.metrics.client_handshakes.get(outcome).get()
    }

    /// A client that comes, and whether it is let in.
    async fn knock(&self) -> (TcpStream, JoinHandle<bool>) {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        let (ours, peer) = self.listener.accept().await.unwrap();
        let (door, options, drain, metrics) =
            (Arc::clone(&self.door), self.options.clone(), self.drain.clone(), Arc::clone(&self.metrics));
        let entering = tokio::spawn(async move {
            door.enter(ours, peer, options, &drain, &metrics.client_handshakes).await.is_some()
        });
        (client, entering)
    }

    /// One that says this.
    async fn say(&self, words: &[u8]) -> (TcpStream, JoinHandle<bool>) {
        let (mut client, entering) = self.knock().await;
        client.write_all(words).await.unwrap();
        (client, entering)
    }

    /// One that comes from far away, and does all that it should.
    async fn come(&self) -> JoinHandle<bool> {
        let (client, entering) = self.knock().await;
        let connector = self.connector.clone();
        tokio::spawn(async move {
            let _ = connector.connect("localhost".try_into().unwrap(), far(client)).await;
        });
        entering
    }
}

/// The other end of a long way to `stream`.
fn far(stream: TcpStream) -> DuplexStream {
    let (end, ours) = duplex(64 * 1024);
    let (said, heard) = split(ours);
    let (answers, questions) = stream.into_split();
    tokio::spawn(late(said, questions));
    tokio::spawn(late(answers, heard));
    end
}

async fn late(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        sleep(FAR).await;
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silent_ones_take_no_turn_and_the_oldest_handshake_gives_way() {
    let house = House::new("turns", 2).await;
    let mut knocking = Vec::new();
    for said in [&b""[..], HALF, b"", HALF, b""] {
        let (client, entering) = house.say(said).await;
        knocking.push((client, entering, said.is_empty()));
    }
    // Both turns are taken; two that say what isn't TLS are told so soon, and the two take turns no more.
    for given in 1..=2 {
        let (_client, entering) = house.say(b"GET / HTTP/1.1\r\n\r\n").await;
        let entered = tokio::time::timeout(HANDSHAKE / 2, entering).await.expect("it waits for its turn");
        assert!(!entered.unwrap());
        while house.count(ClientHandshake::GaveWay) < 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!((house.count(ClientHandshake::NotTls), house.count(ClientHandshake::GaveWay)), (given, 1));
    }
    let ended = knocking.iter().filter(|(_, entering, _)| entering.is_finished()).count();
    assert_eq!(ended, 1, "the silent ones have lost nothing");
    for (mut client, entering, is_silent) in knocking {
        if entering.is_finished() {
            assert!(!is_silent && client.read(&mut [0; 64]).await.is_ok_and(|read| read == 0));
        }
        entering.abort();
    }
}

/// All applications connect at once when a sidecar is back: who is a round trip away must not lose its turn to the next.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_at_once_gets_in_though_some_hang() {
    let house = House::new("crowd", 4).await;
    let mut hanging = Vec::new();
    for _ in 0..2 {
        hanging.push(house.say(HALF).await);
    }
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(house.come().await);
    }
    for entering in crowd {
        assert!(entering.await.unwrap());
    }
    assert_eq!((house.count(ClientHandshake::Full), house.count(ClientHandshake::GaveWay)), (40, 2));
    assert!(hanging.iter().all(|(_, entering)| entering.is_finished()));
}
