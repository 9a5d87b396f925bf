//! The real program as a process: its exit codes, its signals, its log.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

#[path = "process/check.rs"]
mod check;
#[path = "process/reload.rs"]
mod reload;

/// Longer than anything here takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("evenkeel-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) -> PathBuf {
        let file = self.0.join("evenkeel.toml");
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Each test has broker ports of its own: tests run side by side.
fn config(level: &str, broker_ports: &str) -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"{level}\"\n[[kafka]]\nname = \"orders\"\n\
         listen = \"127.0.0.1:0\"\nbootstrap = [\"127.0.0.1:1\"]\nbroker_ports = \"{broker_ports}\"\n"
    )
}

fn evenkeel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EVENKEEL_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn once(arguments: &[&str], config: &Path) -> Output {
    evenkeel().args(arguments).arg("--config").arg(config).output().unwrap()
}

/// A running evenkeel, and its log as it comes. Killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    admin: SocketAddr,
}

impl Running {
    fn start(config: &Path) -> Self {
        Self::spawn(evenkeel().arg("run").env("EVENKEEL_CONFIG", config))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let admin = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = Self { child, lines, seen: Vec::new(), admin };
        let line = running.line("admin listens");
        running.admin = line.rsplit_once("address=").unwrap().1.trim().parse().unwrap();
        running
    }

    /// Waits for a line of the log that comes after those seen already.
    fn line(&mut self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no line with {part:?} ({error}) in {:#?}", self.seen),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn exit(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it doesn't end; the log: {:#?}", self.seen);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_file_that_can_not_be_used_is_named_and_a_secret_never_shown() {
    let folder = Folder::new("files");
    let password = folder.0.join("password");
    std::fs::write(&password, "hunter2\nhunter3\n").unwrap();
    let at = password.display();
    let keys = format!(
        "tls.enabled = true\ntls.ca = \"/nonexistent/ca.pem\"\nsasl.mechanism = \"PLAIN\"\nsasl.username = \"me\"\n\
         sasl.password_file = '{at}'\nlisten_tls.certificate = '{at}'\nlisten_tls.key = '{at}'\n"
    );
    let file = folder.write(&format!("{}{keys}", config("info", "21010-21019")));
    let whys = [
        format!("listen_tls.certificate: {at}: holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"),
        format!(
            "listen_tls.key: {at}: holds no private key in PEM that is not encrypted (-----BEGIN PRIVATE KEY-----)"
        ),
        format!("sasl.password_file: {at}: holds more than one line; write the secret alone"),
        "tls.ca: /nonexistent/ca.pem: can't be read: No such file or directory (os error 2)".to_owned(),
    ];
    let all: Vec<String> = whys.iter().map(|why| format!("{}: kafka[0].{why}\n", file.display())).collect();
    let all = all.concat();
    for command in ["check", "run"] {
        let output = once(&[command], &file);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text), (Some(1), all.clone()), "{command}");
    }
    let plain = format!("sasl.mechanism = \"PLAIN\"\nsasl.username = \"me\"\nsasl.password_file = '{at}'\n");
    let file = folder.write(&format!("{}{plain}", config("info", "21010-21019")));
    std::fs::write(&password, "hunter2\n").unwrap();
    let output = once(&["check"], &file);
    assert!(String::from_utf8(output.stderr).unwrap().contains("PLAIN without tls.enabled"));
}

#[test]
fn wrong_usage_is_exit_code_2_and_the_version_is_told() {
    for arguments in [&[][..], &["run"], &["walk"], &["check", "--confg", "x"]] {
        assert_eq!(evenkeel().args(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
    let output = evenkeel().arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("evenkeel {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn an_address_in_use_is_named_with_its_key() {
    let folder = Folder::new("in-use");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = config("info", "21010-21019")
        .replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"{address}\""));
    let output = once(&["run"], &folder.write(&text));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("admin.listen: cannot listen on {address}")), "{text}");
}

#[test]
fn it_serves_without_brokers_and_sigterm_ends_it_in_order() {
    let folder = Folder::new("term");
    let mut running = Running::start(&folder.write(&config("info", "21020-21029")));
    assert!(running.get("/healthz").starts_with("HTTP/1.1 200"));
    let ready = running.get("/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("kafka orders: no broker reached yet"),
        "{ready}"
    );
    let metrics = running.get("/metrics");
    assert!(metrics.contains("\nevenkeel_ready 0\n"), "{metrics}");
    assert!(metrics.contains("evenkeel_hold_requests{cluster=\"orders\",protocol=\"kafka\"} 0"), "{metrics}");
    assert!(running.get("/v1/clusters/orders").contains("\"orders\""));
    running.signal(Signal::TERM);
    running.line("stopping");
    assert_eq!(running.exit().code(), Some(0));
}

