//! The control API of the real program, as a stranger and as a controller see it: every route without, with a wrong and with a right
//! credential, from pages of other sites, over the limits, plain and encrypted. All that is written anywhere is searched for what must
//! not be seen.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::missing_panics_doc,
    missing_docs,
    unreachable_pub,
    reason = "a test says what it expects, and nobody imports it"
)]

#[path = "control/bed.rs"]
mod bed;
#[path = "control/secure.rs"]
mod secure;

use std::time::Duration;

use bed::{Folder, Program, Seen, evenkeel};

const TOKEN: &str = "T0ken-of-the-controller-4711";
const NEXT: &str = "T0ken-that-comes-next-4712";
const WRONG: &str = "T0ken-of-somebody-else-4713";

/// The sidecar of all tests here: nobody is trusted for where he is.
fn closed(folder: &Folder, more: &str) -> String {
    let tokens = folder.put("tokens", &format!("{TOKEN}\n{NEXT}\n"));
    format!(
        "log.level = \"trace\"\n[admin]\nlisten = \"127.0.0.1:0\"\nmetrics_listen = \"127.0.0.1:0\"\ntrust_loopback = false\n\
         token_file = \"{}\"\n{more}\n[[zookeeper]]\nname = \"coord\"\nlisten = \"127.0.0.1:0\"\nservers = \"127.0.0.1:1\"\n",
        tokens.display()
    )
}

