//! `deploy/roll.sh` before a sidecar that does what a test says, order by order.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is against `stop` of member 1; and what was ordered, as `drain 1`, `undrain 1`, `plan N members`, `run 1`.
#[derive(Default)]
struct Sidecar {
    drained: Option<&'static str>,
    /// What becomes of the drains of member 1, one after the other; then they last.
    fates: Vec<&'static str>,
    led: bool,
    had_turn: Vec<String>,
    orders: Vec<String>,
    /// The answer of `finalize` while the first generation lives.
    finalize: Option<&'static str>,
    folder: PathBuf,
}

impl Sidecar {
    fn had_turn(&mut self) {
        self.had_turn = fs::read_to_string(self.folder.join("run"))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect();
    }

    fn answer(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.had_turn();
        let told = |text: &str| (409, format!("wait\n{text}: a fake\n"));
        let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        match (method, path.rsplit('/').next().unwrap()) {
            ("PUT", "plan") => {
                let members = value["members"].as_array().unwrap();
                let ids: Vec<&str> = members.iter().map(|member| member["id"].as_str().unwrap()).collect();
                let order = format!("plan {} {}", value["generation"], ids.join(","));
                if self.orders.last() != Some(&order) {
                    self.orders.push(order);
                }
                if value["generation"] != 1 {
                    self.finalize = None;
                }
                (200, "{}".to_owned())
            }
            (method, "drain") => {
                let member = path.rsplit('/').nth(1).unwrap();
                let on = method == "PUT";
                self.orders.push(format!("{}drain {member}", if on { "" } else { "un" }));
                if member == "1" {
                    self.drained = match on {
                        true if self.drained == Some("drain_expired") => self.drained,
                        true => Some(if self.fates.is_empty() { "" } else { self.fates.remove(0) }),
                        false => None,
                    };
                }
                (200, "{}".to_owned())
            }
            ("POST", "flagger") => {
                let (gate, member) = (&value["metadata"]["gate"], &value["metadata"]["member"]);
                match (gate.as_str().unwrap(), member.as_str()) {
                    ("stop", Some("1")) => match self.drained {
                        Some("") if self.led && !self.had_turn.contains(&"2".to_owned()) => {
                            told("leader_comes_last")
                        }
                        Some("") => (200, "go\n".to_owned()),
                        Some(why) => told(why),
                        None if self.led && !self.had_turn.contains(&"2".to_owned()) => {
                            told("not_drained: a fake\nleader_comes_last")
                        }
                        None => told("not_drained"),
                    },
                    ("stop", _) if self.orders.last().is_some_and(|order| order == "drain 2") => {
                        (200, "go\n".to_owned())
                    }
                    ("stop", _) => told("not_drained"),
                    ("finalize", _) if self.finalize.is_some() => told(self.finalize.unwrap()),
                    _ => (200, "go\n".to_owned()),
                }
            }
            ("POST", "finalize") => (200, "{}".to_owned()),
            other => panic!("{other:?}"),
        }
    }
}

fn serve(mut stream: TcpStream, sidecar: &Mutex<Sidecar>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(told) = line.to_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap_or_default());
    let (status, text) = sidecar.lock().unwrap().answer(method, path, &String::from_utf8(body).unwrap());
    let _ = write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}

struct Bed {
    address: SocketAddr,
    sidecar: Arc<Mutex<Sidecar>>,
    folder: PathBuf,
}

