//! Programs under test, raw HTTP to them, and all that was seen of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is gone afterwards.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("evenkeel-control-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program, with nothing in its environment that it reads.
pub fn evenkeel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("EVENKEEL_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for something.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One that runs, and its log. Killed when dropped.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    log: String,
    /// Its listeners, in the order in which it names them.
    pub admin: Vec<SocketAddr>,
}

impl Program {
    /// A sidecar with two listeners.
    pub fn start(config: &Path) -> Self {
        Self::spawn(evenkeel().args(["run", "--config"]).arg(config), "admin listens", 2)
    }

    /// Waits until it has named so many listeners.
    pub fn spawn(command: &mut Command, named: &str, listeners: usize) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut program = Self { child, lines, log: String::new(), admin: Vec::new() };
        while program.admin.len() < listeners {
            let line = program.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{}", program.log));
            if line.contains(named) {
                let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap();
                program.admin.push(address.parse().unwrap());
            }
            program.log += &line;
            program.log.push('\n');
        }
        program
    }

    /// Ends it; all that it wrote.
    pub fn end(&mut self) -> String {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        until("it ends", || self.child.try_wait().unwrap().is_some());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log += &line;
            self.log.push('\n');
        }
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        format!("{}{out}", self.log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that was written where people look.
#[derive(Default)]
pub struct Seen {
    pub all: String,
}

impl Seen {
    pub fn text(&mut self, text: &str) {
        self.all += text;
        self.all.push('\n');
    }

    /// All that comes back for these bytes until the other side closes.
    pub fn raw(&mut self, address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // What is too long is refused before all of it was written.
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let mut part = [0; 4096];
        // A reset behind the answer takes nothing away from it.
        while let Ok(count @ 1..) = stream.read(&mut part) {
            text.extend_from_slice(&part[..count]);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        self.text(&text);
        text
    }

    /// Status, and all of the answer in small letters up to its body.
    pub fn http(
        &mut self,
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String) {
        let kind = if body == "{}" && !headers.contains("Content-Type") && path.ends_with("/plan") {
            "Content-Type: application/json\r\n"
        } else {
            ""
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{kind}{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let text = self.raw(address, request.as_bytes());
        let status =
            text.split(' ').nth(1).unwrap_or_else(|| panic!("{method} {path}: {text:?}")).parse().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (status, format!("{}\n{body}", head.to_lowercase()))
    }

    /// Its exit code, and all that it wrote.
    pub fn command(&mut self, command: &mut Command) -> (i32, String) {
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        self.text(&text);
        (output.status.code().unwrap(), text)
    }

    /// None of these was seen.
    pub fn has_none_of(&self, secrets: &[&str]) {
        for secret in secrets {
            let line = self.all.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} was shown");
        }
    }
}

/// A listener that answers each request with the same, and what it was asked.
pub fn answering(answer: String) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            let _ = sender.send(String::from_utf8_lossy(&head).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, asked)
}
