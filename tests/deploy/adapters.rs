//! Hooks and the files of other controllers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use yaml_rust2::Yaml;

use crate::{read, yaml};

/// Every text in a YAML document.
fn texts(of: &Yaml) -> Vec<String> {
    match of {
        Yaml::String(text) => vec![text.clone()],
        Yaml::Array(all) => all.iter().flat_map(texts).collect(),
        Yaml::Hash(all) => all.iter().flat_map(|(key, value)| [texts(key), texts(value)].concat()).collect(),
        _ => Vec::new(),
    }
}

/// The paths of the program, with their methods and what may stand in their queries.
struct Routes(Value);

impl Routes {
    fn read() -> Self {
        Self(serde_json::from_str(&read("src/admin/openapi.json")).unwrap())
    }

    /// What is wrong with a method and the address of a route.
    fn problem(&self, method: &str, address: &str) -> Option<String> {
        let at = address.find("/v1/")?;
        let (path, query) = address[at..].split_once('?').unwrap_or((&address[at..], ""));
        let fits = |template: &str| {
            let (one, other): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
            one.len() == other.len()
                && one.iter().zip(&other).all(|(part, given)| part == given || part.starts_with('{'))
        };
        let paths = self.0["paths"].as_object().unwrap();
        let Some((template, route)) = paths.iter().find(|(template, _)| fits(template)) else {
            return Some(format!("there is no route {path}"));
        };
        let Some(operation) = route.get(method.to_lowercase()) else {
            return Some(format!("{template} takes no {method}"));
        };
        let known: Vec<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let unknown = query.split('&').filter(|pair| !pair.is_empty()).find(|pair| {
            let name = pair.split('=').next().unwrap();
            !known.contains(&name)
        });
        unknown.map(|pair| format!("{template} takes no {pair}"))
    }
}

#[test]
fn routes_that_do_not_exist_are_found() {
    let routes = Routes::read();
    for (method, address) in [
        ("GET", "http://h:1/v1/clusters/{{args.c}}/gate?for=x&member=y"),
        ("POST", "http://h:1/v1/hooks/flagger"),
        ("GET", "h/v1/hooks/prestop?cluster=a&member=b&timeout_s=1"),
    ] {
        assert_eq!(routes.problem(method, address), None);
    }
    for (method, address) in [
        ("GET", "http://h:1/v1/clusters/c/door?for=x"),
        ("GET", "http://h:1/v1/clusters/c/gate?who=x"),
        ("GET", "http://h:1/v1/hooks/flagger"),
    ] {
        assert!(routes.problem(method, address).is_some(), "{method} {address}");
    }
}

#[test]
fn flagger_asks_a_route_and_a_gate_that_exist() {
    let documents = yaml("deploy/flagger/canary.yaml");
    let webhooks = documents[0]["spec"]["analysis"]["webhooks"].as_vec().expect("webhooks");
    assert!(!webhooks.is_empty());
    for webhook in webhooks {
        let url = webhook["url"].as_str().expect("url");
        assert_eq!(Routes::read().problem("POST", url), None);
        assert!(url.ends_with("/v1/hooks/flagger"), "{url}");
        let kind = webhook["type"].as_str().expect("type");
        assert!(
            ["confirm-rollout", "confirm-promotion", "confirm-traffic-increase", "pre-rollout"]
                .contains(&kind),
            "{kind}"
        );
        let metadata = &webhook["metadata"];
        assert!(["stop", "next", "finalize", "rollback"].contains(&metadata["gate"].as_str().expect("gate")));
        assert!(metadata["cluster"].as_str().is_some());
        // Flagger's metadata are texts.
        assert!(texts(metadata).len() == 2 * metadata.as_hash().unwrap().len(), "{metadata:?}");
    }
}

