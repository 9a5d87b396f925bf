//! The exchange as frames, with brokers that are content, that refuse, and that talk nonsense.

use super::*;
use crate::kafka::wire::decode_request;

fn talk(mechanism: Mechanism, first: &[u8]) -> (Talk, Bytes) {
    Talk::begin(Exchange::shown(mechanism, Secret::new(first)).unwrap(), "me", 7).unwrap()
}

fn answer(key: i16, version: i16, correlation: i32, fill: impl FnOnce(&mut Struct)) -> Bytes {
    let mut answer = wire::response(key).unwrap().new();
    fill(&mut answer);
    wire::encode_response(key, version, correlation, &answer).unwrap()
}

fn shaken(talk: &mut Talk) -> Bytes {
    match talk.on_answer(&answer(HANDSHAKE, 1, 7, |_| {})).unwrap() {
        Say::Send(frame) => frame,
        Say::Done(_) => panic!("nothing was shown"),
    }
}

#[test]
fn a_handshake_then_the_message_then_a_session() {
    let (mut talk, frame) = talk(Mechanism::Plain, b"\0user\0pw");
    let (header, request) = decode_request(&frame).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (17, 1, 7));
    assert_eq!(request.str("mechanism"), Some("PLAIN"));
    let frame = shaken(&mut talk);
    let (header, request) = decode_request(&frame).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (36, 2, 8));
    assert_eq!(talk.correlation(), 8);
    assert_eq!(request.bytes_field("auth_bytes").unwrap(), &b"\0user\0pw"[..]);
    let said = talk.on_answer(&answer(36, 2, 8, |answer| answer.set_i64("session_lifetime_ms", 100_000)));
    let Say::Done(session) = said.unwrap() else { panic!("nothing more is to be said") };
    assert_eq!(session.identity, (Mechanism::Plain, Some("user".to_owned())));
    assert_eq!(session.lasts, Some(Duration::from_secs(100)));
}

/// A part of its life before the end, and some seconds; but not before half of it.
#[test]
fn a_session_is_renewed_in_time() {
    let now = Instant::now();
    for (lasts, from, until) in
        [(100_000, 85_000, 95_001), (30_000, 25_500, 28_001), (5000, 2500, 3001), (1000, 500, 501), (2, 1, 2)]
    {
        let identity = (Mechanism::Plain, None);
        let session = Session { identity, lasts: Some(Duration::from_millis(lasts)) };
        for _ in 0..100 {
            let at = session.renewal(now).unwrap().duration_since(now);
            assert!(
                (Duration::from_millis(from)..Duration::from_millis(until)).contains(&at),
                "{lasts}: {at:?}"
            );
        }
    }
}

#[test]
fn a_session_without_an_end_is_not_renewed() {
    for lasts in [0, -1, i64::MIN] {
        let (mut talk, _) = talk(Mechanism::Plain, b"\0user\0pw");
        shaken(&mut talk);
        let said = talk.on_answer(&answer(36, 2, 8, |answer| answer.set_i64("session_lifetime_ms", lasts)));
        let Say::Done(session) = said.unwrap() else { panic!("{lasts}") };
        assert_eq!(session.renewal(Instant::now()), None);
    }
}

#[test]
fn each_refusal_is_one_line_with_the_brokers_words() {
    let offers = |code| {
        answer(HANDSHAKE, 1, 7, move |answer| {
            answer.set_i16("error_code", code);
            answer.set_strs("mechanisms", &["GSSAPI", "SCRAM-SHA-512"]);
        })
    };
    for (frame, text) in [
        (
            offers(33),
            "PLAIN as \"user\": the broker doesn't take this mechanism, but GSSAPI or SCRAM-SHA-512; change sasl.mechanism",
        ),
        (
            offers(34),
            "PLAIN as \"user\": this listener asks for no SASL; remove sasl.mechanism, or name the listener that does",
        ),
        (offers(35), "PLAIN as \"user\" is refused: it gives no reason (UNSUPPORTED_VERSION)"),
    ] {
        let (mut talk, _) = talk(Mechanism::Plain, b"\0user\0hunter2");
        assert_eq!(talk.on_answer(&frame).unwrap_err().to_string(), text);
    }
    let (mut refused, _) = talk(Mechanism::Plain, b"\0user\0hunter2");
    shaken(&mut refused);
    let said = refused.on_answer(&answer(36, 2, 8, |answer| {
        answer.set_i16("error_code", 58);
        answer.set_str("error_message", "Authentication failed: \r\nInvalid username or password");
    }));
    assert_eq!(
        said.unwrap_err().to_string(),
        "PLAIN as \"user\" is refused: Authentication failed: Invalid username or password (SASL_AUTHENTICATION_FAILED)"
    );
    let (mut odd, _) = talk(Mechanism::Plain, b"\0user\0hunter2");
    let text = odd.on_answer(&Bytes::from_static(&[0, 0, 0, 7, 1])).unwrap_err().to_string();
    assert!(text.starts_with("PLAIN as \"user\": an answer can't be read"), "{text}");
    assert!(!format!("{odd:?}").contains("hunter2"), "{odd:?}");
}

#[test]
fn an_objection_to_a_token_is_followed_by_the_brokers_no() {
    let (mut talk, _) = talk(Mechanism::OauthBearer, b"n,,\x01auth=Bearer abc\x01\x01");
    shaken(&mut talk);
    let objection = answer(36, 2, 8, |answer| {
        answer.set_bytes("auth_bytes", Some(Bytes::from_static(br#"{"status":"invalid_token"}"#)));
    });
    let Say::Send(frame) = talk.on_answer(&objection).unwrap() else { panic!("it has an answer") };
    let (header, request) = decode_request(&frame).unwrap();
    assert_eq!(
        (header.correlation_id, request.bytes_field("auth_bytes").unwrap().as_ref()),
        (9, &b"\x01"[..])
    );
    let no = answer(36, 2, 9, |answer| {
        answer.set_i16("error_code", 58);
        answer.set_str("error_message", "{\"status\":\"invalid_token\"}");
    });
    let text = talk.on_answer(&no).unwrap_err().to_string();
    assert_eq!(
        text,
        "OAUTHBEARER with a token is refused: {\"status\":\"invalid_token\"} (SASL_AUTHENTICATION_FAILED)"
    );
}

#[test]
fn a_listener_that_asks_says_by_what() {
    let of = |code| {
        asked(&answer(HANDSHAKE, 1, 0, move |answer| {
            answer.set_i16("error_code", code);
            answer.set_strs("mechanisms", &["PLAIN", "OAUTHBEARER"]);
        }))
    };
    let text = "the broker asks for SASL, by PLAIN or OAUTHBEARER; set sasl.mechanism and its credentials";
    assert_eq!(of(0).unwrap().to_string(), text);
    assert_eq!(of(33).unwrap().to_string(), text);
    assert!(of(34).is_none());
    assert!(asked(&Bytes::from_static(b"nonsense")).is_none());
}
