use super::*;
use crate::zookeeper::wire::{Request, build, request_header, request_payload};
use tokio::io::{AsyncReadExt, DuplexStream};

/// The token of the next request.
async fn token(server: &mut DuplexStream) -> (i32, Vec<u8>) {
    let mut frame = vec![0; server.read_u32().await.unwrap() as usize];
    server.read_exact(&mut frame).await.unwrap();
    let header = request_header(&frame).unwrap();
    let Ok(Request::Sasl { token }) = Request::decode(header.opcode, request_payload(&frame)) else {
        panic!("{header:?}");
    };
    (header.xid, token.unwrap().to_vec())
}

/// What a server does in one step.
enum Step {
    Challenge,
    /// It judges by this password.
    Judge(&'static str),
    /// This token.
    Say(&'static [u8]),
    Null,
    Fail(i32),
    OtherXid,
    Garbage,
    Close,
}

async fn serve(mut server: DuplexStream, steps: Vec<Step>) {
    let mut offer = None;
    for step in steps {
        let (xid, token) = token(&mut server).await;
        let said = |bytes: &[u8]| build::reply(xid, 0, 0, &body(bytes));
        let answer = match step {
            Step::Challenge => {
                assert!(token.is_empty(), "the first token is empty");
                let (made, challenge) = Offer::new();
                offer = Some(made);
                said(&challenge)
            }
            Step::Judge(password) => {
                let offer: Offer = offer.take().unwrap();
                match offer.judge(&token, "bob", &Secret::new(password)) {
                    Ok(last) => said(&last),
                    Err(_) => build::error_reply(xid, 0, errors::AUTH_FAILED),
                }
            }
            Step::Say(bytes) => said(bytes),
            Step::Null => build::reply(xid, 0, 0, &[0xff; 4]),
            Step::Fail(code) => build::error_reply(xid, 0, code),
            Step::OtherXid => build::reply(xid + 7, 0, 0, &body(b"x")),
            Step::Garbage => build::reply(xid, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 1]),
            Step::Close => return,
        };
        server.write_all(&answer).await.unwrap();
    }
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "nothing more is said");
}

async fn with(steps: Vec<Step>) -> Result<(), SaslError> {
    let (client, server) = tokio::io::duplex(1 << 16);
    let client = async {
        let mut stream = Stream::from(client);
        let mut reader = FrameReader::new(1 << 20);
        authenticate(&mut stream, &mut reader, "bob", &Secret::new("hunter2")).await
    };
    tokio::join!(client, serve(server, steps)).0
}

#[tokio::test]
async fn a_server_that_knows_the_password_is_satisfied_and_believed() {
    assert_eq!(with(vec![Step::Challenge, Step::Judge("hunter2")]).await, Ok(()));
}

#[tokio::test]
async fn a_server_that_does_not_accept_it_is_told_apart_from_one_that_went() {
    use Step::*;
    const RFC: &[u8] = b"realm=\"r\",nonce=\"n\",algorithm=md5-sess";
    for (steps, why) in [
        (vec![Challenge, Judge("hunter3")], "(AuthFailed, -115): wrong password, or no such user"),
        (vec![Fail(-124)], "SessionClosedRequireSaslAuth"),
        (vec![Null], "offers no SASL"),
        (vec![Say(b"")], "offers no SASL"),
        (vec![Say(b"nonce=\"x")], "challenge is not that of DIGEST-MD5"),
        (vec![Say(b"\x60\x82\x01")], "challenge is not that of DIGEST-MD5"),
        (vec![Challenge, Null], "would go on without"),
        (
            vec![Challenge, Say(b"rspauth=00000000000000000000000000000000")],
            "does not know the password itself",
        ),
        (vec![Challenge, Say(b"welcome=1")], "no rspauth"),
        (vec![Challenge, Say(RFC)], "no rspauth"),
        (vec![OtherXid], "it answers 8 instead of 1"),
        (vec![Garbage], "can't be read"),
    ] {
        let error = with(steps).await.unwrap_err();
        assert!(matches!(&error, SaslError::Refused(text) if text.contains(why)), "{why}: {error}");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
    for steps in [vec![Close], vec![Challenge, Close]] {
        let error = with(steps).await.unwrap_err();
        assert!(matches!(error, SaslError::Lost(_)), "{error}");
    }
}

#[test]
fn a_password_is_read_again_and_a_file_that_is_gone_does_no_harm() {
    let path = std::env::temp_dir().join(format!("evenkeel-held-{}", std::process::id()));
    let held = Held::default();
    assert!(held.password(&path).unwrap_err().contains("can't be read"));
    for text in ["one\n", "two\n"] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(held.password(&path).unwrap().expose(), text.trim().as_bytes());
    }
    std::fs::write(&path, "").unwrap();
    assert_eq!(held.password(&path).unwrap().expose(), b"two");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(held.password(&path).unwrap().expose(), b"two");
    assert!(held.password(Path::new("/nowhere/else")).is_err(), "another file's is not used instead");
    assert!(!format!("{held:?}").contains("two"));
}