#[test]
fn argo_rollouts_asks_a_route_that_exists() {
    let documents = yaml("deploy/argo-rollouts/analysis-template.yaml");
    let spec = &documents[0]["spec"];
    let names: Vec<&str> =
        spec["args"].as_vec().unwrap().iter().map(|arg| arg["name"].as_str().unwrap()).collect();
    for metric in spec["metrics"].as_vec().expect("metrics") {
        let web = &metric["provider"]["web"];
        let url = web["url"].as_str().expect("url");
        assert_eq!(Routes::read().problem(web["method"].as_str().unwrap_or("GET"), url), None);
        for arg in url.split("{{args.").skip(1) {
            let name = arg.split("}}").next().unwrap();
            assert!(names.contains(&name), "{url}: {name}");
        }
        // What it reads of the answer is there.
        let field = web["jsonPath"].as_str().expect("jsonPath").trim_matches(['{', '}', '$', '.']).to_owned();
        let gate = &Routes::read().0["components"]["schemas"]["Gate"]["properties"][&field];
        assert_eq!(gate["type"], "boolean", "{field}");
    }
}

#[test]
fn stateful_sets_name_the_hooks_and_their_environment() {
    let script = read("deploy/kubernetes/prestop.sh");
    let asked = script
        .split_once("/v1/hooks/prestop?")
        .map(|_| "http://h/v1/hooks/prestop?cluster=&member=&timeout_s=");
    assert_eq!(Routes::read().problem("GET", asked.expect("the script's route")), None);
    let sets: Vec<Yaml> = yaml("deploy/kubernetes/statefulset.yaml")
        .into_iter()
        .filter(|document| document["kind"].as_str() == Some("StatefulSet"))
        .collect();
    assert_eq!(sets.len(), 2);
    for set in sets {
        let pod = &set["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let command = texts(&container["lifecycle"]["preStop"]["exec"]["command"]).join(" ");
        assert!(
            ["/bin/sh /etc/evenkeel/prestop.sh", "/opt/evenkeel/evenkeel hook prestop"]
                .contains(&command.as_str())
        );
        let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap();
        assert!(grace >= 25 + 60, "{grace}");
        for variable in container["env"].as_vec().unwrap() {
            let name = variable["name"].as_str().unwrap();
            assert!(script.contains(name), "{name} is nothing that a hook reads");
        }
    }
}

/// A listener that answers each request with the next of these statuses, the last one for good, and notes their paths.
fn sidecar(statuses: &'static [u16]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    answering(statuses, Duration::ZERO)
}

/// One at which somebody is left each time, which it says after so long.
fn slow(after: Duration) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    answering(&[202], after)
}

fn answering(statuses: &'static [u16], after: Duration) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let notes = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            let text = String::from_utf8(head).unwrap();
            let mut notes = notes.lock().unwrap();
            let status = statuses[notes.len().min(statuses.len() - 1)];
            notes.push(text.split(' ').nth(1).unwrap_or_default().to_owned());
            std::thread::sleep(after);
            let _ =
                write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
        }
    });
    (address, asked)
}

/// Runs both hooks, one after the other.
fn hooks(env: &[(&str, &str)]) -> Vec<(&'static str, Output, Duration)> {
    let binary = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(["hook", "prestop"]);
        command
    };
    let script = || {
        let mut command = Command::new("sh");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/prestop.sh"));
        command
    };
    [("program", binary()), ("script", script())]
        .into_iter()
        .map(|(name, mut command)| {
            let start = Instant::now();
            let output = command.envs(env.iter().copied()).output().unwrap();
            (name, output, start.elapsed())
        })
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_hook_asks_every_sidecar_and_waits() {
    let ((one, at_one), (other, at_other)) = (sidecar(&[200]), sidecar(&[200]));
    let both = format!("{one},http://{other}/");
    let env = [
        ("PRESTOP_CLUSTER", "coord"),
        ("PRESTOP_SIDECARS", both.as_str()),
        ("POD_NAME", "zk-2"),
        ("PRESTOP_MEMBER", "{pod}.zk:2181"),
    ];
    for (name, output, _) in hooks(&env) {
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
    }
    for asked in [at_one, at_other] {
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 2, "once by each hook: {asked:?}");
        for path in asked.iter() {
            assert!(path.starts_with("/v1/hooks/prestop?cluster=coord&member=zk-2.zk"), "{path}");
            assert_eq!(Routes::read().problem("GET", path), None);
        }
    }
    // 202: some are left, and it is asked again.
    let (busy, asked) = sidecar(&[202, 202, 200]);
    let listener = busy.to_string();
    let env =
        [("PRESTOP_CLUSTER", "orders"), ("PRESTOP_SIDECARS", listener.as_str()), ("POD_NAME", "kafka-3")];
    let (_, output, _) = &hooks(&env)[0];
    assert!(said(output).contains("nobody is left"), "{}", said(output));
    assert!(asked.lock().unwrap().len() >= 3);
}