/// Every method of every route.
fn routes() -> Vec<(String, String)> {
    let document: serde_json::Value =
        serde_json::from_str(include_str!("../src/admin/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let each = paths.iter().flat_map(|(path, methods)| {
        let path = path.replace("{c}", "coord").replace("{m}", "127.0.0.1:1");
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    });
    each.collect()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn every_route_asks_for_a_credential_and_no_secret_is_seen() {
    let folder = Folder::new("routes");
    let config = folder.put("evenkeel.toml", &closed(&folder, ""));
    let mut seen = Seen::default();
    let mut sidecar = Program::start(&config);
    let (control, open) = (sidecar.admin[0], sidecar.admin[1]);
    let all = routes();
    assert!(all.len() > 15, "{all:?}");
    for (method, path) in &all {
        let changes = method != "GET" || path.contains("prestop");
        let body = if path.ends_with("/plan") { "{}" } else { "" };
        let mut ask = |headers: &str| seen.http(control, method, path, headers, body);
        for headers in [
            String::new(),
            bearer(WRONG),
            bearer(""),
            bearer(&TOKEN[..20]),
            bearer(&format!("{TOKEN}{NEXT}")),
        ] {
            let (status, head) = ask(&headers);
            assert_eq!(status, 401, "{method} {path} {headers}");
            assert!(head.contains("www-authenticate: bearer"), "{head}");
        }
        for token in [TOKEN, NEXT] {
            let (status, _) = ask(&bearer(token));
            assert!(![401, 403, 421].contains(&status), "{method} {path} answers {status}");
            for site in
                ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]
            {
                let (status, head) = ask(&format!("{}{site}", bearer(token)));
                assert_eq!(status == 403, changes, "{method} {path} of {site} answers {status}");
                assert!(!head.contains("access-control"), "{head}");
            }
        }
        let (status, _) = seen.http(open, method, path, &bearer(TOKEN), body);
        let is_open = ["/metrics", "/healthz", "/readyz"].contains(&path.as_str());
        assert_eq!(status == 404, !is_open, "{method} {path} answers {status}");
    }
    // Over the limits.
    let drain = "/v1/clusters/coord/members/127.0.0.1:1/drain";
    let right = bearer(TOKEN);
    let json = format!("{right}Content-Type: application/json\r\n");
    assert_eq!(seen.http(control, "PUT", drain, &json, &"x".repeat(64 * 1024 + 1)).0, 413);
    assert_eq!(seen.http(control, "PUT", drain, &right, "{}").0, 415);
    let form = format!("{right}Content-Type: text/plain\r\n");
    assert_eq!(seen.http(control, "PUT", drain, &form, "{}").0, 415);
    assert_eq!(seen.http(control, "GET", &format!("/{}", "y".repeat(2000)), &right, "").0, 414);
    // What is refused before it was read whole may be cut off before its answer is taken.
    for head in [format!("X: {}\r\n", "z".repeat(20 * 1024)), "X: y\r\n".repeat(70)] {
        let text = seen.raw(control, format!("GET / HTTP/1.1\r\nHost: x\r\n{right}{head}\r\n").as_bytes());
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    }
    assert_eq!(seen.http(control, "PUT", drain, &json, "{\"plan_id\": 7, \"secret\": ").0, 400);
    // A body that never comes, and a connection that says nothing, are cut off.
    let text = seen.raw(
        control,
        format!("PUT {drain} HTTP/1.1\r\nHost: x\r\n{json}Content-Length: 9\r\n\r\n{{").as_bytes(),
    );
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    let text = seen.raw(control, b"GET / HTTP/1.1\r\nHo");
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");

    // The commands: without, with a wrong and with a right token, and with files that can't be used.
    let (url, file) = (format!("http://{control}"), folder.0.join("evenkeel.toml"));
    let wrong = folder.put("wrong", WRONG);
    let short = folder.put("short", "hunter2");
    for (name, token, code) in [
        ("bypass", None, 1),
        ("bypass", Some(&wrong), 1),
        ("bypass", Some(&short), 1),
        ("bypass", Some(&folder.0.join("tokens")), 0),
    ] {
        let mut command = evenkeel();
        command.args([name, "off", "coord", "--admin", &url]);
        if let Some(token) = token {
            command.arg("--token-file").arg(token);
        }
        let said = seen.command(&mut command);
        assert_eq!(said.0, code, "{name} {token:?}: {}", said.1);
        assert!(code == 0 || said.1.contains("token"), "{}", said.1);
    }
    // The token of the configuration is used by itself. Its address there has port 0, so both are given.
    assert_eq!(seen.command(evenkeel().args(["check", "--config"]).arg(&file)).0, 0);
    let status = |token: &std::path::Path| {
        let mut command = evenkeel();
        command.args(["status", "--json", "--admin", &url, "--token-file"]).arg(token);
        command
    };
    assert_ne!(seen.command(&mut status(&wrong)).0, 0);
    let (_, text) = seen.command(&mut status(&folder.0.join("tokens")));
    assert!(text.contains("\"coord\""), "{text}");

    // Another token takes their place.
    let last = "T0ken-after-all-others-4714";
    folder.put("tokens", last);
    assert_eq!(seen.http(control, "GET", "/v1/clusters", &bearer(TOKEN), "").0, 401);
    assert_eq!(seen.http(control, "GET", "/v1/clusters", &bearer(last), "").0, 200);
    folder.put("tokens", "hunter2");
    assert_eq!(seen.http(control, "GET", "/v1/clusters", &bearer(last), "").0, 200, "those before stay");
    assert_eq!(seen.http(control, "GET", "/v1/clusters", &bearer("hunter2"), "").0, 401);
    let (_, metrics) = seen.http(open, "GET", "/metrics", "", "");
    for reason in ["credential", "origin", "length", "type", "time"] {
        let zero = format!("evenkeel_admin_refused_total{{reason=\"{reason}\"}} 0\n");
        assert!(
            metrics.contains("evenkeel_admin_refused_total") && !metrics.contains(&zero),
            "{reason}: {metrics}"
        );
    }
    seen.text(&sidecar.end());
    assert!(
        seen.all.contains("the tokens have changed and were read again") && seen.all.contains("DEBUG"),
        "no log"
    );
    seen.has_none_of(&[TOKEN, NEXT, WRONG, last, "hunter2"]);
}

