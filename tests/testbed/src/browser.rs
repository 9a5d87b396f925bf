//! A real browser without a window: Debian's Chromium, spoken to through its debugging pipe.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::Server;
use crate::{Error, Result, wait};

/// The names under which it may be installed.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// How long it may take for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page in a browser. Dropping it ends the browser.
#[derive(Debug)]
pub struct Page {
    server: Server,
    folder: PathBuf,
    to: File,
    from: Receiver<Value>,
    /// What it told meanwhile.
    events: VecDeque<Value>,
    session: String,
    number: u64,
}

fn wrong(message: impl Into<String>) -> Error {
    Error::program("chromium", message)
}

impl Page {
    /// Opens an address; waits until the page is there, not until its script is done.
    pub fn open(url: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = NAMES.iter().find(|name| Command::new(name).arg("--version").output().is_ok());
        let missing = "no Chromium: apt-get install --no-install-recommends chromium".to_owned();
        let name = name.ok_or(Error::Missing(missing))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("evenkeel-browser-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).map_err(Error::io("creating a folder"))?;
        let (to, from) = (folder.join("to"), folder.join("from"));
        let pipes = Command::new("mkfifo").args([&to, &from]).status().map_err(Error::io("making pipes"))?;
        if !pipes.success() {
            return Err(wrong("mkfifo failed"));
        }
        let mut command = Command::new("bash");
        // Descriptor 3 is what it reads, 4 what it writes. Opened for both, a pipe waits for nobody.
        command.args(["-c", "exec \"$@\" 3<>\"$IN\" 4<>\"$OUT\"", "chromium", name]);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
        command.args(["--window-size=1200,1600", "--remote-debugging-pipe", "about:blank"]);
        command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.env("IN", &to).env("OUT", &from);
        let server = Server::spawn("chromium", command, &folder.join("log"), None)?;
        let open = |path: &PathBuf| {
            File::options().read(true).write(true).open(path).map_err(Error::io("opening a pipe"))
        };
        let reading = open(&from)?;
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(reading).split(0) {
                let Ok(message) = message else { return };
                let Ok(value) = serde_json::from_slice(&message) else { continue };
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        let mut page = Self {
            server,
            folder,
            to: open(&to)?,
            from: told,
            events: VecDeque::new(),
            session: String::new(),
            number: 0,
        };
        let text = |value: &Value, key: &str| {
            value
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .ok_or_else(|| wrong(format!("{key} in {value}")))
        };
        let target = page.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let target = text(&target, "targetId")?;
        let session = page.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }))?;
        page.session = text(&session, "sessionId")?;
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, &json!({}))?;
        }
        page.call("Page.navigate", &json!({ "url": url }))?;
        page.until("the page", "document.readyState === 'complete'")?;
        Ok(page)
    }

    /// One command of the debugging protocol, and its result.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(message) = message.as_object_mut().filter(|_| !self.session.is_empty()) {
            message.insert("sessionId".to_owned(), json!(self.session));
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).map_err(Error::io("speaking to chromium"))?;
        let until = Instant::now() + PATIENCE;
        loop {
            self.server.check()?;
            let left = until.saturating_duration_since(Instant::now());
            let Ok(answer) = self.from.recv_timeout(left) else {
                return Err(wrong(format!("{method} was not answered in time")));
            };
            if answer.get("id").and_then(Value::as_u64) != Some(self.number) {
                self.events.push_back(answer);
                continue;
            }
            if let Some(error) = answer.get("error") {
                return Err(wrong(format!("{method}: {error}")));
            }
            return Ok(answer.get("result").cloned().unwrap_or_default());
        }
    }

    /// What an expression is in the page.
    pub fn value(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &asked)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            return Err(wrong(format!("{expression}: {thrown}")));
        }
        Ok(answer.pointer("/result/value").cloned().unwrap_or_default())
    }

    /// The same as text.
    pub fn text(&mut self, expression: &str) -> Result<String> {
        Ok(self.value(expression)?.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an expression is true in the page.
    pub fn until(&mut self, what: &str, expression: &str) -> Result<()> {
        let met = wait::poll(what, PATIENCE, Duration::from_millis(100), || {
            Ok((self.value(expression)? == Value::Bool(true)).then_some(()))
        });
        met.map_err(|error| {
            let shown = self.text("document.body ? document.body.innerText : ''").unwrap_or_default();
            wrong(format!("{error}; the page shows:\n{shown}"))
        })
    }

    /// Presses and releases a key, as a person would: `Tab`, `Enter`, `Space`.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            _ => (32, " "),
        };
        let name = if key == "Space" { " " } else { key };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        for kind in [down, "keyUp"] {
            let mut event = json!({ "type": kind, "key": name, "code": key, "windowsVirtualKeyCode": code });
            if let Some(event) = event.as_object_mut().filter(|_| kind == "keyDown") {
                event.insert("text".to_owned(), json!(text));
            }
            self.call("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    /// A picture of the page, as PNG in base64.
    pub fn picture(&mut self) -> Result<String> {
        let picture =
            self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }))?;
        Ok(picture.get("data").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// What the browser complained about: exceptions, refusals of the page's policy, errors of the console.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        self.value("1")?; // what was told before this is there by now
        let is = |event: &&Value| match event.get("method").and_then(Value::as_str) {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event.pointer("/params/type") == Some(&json!("error")),
            Some("Log.entryAdded") => event.pointer("/params/entry/level") == Some(&json!("error")),
            _ => false,
        };
        Ok(self.events.iter().filter(is).map(Value::to_string).collect())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.server.kill();
        if std::env::var_os("TESTBED_KEEP").is_none_or(|v| v != "1") {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
