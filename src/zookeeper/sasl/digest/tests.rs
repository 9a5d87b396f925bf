use super::*;

fn chris() -> Secret {
    Secret::new("secret")
}

/// The two exchanges of RFC 2831, section 4.
#[test]
fn the_vectors_of_the_rfc() {
    for (service, nonce, cnonce, response, rspauth) in [
        (
            "imap",
            "OA6MG9tEQGm2hh",
            "OA6MHXh6VqTrRk",
            "d388dad90d4bbd760a152321f2143af7",
            "ea40f60335c427b5527b84dbabcdfffd",
        ),
        (
            "acap",
            "OA9BSXrbuRhWay",
            "OA9BSuZWMSpW8m",
            "6084c6db3fede7352c551284490fd0fc",
            "2f0b3d7c3c2e486600ef710726aa2eae",
        ),
    ] {
        let host = "elwood.innosoft.com";
        let challenge =
            format!("realm=\"{host}\",nonce=\"{nonce}\",qop=\"auth\",algorithm=md5-sess,charset=utf-8");
        let password = chris();
        let who = Credentials { username: "chris", password: &password };
        let answer =
            Answer::of(challenge.as_bytes(), &who, cnonce, &format!("{service}/{host}")).ok().unwrap();
        assert_eq!(
            String::from_utf8(answer.token.clone()).unwrap(),
            format!(
                "charset=utf-8,username=\"chris\",realm=\"{host}\",nonce=\"{nonce}\",nc=00000001,cnonce=\"{cnonce}\",\
                 digest-uri=\"{service}/{host}\",response={response},qop=auth"
            )
        );
        assert_eq!(answer.confirm(format!("rspauth={rspauth}").as_bytes()), Ok(()));
        for wrong in [response, "", "00000000000000000000000000000000"] {
            let said = format!("rspauth=\"{wrong}\"");
            assert!(answer.confirm(said.as_bytes()).is_err());
        }
    }
}

/// As servers say it, and as Java's client does.
#[test]
fn both_sides_agree() {
    for (username, password) in [
        ("chris", "secret"),
        ("chr\"is\\", "s e,c=r\"e\\t"),
        ("J\u{fc}rgen", "pa\u{df}wort"),
        ("\u{41a}", "\u{43f}\u{430}"),
    ] {
        let password = Secret::new(password);
        let who = Credentials { username, password: &password };
        let answer = Answer::to(&challenge("n0nce"), &who, "cn0nce").ok().unwrap();
        let last = judge(&answer.token, "n0nce", &who).unwrap();
        assert_eq!(answer.confirm(&last), Ok(()), "{username}");
        let wrong = Secret::new("another");
        let other = Credentials { username, password: &wrong };
        assert!(judge(&answer.token, "n0nce", &other).unwrap_err().contains("password is not"));
    }
}

/// What the JDK's own client and server said to each other (version 17, `com.sun.security.sasl.digest`), made as `ZooKeeper` makes them: the
/// client names itself once more, as the one it acts for.
#[test]
fn a_java_client_that_acts_for_itself_is_believed() {
    for (username, password, nonce, cnonce, response, rspauth) in [
        (
            "bob",
            "secret",
            "QzJmGuVB1sQX78A6fv5fAdSgrGs446yjTpldA5tm",
            "6zss/sINJE59u65PiflHsIOk9A0oDXNDPovkmPHo",
            "9bf04c70d55965d04706ce624984e4f3",
            "efc62e52252ab3b5ccfcccee3e52209e",
        ),
        (
            "J\u{fc}rgen",
            "pa\u{df}wort",
            "E7UxTki/x86jgk80QNYyDIuJMcTgGlmlCClqjB2N",
            "ovgp3a3ErMWCWidR7m01M/viiZJYmz14MkRjSukm",
            "0a00a585033a3f01b3f3ac56da66b625",
            "f94c29fd59480ca6b5b0ffa8b2b74ed4",
        ),
        (
            "\u{41a}",
            "\u{43f}",
            "SgEAewUz3vWlx7msUkA6Jot+qSUjPVIe8MlNsJo/",
            "N0zlCqVqrN8ij71coWlvfpUZebt9vmcki7KU9Cba",
            "1ab1fc0c83e26ccc363ff36a27f0f926",
            "51df042a43f06512f48a4ae0a2876a26",
        ),
    ] {
        let answer = format!(
            "charset=utf-8,username=\"{username}\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,cnonce=\"{cnonce}\",\
             digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,response={response},qop=auth,authzid=\"{username}\""
        );
        let password = Secret::new(password);
        let who = Credentials { username, password: &password };
        let last = judge(answer.as_bytes(), nonce, &who).unwrap();
        assert_eq!(last, format!("rspauth={rspauth}").into_bytes(), "{username}");
        let (own, other) = (format!("authzid=\"{username}\""), "authzid=\"root\"");
        let error = judge(answer.replace(&own, other).as_bytes(), nonce, &who).unwrap_err();
        assert!(error.contains("act for another user"), "{error}");
        let without = answer.replace(&format!(",{own}"), "");
        let error = judge(without.as_bytes(), nonce, &who).unwrap_err();
        assert!(error.contains("password is not"), "{error}");
    }
}

