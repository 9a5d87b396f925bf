//! Both sides against the examples of the RFCs, against each other, and against others who don't keep to the rules.

use super::exchange::Exchange;
use super::scram::{Client, Hash, KeyCache, Keys, Known, Server as Scram};
use super::*;
use crate::config::{self, Mechanism, Secret};
use crate::dns::{DnsOptions, Resolver};
use crate::net::ConnectOptions;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

mod endpoint;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

fn pencil(hash: Hash) -> Client {
    Client::new(hash, "user", Secret::new("pencil"), KeyCache::default(), NONCE.to_owned())
}

/// RFC 7677, section 3; and the same with SHA-512, as Python's hashlib has it.
#[test]
fn the_examples_come_out() {
    let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=";
    for (hash, proof, signature) in [
        (
            Hash::Sha256,
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
        (
            Hash::Sha512,
            "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==",
            "ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==",
        ),
    ] {
        let mut client = pencil(hash);
        assert_eq!(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(client.prove(FIRST.as_bytes()).unwrap(), format!("{last}{proof}").into_bytes());
        assert_eq!(client.check(format!("v={signature}").as_bytes()), Ok(()));
        assert_eq!(client.check(format!("v={signature},x=1").as_bytes()), Ok(()));
        let other = signature.replacen(['6', 'Z'], "A", 1);
        assert_eq!(client.check(format!("v={other}").as_bytes()), Err(SaslError::Impostor));
        assert_eq!(client.check(b"v="), Err(SaslError::Impostor));
    }
}

#[test]
fn servers_that_do_not_keep_to_the_rules_get_no_proof() {
    let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
    for (challenge, why) in [
        (String::new(), "wants a nonce"),
        ("r=other,s=QQ==,i=4096".to_owned(), "not a longer one of ours"),
        (format!("r={NONCE},{salt},i=4096"), "not a longer one of ours"),
        (format!("r={NONCE}x,{salt},i=4095"), "asks for 4095 iterations"),
        (format!("r={NONCE}x,{salt},i=1"), "asks for 1 iterations"),
        (format!("r={NONCE}x,{salt},i=0"), "asks for 0 iterations"),
        (format!("r={NONCE}x,{salt},i=65537"), "asks for 65537 iterations"),
        (format!("r={NONCE}x,{salt},i=4000000000"), "asks for 4000000000 iterations"),
        (format!("r={NONCE}x,{salt},i=99999999999"), "wants a nonce"),
        (format!("r={NONCE}x,{salt}"), "wants a nonce"),
        (format!("r={NONCE}x,s=?,i=4096"), "wants a nonce"),
        (format!("m=x,r={NONCE}x,{salt},i=4096"), "wants a nonce"),
        ("e=unknown-user".to_owned(), "it says: unknown-user"),
    ] {
        let mut client = pencil(Hash::Sha256);
        let error = client.prove(challenge.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{challenge}: {error}");
        assert!(client.check(b"v=AAAA").is_err(), "the end comes first");
    }
    assert!(pencil(Hash::Sha256).prove(&[0xff, b',']).is_err());
    let mut client = pencil(Hash::Sha256);
    client.prove(FIRST.as_bytes()).unwrap();
    assert_eq!(client.check(b"e=invalid-proof"), Err(SaslError::Refused("invalid-proof".to_owned())));
    assert!(client.check(b"").is_err());
}

fn known(hash: Hash, user: &str, password: &str) -> Known {
    let (salt, iterations) = (b"salt".to_vec(), NonZeroU32::new(4096).unwrap());
    let keys = Arc::new(Keys::new(hash, &Secret::new(password), &salt, iterations));
    Known { user: user.to_owned(), keys, salt, iterations }
}

#[test]
fn both_sides_agree_on_who_is_who() {
    for hash in [Hash::Sha256, Hash::Sha512] {
        for (user, password, fine) in [
            ("a,b=c", "pa,ss=word", true),
            ("a,b=c", "pa,ss=worD", false),
            ("a,b=C", "pa,ss=word", false),
            ("", "", false),
        ] {
            let mut server = Scram::new(hash, known(hash, "a,b=c", "pa,ss=word"));
            let password = Secret::new(password);
            let mut client = Client::new(hash, user, password, KeyCache::default(), "mine".to_owned());
            let challenge = server.challenge(&client.first(), "theirs").unwrap();
            let proof = client.prove(&challenge).unwrap();
            match server.decide(&proof).unwrap() {
                Some(last) => {
                    assert!(fine, "{user}");
                    assert_eq!(client.check(&last), Ok(()));
                }
                None => assert!(!fine, "{user}"),
            }
            assert!(server.decide(&proof).is_err(), "a proof is taken once");
        }
    }
}

#[test]
fn clients_that_do_not_keep_to_the_rules_are_not_let_in() {
    let server = || Scram::new(Hash::Sha256, known(Hash::Sha256, "user", "pencil"));
    for first in ["", "n,,", "n,,n=user", "n,,n=user,r=", "p=tls-unique,,n=user,r=x", "n,,n=a=zzb,r=x", "n"] {
        assert!(server().challenge(first.as_bytes(), "n").is_err(), "{first}");
    }
    for (first, last) in [
        ("n,,n=user,r=x", ""),
        ("n,,n=user,r=x", "c=biws,r=xn"),
        ("n,,n=user,r=x", "c=biws,r=yn,p=AAAA"),
        ("n,,n=user,r=x", "c=eSws,r=xn,p=AAAA"),
        ("n,,n=user,r=x", "c=biws,r=xn,p=?"),
    ] {
        let mut server = server();
        server.challenge(first.as_bytes(), "n").unwrap();
        assert!(server.decide(last.as_bytes()).is_err(), "{last}");
    }
    let mut short = server();
    short.challenge(b"n,,n=user,r=x", "n").unwrap();
    assert_eq!(short.decide(b"c=biws,r=xn,p=").unwrap(), None);
    assert!(server().decide(b"c=biws,r=xn,p=AAAA").is_err(), "a proof without a question");
}

#[test]
fn plain_is_one_message() {
    let exchange = Exchange::plain("user", &Secret::new("p\u{e4}ss"));
    assert_eq!(exchange.first().expose(), "\0user\0p\u{e4}ss".as_bytes());
    assert_eq!(exchange.to_string(), "PLAIN as \"user\"");
    let password = Secret::new("pencil");
    for (message, expected) in [
        (&b"\0user\0pencil"[..], Ok(Served::Welcome(Vec::new()))),
        (b"user\0user\0pencil", Ok(Served::Welcome(Vec::new()))),
        (b"admin\0user\0pencil", Ok(Served::Refused)),
        (b"\0user\0pencils", Ok(Served::Refused)),
        (b"\0other\0pencil", Ok(Served::Refused)),
        (b"\0user\0", Ok(Served::Refused)),
    ] {
        assert_eq!(Server::plain("user", &password).next(message), expected);
    }
    for message in [&b""[..], b"user", b"\0user", b"\0user\0pencil\0"] {
        assert!(Server::plain("user", &password).next(message).is_err());
    }
}

#[test]
fn tokens_are_shown_whole_and_an_objection_is_told() {
    let mut exchange = Exchange::bearer(&Secret::new("abc.def"));
    assert_eq!(exchange.first().expose(), b"n,,\x01auth=Bearer abc.def\x01\x01");
    assert!(matches!(exchange.next(b""), Ok(None)));
    let objection = br#"{"status":"invalid_token","scope":"x"}"#;
    assert_eq!(exchange.next(objection).unwrap().unwrap().expose(), b"\x01");
    assert_eq!(exchange.next(b"").unwrap_err(), SaslError::Refused("invalid_token".to_owned()));
    let shown = Exchange::shown(Mechanism::Plain, Secret::new("\0someone\0x")).unwrap();
    assert_eq!(shown.identity(), (Mechanism::Plain, Some("someone")));
    assert!(Exchange::shown(Mechanism::ScramSha256, Secret::new("n,,")).is_none());
}

#[test]
fn the_end_of_a_signed_token_is_read() {
    use base64::Engine as _;
    let token = |claims: &str| {
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
        Secret::new(format!("e30.{claims}.sig"))
    };
    let now = Duration::from_secs(1000);
    assert_eq!(bearer::lasts(&token(r#"{"exp":1060}"#), now), Some(Duration::from_secs(60)));
    assert_eq!(bearer::lasts(&token(r#"{"exp":10}"#), now), Some(Duration::ZERO));
    for claims in ["{}", r#"{"exp":"x"}"#, r#"{"exp":-1}"#, r#"{"exp":1e300}"#, "x"] {
        assert_eq!(bearer::lasts(&token(claims), now), None, "{claims}");
    }
    assert_eq!(bearer::lasts(&Secret::new("opaque"), now), None);
}

/// A folder of its own, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("evenkeel-sasl-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn keeper(options: config::Sasl) -> Arc<Keeper> {
    let timeout = Duration::from_secs(20);
    let servers = vec!["127.0.0.1:1".parse().unwrap()];
    let resolver =
        Resolver::new(DnsOptions { servers, min_ttl: Duration::ZERO, timeout: Duration::from_secs(1) }, None);
    let stagger = Duration::from_millis(50);
    let connect = ConnectOptions { timeout, stagger, keepalive: timeout, user_timeout: timeout };
    Keeper::new(options, resolver.unwrap(), connect)
}

fn password(file: &Path, mechanism: Mechanism) -> config::Sasl {
    config::Sasl {
        mechanism: Some(mechanism),
        username: Some("user".to_owned()),
        password_file: Some(file.to_owned()),
        ..config::Sasl::default()
    }
}

#[tokio::test]
async fn a_changed_password_is_used_and_an_unusable_one_is_not() {
    let folder = Folder::new();
    let file = folder.write("password", "one\n");
    let keeper = keeper(password(&file, Mechanism::Plain));
    let shown = || async { keeper.exchange().await.unwrap().unwrap().first().expose().to_vec() };
    assert_eq!(shown().await, b"\0user\0one");
    folder.write("password", "two\n");
    assert_eq!(shown().await, b"\0user\0two");
    assert_eq!(
        keeper.server(Mechanism::Plain).unwrap().next(b"\0user\0two"),
        Ok(Served::Welcome(Vec::new()))
    );
    folder.write("password", "");
    assert_eq!(shown().await, b"\0user\0two", "an empty file changes nothing");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(shown().await, b"\0user\0two", "nor does one that is gone");
    folder.write("password", "three");
    assert_eq!(shown().await, b"\0user\0three");
    // By a proof of what is held now, too.
    let mut server = keeper.server(Mechanism::ScramSha512).unwrap();
    let mut client =
        Exchange::scram(Mechanism::ScramSha512, "user", Secret::new("three"), KeyCache::default()).unwrap();
    let Served::Challenge(challenge) = server.next(client.first().expose()).unwrap() else { panic!() };
    let proof = client.next(&challenge).unwrap().unwrap();
    let Served::Welcome(last) = server.next(proof.expose()).unwrap() else { panic!() };
    assert!(client.next(&last).unwrap().is_none());
    assert!(server.next(proof.expose()).is_err(), "nothing comes behind the end");
}

#[tokio::test]
async fn half_a_token_is_not_shown() {
    let folder = Folder::new();
    let options = config::Sasl {
        mechanism: Some(Mechanism::OauthBearer),
        token_file: Some(folder.write("token", "one.token\n")),
        ..config::Sasl::default()
    };
    let keeper = keeper(options);
    let shown = || async { keeper.exchange().await.unwrap().unwrap().first().expose().to_vec() };
    assert_eq!(shown().await, b"n,,\x01auth=Bearer one.token\x01\x01");
    for torn in ["", "an error: none\n"] {
        folder.write("token", torn);
        assert_eq!(shown().await, b"n,,\x01auth=Bearer one.token\x01\x01", "{torn:?}");
    }
    folder.write("token", "two.token\n");
    assert_eq!(shown().await, b"n,,\x01auth=Bearer two.token\x01\x01");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let missing = folder.0.join("missing");
    let told = keeper(password(&missing, Mechanism::ScramSha256)).exchange().await.unwrap_err().to_string();
    assert!(told.contains("missing: can't be read"), "{told}");
    let unread = format!("{}: can't be read: No such file or directory (os error 2)", missing.display());
    assert_eq!(faults(&password(&missing, Mechanism::ScramSha256)), [("password_file", unread.clone())]);
    let token = folder.write("token", "two words\n");
    let options = config::Sasl {
        mechanism: Some(Mechanism::OauthBearer),
        token_file: Some(token),
        ..config::Sasl::default()
    };
    let odd = format!("{}/token: holds characters that no token has", folder.0.display());
    assert_eq!(faults(&options), [("token_file", odd)]);
    assert!(keeper(options).exchange().await.is_err());
    assert!(keeper(config::Sasl::default()).exchange().await.unwrap().is_none());
    assert_eq!(faults(&config::Sasl::default()), []);
    let (host, path) = ("login.test".to_owned(), "/".to_owned());
    let both = config::Sasl {
        mechanism: Some(Mechanism::OauthBearer),
        token_endpoint: Some(config::Endpoint { encrypted: true, host, port: 443, path }),
        client_secret_file: Some(missing.clone()),
        token_ca: Some(missing),
        ..config::Sasl::default()
    };
    assert_eq!(faults(&both), [("client_secret_file", unread.clone()), ("token_ca", unread)]);
}