/// Clients' connections are files; a shell's soft limit is none of Evenkeel's.
#[test]
fn it_raises_the_limit_of_open_files_to_what_it_is_allowed() {
    let folder = Folder::new("files");
    let file = folder.write(&config("info", "25400-25499"));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 100; exec \"$0\" run --config \"$1\""]);
    command.arg(env!("CARGO_BIN_EXE_evenkeel")).arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::spawn(&mut command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|at| line.split_whitespace().nth(at).unwrap());
    assert!(soft == hard && soft != "100", "{line}");
    assert!(
        running.seen.iter().any(|line| line.contains(&format!("open_files={soft}"))),
        "{:?}",
        running.seen
    );
}

#[test]
fn two_signals_in_a_row_end_it_whatever_is_open() {
    let folder = Folder::new("second");
    let mut running = Running::start(&folder.write(&config("info", "21030-21039")));
    // Keeps the admin listener's own drain from ending at once, so that the second signal comes within it.
    let mut half = TcpStream::connect(running.admin).unwrap();
    half.write_all(b"GET /hea").unwrap();
    assert!(running.get("/healthz").starts_with("HTTP/1.1 200"));
    // Back to back, and different, so that neither takes the other's place; which is first is left to the kernel.
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    let code = running.exit().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?} {:#?}", running.seen);
    running.line("ending at once");
}

#[test]
fn sighup_changes_the_log_level_refuses_a_broken_file_and_names_what_needs_a_restart() {
    let folder = Folder::new("hup");
    let quiet = config("info", "21040-21049");
    let mut running = Running::start(&folder.write(&quiet));
    let debug_line = "admin: the connection ended early";
    let provoke = |running: &Running| {
        // A head that isn't finished is worth a line at debug.
        let mut stream = TcpStream::connect(running.admin).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
        drop(stream);
        // Answered later than the other was accepted, so that its end has been seen or soon is.
        assert!(running.get("/healthz").starts_with("HTTP/1.1 200"));
    };
    provoke(&running);
    folder
        .write(&quiet.replace("level = \"info\"", "level = \"debug\"").replace("21040-21049", "21040-21048"));
    running.signal(Signal::HUP);
    let line = running.line("kafka[orders].broker_ports");
    assert!(line.contains("WARN") && line.contains("not changed yet"), "{line}");
    assert!(
        running.seen.iter().any(|line| line.contains("log.level") && line.contains("INFO")),
        "{:#?}",
        running.seen
    );
    assert!(!running.seen.iter().any(|line| line.contains("DEBUG")), "{:#?}", running.seen);
    provoke(&running);
    running.line(debug_line);
    folder.write("wat = 1\n");
    running.signal(Signal::HUP);
    running.line("wat");
    running.line("nothing has changed");
    // Still at debug, still serving.
    provoke(&running);
    running.line(debug_line);
    running.signal(Signal::TERM);
    assert_eq!(running.exit().code(), Some(0));
}

#[test]
fn the_log_can_be_json_and_variables_override_the_file() {
    let folder = Folder::new("json");
    let file = folder.write(&config("off", "21050-21059"));
    let mut child = evenkeel()
        .arg("run")
        .arg("--config")
        .arg(&file)
        .env("EVENKEEL_LOG_FORMAT", "json")
        .env("EVENKEEL_LOG_LEVEL", "info")
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let _ = child.kill();
    let _ = child.wait();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
    assert_eq!(json["level"], "INFO");
    assert!(json["message"].as_str().unwrap().contains("kafka orders on 127.0.0.1:0"), "{json}");
}

/// What a service manager is told, over the socket that it names.
#[test]
fn a_service_manager_is_told_of_start_reload_and_stop() {
    let folder = Folder::new("notify");
    let socket = folder.0.join("notify.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let wait_for = |part: &str| {
        let mut buf = [0; 1024];
        loop {
            let n = manager.recv(&mut buf).unwrap_or_else(|e| panic!("nobody said {part}: {e}"));
            let text = String::from_utf8_lossy(&buf[..n]).into_owned();
            if text.lines().any(|line| line == part) {
                return text;
            }
        }
    };
    let file = folder.write(&config("info", "21060-21069"));
    let mut command = evenkeel();
    command
        .arg("run")
        .arg("--config")
        .arg(&file)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "100000");
    let mut running = Running::spawn(&mut command);
    let ready = wait_for("READY=1");
    assert!(ready.contains("STATUS=not ready: kafka orders: no broker reached yet"), "{ready}");
    wait_for("WATCHDOG=1");
    running.signal(Signal::HUP);
    assert!(wait_for("RELOADING=1").contains("MONOTONIC_USEC="));
    wait_for("READY=1");
    running.signal(Signal::TERM);
    wait_for("STOPPING=1");
    assert_eq!(running.exit().code(), Some(0));
}