#[test]
fn what_iso_8859_1_can_say_is_digested_in_it() {
    assert_eq!(&*narrow("p\u{e4}ss".as_bytes()), b"p\xe4ss");
    assert_eq!(&*narrow("p\u{e4}ss \u{20ac}".as_bytes()), "p\u{e4}ss \u{20ac}".as_bytes());
    assert_eq!(&*narrow(b"p\xe4ss"), b"p\xe4ss");
}

#[test]
fn a_challenge_that_is_none_is_refused() {
    let password = chris();
    let who = Credentials { username: "chris", password: &password };
    for (said, why) in [
        ("", "empty"),
        ("realm=\"x\",algorithm=md5-sess", "no nonce"),
        ("nonce=\"a\",nonce=\"b\",algorithm=md5-sess", "twice"),
        ("nonce=\"a\"", "md5-sess"),
        ("nonce=\"a\",algorithm=md5", "md5-sess"),
        ("nonce=\"a\",algorithm=md5-sess,qop=\"auth-conf,auth-int\"", "more than authentication"),
        ("nonce=\"a\",algorithm=md5-sess,charset=latin", "charset"),
        ("nonce=\"a", "no list"),
        ("\u{60}\u{0}\u{6}", "no list"),
    ] {
        let error = Answer::to(said.as_bytes(), &who, "c").err().unwrap().to_string();
        assert!(error.contains(why), "{said}: {error}");
    }
    for fine in
        ["nonce=\"a\",algorithm=md5-sess,qop=\"auth-int, auth\"", "nonce=\"a\",algorithm=\"md5-sess\""]
    {
        assert!(Answer::to(fine.as_bytes(), &who, "c").is_ok(), "{fine}");
    }
}

#[test]
fn an_answer_that_is_not_to_be_trusted_is_refused() {
    let password = chris();
    let who = Credentials { username: "chris", password: &password };
    let good = String::from_utf8(Answer::to(&challenge("n"), &who, "c").ok().unwrap().token).unwrap();
    assert!(judge(good.as_bytes(), "n", &who).is_ok());
    for (from, to, why) in [
        ("username=\"chris\"", "username=\"bob\"", "another user"),
        ("username=\"chris\",", "", "another user"),
        ("nonce=\"n\"", "nonce=\"N\"", "another challenge"),
        ("realm=\"zk-sasl-md5\",", "", "realm"),
        ("nc=00000001", "nc=00000002", "nc"),
        ("qop=auth", "qop=auth-int", "qop"),
        ("cnonce=\"c\"", "cnonce=\"\"", "password is not"),
        ("cnonce=\"c\"", "cnonce=\"d\"", "password is not"),
        ("digest-uri=\"zookeeper/zk-sasl-md5\"", "digest-uri=\"kafka/x\"", "digest-uri"),
        ("charset=utf-8", "charset=utf-7", "charset"),
        (",qop=auth", ",qop=auth,authzid=\"bob\"", "authzid"),
        (",qop=auth", ",qop=auth,authzid=\"\"", "authzid"),
        (",qop=auth", ",qop=auth,authzid=\"chris\"", "password is not"),
        (",qop=auth", ",qop=auth,authzid=\"chris\",authzid=\"bob\"", "twice"),
        ("response=", "response=0", "password is not"),
        ("username=", "username=\"chris\",username=", "twice"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = judge(good.replace(from, to).as_bytes(), "n", &who).unwrap_err();
        assert!(error.contains(why), "{from} -> {to}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    for nothing in [&b""[..], b"\x00", b"response"] {
        assert!(judge(nothing, "n", &who).is_err());
    }
}