impl Bed {
    fn new(name: &str, sidecar: Sidecar) -> Self {
        let folder = std::env::temp_dir().join(format!("evenkeel-roll-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let sidecar = Arc::new(Mutex::new(Sidecar { folder: folder.clone(), ..sidecar }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::clone(&sidecar));
        std::thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap(), &shared)));
        Self { address, sidecar, folder }
    }

    /// Runs the script. Its command notes who has a turn, and then does `then`; drains are said again each second.
    fn roll(&self, members: &str, then: &str, more: &[&str]) -> Output {
        let text = crate::read("deploy/roll.sh");
        assert!(text.contains("\nagain=60 "), "the pace at which drains are said again");
        let script = self.folder.join("roll.sh");
        fs::write(&script, text.replace("\nagain=60 ", "\nagain=1 ")).unwrap();
        let command = format!("echo $MEMBER >>{}/run; {then}", self.folder.display());
        let sidecars = format!("http://{}", self.address);
        let words = ["--cluster", "c", "--plan", "p", "--members", members, "--command", &command];
        let mut bash = Command::new("bash");
        bash.arg(script).args(words).args(["--sidecars", &sidecars, "--stable", "00", "--bound", "09"]);
        bash.args(more).output().unwrap()
    }

    fn orders(&self) -> Vec<String> {
        self.sidecar.lock().unwrap().orders.clone()
    }

    fn runs(&self) -> String {
        fs::read_to_string(self.folder.join("run")).unwrap_or_default()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Numbers with zeros in front are numbers, too: all of these tests give them.
#[test]
fn a_drain_that_has_expired_is_begun_anew() {
    let bed =
        Bed::new("expired", Sidecar { fates: vec!["drain_expired", "not_drained"], ..Sidecar::default() });
    let output = bed.roll("1", "true", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let drains: Vec<String> = bed.orders().into_iter().filter(|order| !order.starts_with("plan")).collect();
    let again = ["drain 1", "undrain 1", "drain 1", "undrain 1", "drain 1", "undrain 1"];
    assert_eq!(drains, again, "{}", said(&output));
    assert_eq!(bed.runs(), "1\n");
}

#[test]
fn one_that_begins_to_lead_meanwhile_is_left_and_comes_last() {
    let bed = Bed::new("leads", Sidecar::default());
    // It leads from the moment at which it has been drained.
    let before = format!("touch {}/before", bed.folder.display());
    let chosen = (Arc::clone(&bed.sidecar), bed.folder.join("before"));
    let watcher = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(60);
        while !chosen.1.exists() {
            assert!(Instant::now() < end, "nobody was chosen");
            std::thread::sleep(Duration::from_millis(5));
        }
        chosen.0.lock().unwrap().led = true;
    });
    let output = bed.roll("1,2", "true", &["--before", &format!("{before}; sleep 1")]);
    watcher.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(bed.runs(), "2\n1\n", "{}", said(&output));
    let drains: Vec<String> = bed.orders().into_iter().filter(|order| !order.starts_with("plan")).collect();
    assert_eq!(drains, ["drain 1", "undrain 1", "drain 2", "undrain 2", "drain 1", "undrain 1"]);
}

#[test]
fn a_long_command_keeps_its_member_drained_until_it_is_back() {
    // When it has come back its drain is ended, as Evenkeel does it.
    let fates = vec!["", "", "not_drained"];
    let bed = Bed::new("long", Sidecar { fates, ..Sidecar::default() });
    let output = bed.roll("1", "sleep 7", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let drains: Vec<String> = bed.orders().into_iter().filter(|order| !order.starts_with("plan")).collect();
    assert_eq!(drains, ["drain 1", "drain 1", "drain 1", "undrain 1"], "{}", said(&output));
    // How the command ends is what counts; and nothing is left behind.
    let failed = Bed::new("failed", Sidecar::default());
    let output = failed.roll("1", "sleep 2; exit 7", &[]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("the command for 1 ended with 7"), "{}", said(&output));
    assert_eq!(failed.orders().last().map(String::as_str), Some("undrain 1"));
}

/// A sidecar that was started in the middle would wait for turns for ever.
#[test]
fn one_member_stands_for_all_where_a_sidecar_has_not_seen_all_turns() {
    let bed = Bed::new("late", Sidecar { finalize: Some("turns_left"), ..Sidecar::default() });
    let output = bed.roll("1,2", "true", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let plans: Vec<String> = bed.orders().into_iter().filter(|order| order.starts_with("plan")).collect();
    assert_eq!(plans, ["plan 1 1,2", "plan 2 2"], "{}", said(&output));
}
