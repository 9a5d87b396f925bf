//! Who is let in: every mixture of peer, credential, host and origin, and what each is answered.

use hyper::http::request::Parts;

use super::*;
use crate::admin::door::{Caller, PRESTOP};

const TOKEN: &str = "the-token-of-a-controller";
const NEAR: &str = "127.0.0.1:5000";
const FAR: &str = "192.0.2.7:5000";
const DRAIN: &str = "/v1/clusters/orders/members/zk-1:2181/drain";

/// A file that is gone afterwards.
struct File(std::path::PathBuf);

impl File {
    fn new(text: &str) -> Self {
        use std::sync::atomic::AtomicU32;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("evenkeel-door-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn with_token(file: &File) -> Door {
    let token_file = Some(file.0.clone());
    Door::control(&config::Admin {
        token_file,
        hosts: vec!["hook.example.net".to_owned()],
        ..config::Admin::default()
    })
    .unwrap()
}

fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = hyper::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The status of the refusal; 0: it is let in.
fn judged(door: &Door, peer: &str, certified: bool, head: &Parts) -> u16 {
    let caller = Caller { peer: peer.parse().unwrap(), certified };
    door.judge(caller, head).map_or_else(|(_, answer)| answer.status().as_u16(), |()| 0)
}

#[test]
fn a_peer_of_this_host_needs_nothing_and_any_other_a_token() {
    let file = File::new(&format!("another-token-of-a-controller\n{TOKEN}\n"));
    let (with, without) = (with_token(&file), Door::control(&config::Admin::default()).unwrap());
    let right = format!("Bearer {TOKEN}");
    let wrong = [
        "Bearer the-token-of-somebody-else".to_owned(),
        format!("Bearer {TOKEN}x"),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
    ];
    for (method, path) in
        [("GET", "/"), ("GET", "/metrics"), ("GET", "/healthz"), ("GET", "/v1/clusters"), ("PUT", DRAIN)]
    {
        for (peer, free) in
            [(NEAR, 0), ("[::1]:1", 0), ("[::ffff:127.0.0.1]:1", 0), (FAR, 401), ("[2001:db8::1]:1", 401)]
        {
            let ask = |headers: &[(&str, &str)]| judged(&with, peer, false, &head(method, path, headers));
            assert_eq!(ask(&[("host", "127.0.0.1")]), free, "{method} {path} of {peer}");
            assert_eq!(
                ask(&[("authorization", &right), ("host", "any.example.org")]),
                0,
                "{method} {path} of {peer}"
            );
            let lower = right.replace("Bearer", "bearer");
            assert_eq!(ask(&[("authorization", &lower)]), 0);
            // A wrong one is refused even where none is needed, and so are two.
            for wrong in &wrong {
                assert_eq!(ask(&[("authorization", wrong)]), 401, "{wrong:?} of {peer}");
            }
            assert_eq!(ask(&[("authorization", &right), ("authorization", &right)]), 401);
            // Where there is no token nobody from elsewhere has one, and a certificate is nothing.
            let none = judged(
                &without,
                peer,
                true,
                &head(method, path, &[("authorization", &right), ("host", "[::1]:9")]),
            );
            assert_eq!(none, if free == 0 { 0 } else { 403 });
        }
    }
    let strict = Door::control(&config::Admin {
        trust_loopback: false,
        token_file: Some(file.0.clone()),
        ..config::Admin::default()
    });
    assert_eq!(judged(&strict.unwrap(), NEAR, false, &head("GET", "/", &[])), 401);
}

#[test]
fn a_host_that_is_not_ours_is_for_those_with_a_credential() {
    let file = File::new(TOKEN);
    let door = with_token(&file);
    for good in [
        "127.0.0.1",
        "127.0.0.1:9901",
        "[::1]:9901",
        "10.1.2.3:80",
        "localhost",
        "LocalHost:9901",
        "localhost.",
        "a.localhost:1",
        "hook.example.net",
        "Hook.Example.Net.:9901",
    ] {
        assert_eq!(judged(&door, NEAR, false, &head("GET", "/v1/clusters", &[("host", good)])), 0, "{good}");
    }
    for bad in [
        "evil.example",
        "evil.example:9901",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xlocalhost",
        "",
        "a b",
        "@",
    ] {
        for path in ["/", "/metrics", "/v1/clusters", DRAIN] {
            assert_eq!(judged(&door, NEAR, false, &head("GET", path, &[("host", bad)])), 421, "{bad:?}");
        }
    }
}

#[tokio::test]
async fn two_hosts_are_none() {
    for door in [Door::control(&config::Admin::default()).unwrap(), Door::metrics()] {
        let server = behind(door, Limits::default()).await;
        for two in [
            "localhost\r\nHost: evil.example",
            "localhost\r\nhost: localhost",
            "evil.example\r\nHost: 127.0.0.1",
        ] {
            let request = format!("GET /healthz HTTP/1.1\r\nHost: {two}\r\nConnection: close\r\n\r\n");
            let text = raw(server.address, request.as_bytes()).await;
            assert!(text.starts_with("HTTP/1.1 400"), "{two:?}: {text}");
        }
        assert_eq!(server.admin.own.refused.get(AdminRefusal::Host).get(), 3);
    }
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let file = File::new(TOKEN);
    let door = with_token(&file);
    let right = format!("Bearer {TOKEN}");
    let own = [("host", "127.0.0.1:9901")];
    for (more, change) in [
        (&[][..], 0),
        (&[("origin", "http://127.0.0.1:9901")], 0),
        (&[("origin", "https://127.0.0.1:9901"), ("sec-fetch-site", "same-origin")], 0),
        (&[("sec-fetch-site", "none")], 0),
        (&[("origin", "http://evil.example")], 403),
        (&[("origin", "http://127.0.0.1")], 403),
        (&[("origin", "http://127.0.0.1:9902")], 403),
        (&[("origin", "null")], 403),
        (&[("origin", "")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("origin", "http://127.0.0.1:9901"), ("sec-fetch-site", "cross-site")], 403),
    ] {
        for (peer, token) in [(NEAR, false), (NEAR, true), (FAR, true)] {
            let mut headers = [&own[..], more].concat();
            if token {
                headers.push(("authorization", &right));
            }
            for method in ["PUT", "POST", "DELETE", "OPTIONS", "PATCH"] {
                assert_eq!(
                    judged(&door, peer, false, &head(method, DRAIN, &headers)),
                    change,
                    "{method} {headers:?}"
                );
            }
            // Looking is let be: the page can't read the answer, and a link to /ui works.
            assert_eq!(judged(&door, peer, false, &head("GET", "/ui", &headers)), 0, "{headers:?}");
        }
    }
}

#[test]
fn the_one_get_that_changes_something_needs_what_no_page_can_send() {
    let file = File::new(TOKEN);
    let door = with_token(&file);
    let right = format!("Bearer {TOKEN}");
    let ask = |peer: &str, certified, headers: &[(&str, &str)]| {
        judged(&door, peer, certified, &head("GET", PRESTOP, headers))
    };
    assert_eq!(ask(NEAR, false, &[("host", "127.0.0.1")]), 403, "as an image in a page");
    assert_eq!(ask(NEAR, false, &[("evenkeel-client", "a hook")]), 0);
    assert_eq!(ask(NEAR, false, &[("evenkeel-client", "a hook"), ("origin", "http://evil.example")]), 403);
    assert_eq!(ask(NEAR, false, &[("authorization", &right)]), 0);
    assert_eq!(ask(FAR, false, &[("evenkeel-client", "a hook")]), 401);
    assert_eq!(ask(FAR, false, &[("authorization", &right)]), 0, "as a kubelet");
}

#[tokio::test]
async fn no_answer_lets_another_site_read_it() {
    let server = start(Limits::default()).await;
    let cross = "Origin: http://evil.example\r\nAccess-Control-Request-Method: PUT\r\n";
    for (method, path) in [("OPTIONS", DRAIN), ("GET", "/v1/clusters"), ("PUT", DRAIN), ("GET", PRESTOP)] {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{cross}Connection: close\r\n\r\n");
        let text = raw(server.address, request.as_bytes()).await.to_lowercase();
        assert!(!text.contains("access-control"), "{text}");
        assert_eq!(text.starts_with("http/1.1 200"), method == "GET" && path != PRESTOP, "{text}");
    }
    assert!(server.orders.drains.lock().unwrap().is_empty(), "it was drained");
    assert_eq!(server.admin.own.refused.get(AdminRefusal::Origin).get(), 3);
}

#[tokio::test]
async fn the_open_listener_shows_metrics_and_probes_alone() {
    let server = behind(Door::metrics(), Limits::default()).await;
    for (method, path, _) in routes::ROUTES {
        let path = path.replace("{c}", "orders").replace("{m}", "zk-1:2181");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        let text = raw(server.address, request.as_bytes()).await;
        let open = ["/metrics", "/healthz", "/readyz"].contains(&path.as_str());
        assert!(
            text.starts_with(if open { "HTTP/1.1 200" } else { "HTTP/1.1 404" }),
            "{method} {path}: {text}"
        );
    }
    assert!(server.orders.drains.lock().unwrap().is_empty());
}

#[test]
fn files_that_cannot_be_used_keep_it_shut() {
    let file = File::new("short");
    let admin = config::Admin { token_file: Some(file.0.clone()), ..config::Admin::default() };
    assert!(Door::control(&admin).unwrap_err().starts_with("admin.token_file: "));
    let tls = config::AdminTls { certificate: Some(file.0.clone()), key: Some(file.0.clone()), ca: None };
    let admin = config::Admin { tls, ..config::Admin::default() };
    assert!(Door::control(&admin).unwrap_err().starts_with("admin.tls: "));
}