#[test]
fn bypass_is_switched_from_the_command_line() {
    let folder = Folder::new("bypass");
    let running = Running::start(&folder.write(&config("info", "21070-21079")));
    let admin = format!("http://{}", running.admin);
    let switch = |arguments: &[&str]| evenkeel().arg("bypass").args(arguments).output().unwrap();
    for (word, on) in [("on", true), ("on", true), ("off", false)] {
        let output = switch(&[word, "orders", "--admin", &admin]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("orders: bypass is {word}\n"));
        assert!(running.get("/v1/clusters/orders").contains(&format!("\"bypass\": {on}")));
    }
    let output = switch(&["on", "nobody", "--admin", &admin]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no cluster of that name"));
    // Nobody listens where the configuration says (port 0 is no place to connect to).
    let output = evenkeel()
        .args(["bypass", "on", "orders", "--config"])
        .arg(folder.write(&config("info", "21070-21079")))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is evenkeel running there?"));
    assert_eq!(switch(&["perhaps", "orders"]).status.code(), Some(2));
}

#[test]
fn an_upgrade_ends_with_a_code_for_scripts() {
    let folder = Folder::new("upgrade");
    let running = Running::start(&folder.write(&config("info", "21080-21089")));
    let admin = running.admin;
    let plan = |id: &str, more: &str| {
        let file = folder.0.join(format!("{id}.toml"));
        let text = format!(
            "plan_id = \"{id}\"\ncluster = \"orders\"\nprotocol = \"kafka\"\ncommand = \"true\"\nmembers = [{{ id = \"1\" }}]\n\
             sidecars = {{ list = [\"{admin}\"] }}\nbounds = {{ gate_s = 1, silent_s = 1 }}\n{more}"
        );
        std::fs::write(&file, text).unwrap();
        file
    };
    let upgrade = |plan: &Path, more: &[&str]| {
        let output = evenkeel().arg("upgrade").arg(plan).args(more).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = upgrade(&plan("bad", "stabel_s = 1\n"), &[]);
    assert!(code == Some(2) && text.contains("stabel_s"), "{code:?} {text}");
    let (code, text) = upgrade(&plan("one", ""), &["--dry-run"]);
    assert!(code == Some(0) && text.contains("knows no such member"), "{code:?} {text}");
    assert!(running.get("/v1/clusters/orders").contains("\"plan\": null"), "it changes nothing");
    assert!(!folder.0.join("one.toml.journal").exists());
    let (code, text) = upgrade(&folder.0.join("one.toml"), &["--rollback"]);
    assert!(code == Some(2) && text.contains("no roll"), "{code:?} {text}");
    // No broker is there, so the gate stays closed.
    let (code, text) = upgrade(&folder.0.join("one.toml"), &[]);
    assert!(code == Some(3) && text.contains("gate stop"), "{code:?} {text}");
    assert!(running.get("/v1/clusters/orders").contains("\"plan_id\": \"one\""));
    let journal = std::fs::read_to_string(folder.0.join("one.toml.journal")).unwrap();
    assert!(journal.lines().last().unwrap().contains("\"event\":\"stopped\",\"code\":3"), "{journal}");
    let (code, text) = upgrade(&plan("other", ""), &[]);
    assert!(code == Some(7) && text.contains("plan one of generation 1 lives there"), "{code:?} {text}");
    let (code, text) = upgrade(&plan("one", "to = \"4.3.1\"\n"), &[]);
    assert!(code == Some(2) && text.contains("other members or versions"), "{code:?} {text}");
    let patient = plan("one", "");
    let text = std::fs::read_to_string(&patient).unwrap().replace("gate_s = 1,", "gate_s = 600,");
    std::fs::write(&patient, text).unwrap();
    let waits = evenkeel().arg("upgrade").arg(patient).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(waits.id()).unwrap()).unwrap();
    // Its handlers are there when its journal says that it is started.
    let started = |text: String| text.matches("\"event\":\"started\"").count() == 3;
    let until = Instant::now() + PATIENCE;
    while !started(std::fs::read_to_string(folder.0.join("one.toml.journal")).unwrap()) {
        assert!(Instant::now() < until, "it is not started");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(pid, Signal::TERM).unwrap();
    let output = waits.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    drop(running);
    let (code, text) = upgrade(&plan("one", ""), &[]);
    assert!(code == Some(6) && text.contains("127.0.0.1:"), "{code:?} {text}");
}
