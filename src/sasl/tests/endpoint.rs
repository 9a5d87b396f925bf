//! Tokens got from an endpoint by client credentials.

use super::*;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

mod outage;

/// What an endpoint was asked.
type Heard = Arc<std::sync::Mutex<Vec<String>>>;

/// Answers each request, the first of which is number 1, with what `says` gives (see [`hand_out`]), and tells what it was asked.
async fn answering(says: impl Fn(usize) -> (&'static str, u32) + Send + Sync + 'static) -> (String, Heard) {
    let (listener, at) = listen("http").await;
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            hand_out(stream, &told, &says).await;
        }
    });
    (at, heard)
}

/// Hands out `token-1`, `token-2`, …, each for one second, and tells what it was asked; every second time it is out of order if told.
async fn endpoint(fails: bool) -> (String, Heard) {
    answering(move |number| (if fails && number.is_multiple_of(2) { "503 Busy" } else { "200 OK" }, 1)).await
}

async fn listen(scheme: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("{scheme}://{}/oauth2/token", listener.local_addr().unwrap());
    (listener, at)
}

/// Answers one request, the first of which is number 1, with what `says` gives: a status, and for how many seconds its token lasts.
async fn hand_out(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    heard: &Heard,
    says: impl FnOnce(usize) -> (&'static str, u32),
) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"scope=a+b") {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
    }
    let number = {
        let mut told = heard.lock().unwrap();
        told.push(String::from_utf8(bytes).unwrap());
        told.len()
    };
    let (status, lasts) = says(number);
    let body =
        format!("{{\"access_token\":\"token-{number}\",\"token_type\":\"Bearer\",\"expires_in\":{lasts}}}");
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

fn client(folder: &Folder, at: &str) -> Arc<Keeper> {
    client_with(folder, at, "")
}

fn client_with(folder: &Folder, at: &str, more: &str) -> Arc<Keeper> {
    let secret = folder.write("secret", "s3cret:&\n");
    let text = format!(
        "[[kafka]]\nname = \"k\"\nlisten = \"127.0.0.1:1\"\nbootstrap = [\"b:1\"]\nbroker_ports = \"2-3\"\n\
         [kafka.sasl]\nmechanism = \"OAUTHBEARER\"\ntoken_endpoint = \"{at}\"\nclient_id = \"me\"\nscope = \"a b\"\n\
         client_secret_file = '{}'\n{more}",
        secret.display()
    );
    keeper(config::parse(&text, "f", []).unwrap().kafka.remove(0).sasl)
}

#[tokio::test]
async fn tokens_are_got_once_for_all_and_anew_before_they_end() {
    let folder = Folder::new();
    let (at, asked) = endpoint(false).await;
    let keeper = client(&folder, &at);
    let shown = || async { keeper.exchange().await.unwrap().unwrap().first().expose().to_vec() };
    let (a, b, c) = tokio::join!(shown(), shown(), shown());
    assert!(a == b && b == c && a == b"n,,\x01auth=Bearer token-1\x01\x01");
    let first = asked.lock().unwrap()[0].to_ascii_lowercase();
    assert!(first.starts_with("post /oauth2/token http/1.1\r\n"), "{first}");
    assert!(first.contains("grant_type=client_credentials&scope=a+b"), "{first}");
    // me:s3cret%3A%26
    assert!(asked.lock().unwrap()[0].contains("Basic bWU6czNjcmV0JTNBJTI2\r\n"), "{first}");
    // Nobody asks, and yet there is another before this one ends.
    let until = Instant::now() + Duration::from_secs(20);
    while asked.lock().unwrap().len() < 2 {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let later = shown().await;
    assert_ne!(later, a);
    // One that a server has refused is not shown again.
    keeper.refused();
    assert_ne!(shown().await, later);
}

#[tokio::test]
async fn an_encrypted_endpoint_gets_the_secret_if_it_can_be_trusted() {
    let folder = Folder::new();
    let [own, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap());
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let settings = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let settings = settings.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor =
        TlsAcceptor::from(Arc::new(settings.with_single_cert(vec![own.cert.der().clone()], key).unwrap()));
    let (listener, at) = listen("https").await;
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                hand_out(stream, &told, |_| ("200 OK", 1)).await;
            }
        }
    });
    let trusting = |name: &str, pem: String| {
        client_with(&folder, &at, &format!("token_ca = '{}'", folder.write(name, &pem).display()))
    };
    let told = trusting("other.pem", other.cert.pem()).exchange().await.unwrap_err().to_string();
    assert!(told.contains(&format!("no token from {at}: ")) && told.contains("other.pem"), "{told}");
    assert!(heard.lock().unwrap().is_empty(), "the secret was shown to a stranger");
    let exchange = trusting("own.pem", own.cert.pem()).exchange().await.unwrap().unwrap();
    assert_eq!(exchange.first().expose(), b"n,,\x01auth=Bearer token-1\x01\x01");
    assert!(heard.lock().unwrap()[0].contains("Basic bWU6czNjcmV0JTNBJTI2\r\n"));
}

#[tokio::test]
async fn a_token_lasts_while_no_other_can_be_got() {
    let folder = Folder::new();
    let (at, asked) = endpoint(true).await;
    let keeper = client(&folder, &at);
    let shown = || async { keeper.exchange().await.map(|e| e.unwrap().first().expose().to_vec()) };
    let first = shown().await.unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while asked.lock().unwrap().len() < 2 {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let now = shown().await;
    // Either it still lasts, or its second was over and the third was got.
    assert!(now.as_ref().is_ok_and(|now| *now == first) || asked.lock().unwrap().len() > 2, "{now:?}");
}