#[test]
fn it_starts_open_to_others_by_no_mistake() {
    let folder = Folder::new("open");
    let cluster = "[[zookeeper]]\nname = \"coord\"\nlisten = \"127.0.0.1:0\"\nservers = \"127.0.0.1:1\"\n";
    let config = folder.put("open.toml", &format!("[admin]\nlisten = \"0.0.0.0:0\"\n{cluster}"));
    let mut seen = Seen::default();
    for command in ["run", "check"] {
        let (code, text) = seen.command(evenkeel().args([command, "--config"]).arg(&config));
        assert_eq!((code, text.trim().lines().count()), (1, 1), "{text}");
        assert!(
            text.contains("admin.listen[0]: 0.0.0.0:0 can be reached from elsewhere, and nothing closes it"),
            "{text}"
        );
    }
    let plan = folder.put(
        "plan.toml",
        "cluster = \"coord\"\nprotocol = \"zookeeper\"\n[sidecars]\nlist = [\"127.0.0.1:1\"]\n",
    );
    let (code, text) =
        seen.command(evenkeel().args(["upgrade", "--serve", "--listen", "0.0.0.0:0"]).arg(&plan));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("nothing closes it; give --admin-token-file"), "{text}");
    // A file of tokens that can't be used is told before anything is bound.
    let short = folder.put("short", "hunter2");
    let text = format!("[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"{}\"\n{cluster}", short.display());
    let config = folder.put("short.toml", &text);
    for command in ["run", "check"] {
        let (code, text) = seen.command(evenkeel().args([command, "--config"]).arg(&config));
        assert!(
            code == 1 && text.contains("admin.token_file") && text.contains("line 1: a token has 16"),
            "{text}"
        );
    }
    seen.has_none_of(&["hunter2"]);
}

#[test]
fn the_hook_of_a_fleet_is_closed_as_well_and_shows_its_token_to_sidecars() {
    let folder = Folder::new("fleet");
    let config = folder.put("evenkeel.toml", &closed(&folder, ""));
    let mut seen = Seen::default();
    let mut sidecar = Program::start(&config);
    let plan = format!(
        "cluster = \"coord\"\nprotocol = \"zookeeper\"\n[sidecars]\nlist = [\"{}\"]\ntoken_file = \"{}\"\n",
        sidecar.admin[0],
        folder.0.join("tokens").display()
    );
    let plan = folder.put("plan.toml", &plan);
    let mut command = evenkeel();
    command
        .args(["upgrade", "--serve", "--listen", "127.0.0.1:0", "--admin-token-file"])
        .arg(folder.put("own", NEXT));
    let mut fleet = Program::spawn(command.arg(&plan), "the hook of a fleet", 1);
    let hook = fleet.admin[0];
    bed::until("the fleet's sidecar answers", || {
        seen.http(hook, "GET", "/v1/clusters/coord", "", "").0 == 200
    });
    let path = "/v1/clusters/coord/bypass";
    assert_eq!(seen.http(hook, "PUT", path, &bearer(WRONG), "").0, 401);
    assert_eq!(seen.http(hook, "PUT", path, "Origin: http://evil.example\r\n", "").0, 403);
    assert_eq!(seen.http(hook, "PUT", path, &bearer(NEXT), "").0, 200);
    let (_, text) = seen.http(sidecar.admin[0], "GET", "/v1/clusters/coord", &bearer(TOKEN), "");
    assert!(text.contains("\"bypass\": true"), "{text}");
    seen.text(&fleet.end());
    seen.text(&sidecar.end());
    seen.has_none_of(&[TOKEN, NEXT, WRONG]);
}

/// A listener that sends everyone somewhere else: a token doesn't go there.
#[test]
fn a_token_follows_no_redirect() {
    let folder = Folder::new("redirect");
    let tokens = folder.put("tokens", TOKEN);
    let (elsewhere, asked) = bed::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned());
    let answer = format!("HTTP/1.1 307 x\r\nLocation: http://{elsewhere}/\r\nContent-Length: 2\r\n\r\n{{}}");
    let (redirecting, first) = bed::answering(answer);
    let mut seen = Seen::default();
    let mut command = evenkeel();
    command
        .args(["bypass", "off", "coord", "--admin", &format!("http://{redirecting}"), "--token-file"])
        .arg(&tokens);
    let (code, text) = seen.command(&mut command);
    assert!(code == 1 && text.contains("307"), "{text}");
    assert!(
        first.recv_timeout(Duration::from_secs(30)).unwrap().contains(TOKEN),
        "it was sent where it was meant to go"
    );
    assert!(asked.try_recv().is_err(), "it went elsewhere");
    seen.has_none_of(&[TOKEN]);
}
