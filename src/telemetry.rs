//! Logs: text or JSON lines on stderr, with a filter that can be changed while running.
//!
//! Takes plain values, imports nothing of the crate. A slow reader of stderr must never stop the thread that moves
//! clients' bytes: lines go through a bounded queue to a thread of their own, and what doesn't fit is dropped and
//! counted in a line of its own.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// The shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// What can be wrong with logging.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter doesn't parse.
    #[error(
        "{filter:?} is not a log filter ({reason}); write a level such as \"info\", or \"info,evenkeel::kafka=debug\""
    )]
    Filter {
        /// As it was given.
        filter: String,
        /// What the parser said.
        reason: String,
    },
    /// Something in the process logs elsewhere already.
    #[error("logging is set up already")]
    AlreadySet,
    /// The thread that writes can't be started.
    #[error("no thread for the log: {0}")]
    Thread(io::Error),
}

/// Lines that may wait for stderr.
const QUEUE: usize = 4096;
/// How long [`Telemetry::flush`] waits for a stderr that takes nothing.
const FLUSH: Duration = Duration::from_secs(1);

/// The handle of the process's log.
#[derive(Clone, Debug)]
pub struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    queue: SyncSender<Message>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flushed(SyncSender<()>),
}

/// Starts logging for the whole process. `filter` has the syntax of [`EnvFilter`].
pub fn init(format: Format, filter: &str) -> Result<Telemetry, TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let (queue, lines) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let sink = Sink { queue: queue.clone(), lost: Arc::clone(&lost) };
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(format, sink))
        .try_init()
        .map_err(|_| TelemetryError::AlreadySet)?;
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&lines, &lost, format))
        .map_err(TelemetryError::Thread)?;
    Ok(Telemetry { filter: handle, queue })
}

fn layer<S>(format: Format, sink: Sink) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    match format {
        Format::Text => fmt::layer().with_ansi(false).with_writer(move || sink.clone()).boxed(),
        Format::Json => fmt::layer().json().flatten_event(true).with_writer(move || sink.clone()).boxed(),
    }
}

/// Says what is wrong with a filter, if anything is.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

impl Telemetry {
    /// Changes what is logged from now on.
    pub fn set_filter(&self, filter: &str) -> Result<(), TelemetryError> {
        let parsed = parse(filter)?;
        // It fails only when the subscriber is gone, and that lives as long as the process.
        let _ = self.filter.reload(parsed);
        Ok(())
    }

    /// Waits until everything logged so far is written, at most a second. For the end of the process; blocks.
    pub fn flush(&self) {
        let until = Instant::now() + FLUSH;
        let (sender, done) = sync_channel(1);
        let mut message = Message::Flushed(sender);
        while let Err(error) = self.queue.try_send(message) {
            match error {
                TrySendError::Full(back) if Instant::now() < until => message = back,
                _ => return,
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Takes whole lines: the formatter writes each event at once.
#[derive(Clone, Debug)]
struct Sink {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// A line as it is written: control characters in it, which may be a client's or a server's own words, begin no other line and colour nothing.
/// JSON has none below U+0020 to begin with, and reads `\u007f` as what it stands for.
fn one_line(line: &[u8]) -> Vec<u8> {
    let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, b"\n"));
    // Those above ASCII are U+0080 to U+009F.
    if !text.iter().any(|byte| byte.is_ascii_control() || *byte == 0xc2) {
        return line.to_vec();
    }
    let mut out = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // A string takes everything.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    [out.as_bytes(), end].concat()
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(one_line(line))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(lines: &Receiver<Message>, lost: &AtomicU64, format: Format) {
    while let Ok(message) = lines.recv() {
        match message {
            // A stderr that is closed is no reason to stop serving.
            Message::Line(line) => drop(io::stderr().write_all(&line)),
            Message::Flushed(done) => drop(done.try_send(())),
        }
        let dropped = lost.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = io::stderr().write_all(lost_line(dropped, format).as_bytes());
        }
    }
}

fn lost_line(lines: u64, format: Format) -> String {
    match format {
        Format::Text => format!("{lines} lines of the log were dropped: stderr is read too slowly\n"),
        Format::Json => {
            format!(
                "{{\"level\":\"WARN\",\"message\":\"log lines dropped: stderr is read too slowly\",\"lines\":{lines}}}\n"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked_in_words() {
        check_filter("info").unwrap();
        check_filter("warn,evenkeel::kafka=trace").unwrap();
        let text = check_filter("info,evenkeel=loud").unwrap_err().to_string();
        assert!(text.contains("\"info,evenkeel=loud\" is not a log filter"), "{text}");
    }

    #[test]
    fn a_full_queue_drops_lines_and_counts_them_without_waiting() {
        let (queue, lines) = sync_channel(2);
        let lost = Arc::new(AtomicU64::new(0));
        let mut sink = Sink { queue, lost: Arc::clone(&lost) };
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            sink.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        assert!(matches!(lines.recv().unwrap(), Message::Line(line) if line == b"a\n"));
    }

    #[test]
    fn nobody_writes_lines_of_his_own() {
        let line = |text: &str| String::from_utf8(one_line(text.as_bytes())).unwrap();
        assert_eq!(
            line("path=/a\n2026 WARN x\r\x1b[31m\u{9b}é\u{7f}\n"),
            "path=/a\\n2026 WARN x\\r\\u001b[31m\\u009bé\\u007f\n"
        );
        for same in ["a line with é and ü\n", "no end", "\n", "", "{\"a\":\"b\\n\"}\n"] {
            assert_eq!(line(same), same);
        }
        let (queue, lines) = sync_channel(2);
        Sink { queue, lost: Arc::default() }.write_all(b"a\nb\n").unwrap();
        assert!(matches!(lines.recv().unwrap(), Message::Line(line) if line == b"a\\nb\n"));
    }

    #[test]
    fn a_line_of_json_is_json_whatever_a_client_is_called() {
        let (queue, lines) = sync_channel(1);
        let sink = Sink { queue, lost: Arc::default() };
        let said = "a\u{7f}b\u{9b}31m\u{85}\n\"é\\";
        tracing::subscriber::with_default(Registry::default().with(layer(Format::Json, sink)), || {
            tracing::warn!(transactional_id = %said, member = ?said, "unknown outcome");
        });
        let Message::Line(line) = lines.recv().unwrap() else { panic!("no line") };
        let text = str::from_utf8(&line).unwrap().strip_suffix('\n').unwrap();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        let json: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(json["transactional_id"], said);
        assert_eq!(json["member"], format!("{said:?}"));
    }

    #[test]
    fn a_dropped_line_is_told_in_the_format_of_the_log() {
        assert!(lost_line(3, Format::Text).starts_with("3 lines"));
        let json: serde_json::Value = serde_json::from_str(&lost_line(3, Format::Json)).unwrap();
        assert_eq!(json["lines"], 3);
    }
}