#[test]
fn a_hook_fails_open_and_in_time() {
    // One that answers nothing, one that is gone, and one that refuses.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (refusing, _) = sidecar(&[403]);
    let gone = "127.0.0.1:1".to_owned();
    let listeners = [silent.local_addr().unwrap().to_string(), gone.clone(), refusing.to_string()];
    let all = listeners.join(",");
    let env = [
        ("PRESTOP_CLUSTER", "orders"),
        ("PRESTOP_SIDECARS", all.as_str()),
        ("POD_NAME", "kafka-3"),
        ("PRESTOP_TIMEOUT_S", "2"),
    ];
    for (name, output, took) in hooks(&env) {
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{name}: {said}");
        // The bound, and what a busy machine needs to start a program.
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        for listener in &listeners {
            assert!(said.contains(listener.as_str()), "{name}: {said}");
        }
    }
    for (name, output, _) in hooks(&[("PRESTOP_CLUSTER", "orders")]) {
        assert_eq!(output.status.code(), Some(0), "{name}");
        assert!(said(&output).contains("PRESTOP_SIDECARS"), "{name}: {}", said(&output));
    }
}

/// The script that asks as the program does, however long it is to wait: a sidecar takes 240 s at most.
#[test]
fn the_script_waits_as_long_as_it_is_told_and_no_longer() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/prestop.sh");
    let run = |script: &Path, sidecar: SocketAddr, seconds: &str| {
        let start = Instant::now();
        let mut command = Command::new("sh");
        let listener = sidecar.to_string();
        command.arg(script).env("PRESTOP_CLUSTER", "orders").env("POD_NAME", "kafka-3");
        let output =
            command.env("PRESTOP_SIDECARS", listener).env("PRESTOP_TIMEOUT_S", seconds).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        start.elapsed()
    };
    for (seconds, asked_for) in
        [("600", "240"), ("99999999999999999999", "240"), ("0", "25"), ("soon", "25"), ("008", "8")]
    {
        let (address, asked) = sidecar(&[200]);
        run(&path, address, seconds);
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "{seconds}: {asked:?}");
        assert!(asked[0].ends_with(&format!("timeout_s={asked_for}")), "{seconds}: {asked:?}");
    }
    // Some are left after the longest answer: it is asked again until the time is over.
    let text = read("deploy/kubernetes/prestop.sh");
    assert!(text.contains("\nlongest=240 "));
    let short = std::env::temp_dir().join(format!("evenkeel-prestop-{}.sh", std::process::id()));
    std::fs::write(&short, text.replace("\nlongest=240 ", "\nlongest=1 ")).unwrap();
    let (address, asked) = slow(Duration::from_millis(1100));
    let took = run(&short, address, "4");
    std::fs::remove_file(&short).unwrap();
    let asked = asked.lock().unwrap();
    assert!(asked.len() > 1 && took < Duration::from_secs(20), "{asked:?} {took:?}");
    assert!(asked[0].ends_with("timeout_s=1"), "{asked:?}");
}
