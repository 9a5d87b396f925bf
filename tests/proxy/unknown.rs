//! One line in the log for each unknown outcome, with what is needed to reconcile.

use crate::bed::{Bed, eventually};
use crate::fake::{Act, change};
use crate::make::*;
use crate::trial::newest;
use serde_json::Value;
use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex, Once};

thread_local! {
    static CAPTURED: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// The log of this test's thread, on which everything of it runs.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

/// Writes to the log of the thread, if that captures one.
struct OfThread;

impl Write for OfThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        CAPTURED.with_borrow(|log| {
            if let Some(Log(lines)) = log {
                lines.lock().unwrap().extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Ends the capture.
pub struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

impl Log {
    /// Captures what is logged from now on, in the form that `log.format = "json"` has. There is one subscriber for all threads: with one
    /// for each, a test that begins or ends beside this one can switch call sites off for a moment.
    pub fn capture() -> (Self, Guard) {
        static ONE_FOR_ALL: Once = Once::new();
        ONE_FOR_ALL.call_once(|| {
            let json = tracing_subscriber::fmt().json().flatten_event(true).with_writer(|| OfThread);
            json.with_max_level(tracing::Level::DEBUG).init();
        });
        let log = Self::default();
        CAPTURED.set(Some(log.clone()));
        (log, Guard)
    }

    /// The lines about unknown outcomes.
    pub fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "evenkeel::unknown_outcome").collect()
    }

    /// The only line.
    fn line(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.remove(0)
    }
}

fn sequenced(text: &str) -> evenkeel::kafka::wire::Struct {
    produce(-1, &[(0, batch_of(text, 4, 77, 2, 8))])
}

pub fn assert_is(line: &Value, expected: &[(&str, Value)]) {
    for (field, value) in expected {
        assert_eq!(&line[field], value, "{field} of {line:#}");
    }
}

/// A batch without a sequence, written and never answered.
#[tokio::test]
async fn an_error_that_was_told_names_the_batch_and_its_client() {
    let (log, _guard) = Log::capture();
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    client.ask(PRODUCE, 9, &produce_text("x")).await;
    let line = log.line();
    let peer = client.stream.local_addr().unwrap().to_string();
    assert_is(
        &line,
        &[
            ("message", "unknown outcome".into()),
            ("level", "WARN".into()),
            ("cluster", "k".into()),
            ("client", "test".into()),
            ("peer", peer.into()),
            ("library", "other".into()),
            ("api", "Produce".into()),
            ("topic", "t".into()),
            ("partition", 0.into()),
            ("records", 1.into()),
            ("action", "told".into()),
            ("code", 7.into()),
            ("error", "REQUEST_TIMED_OUT".into()),
        ],
    );
    assert!(line.get("producer_id").is_none() && line.get("offset").is_none(), "{line:#}");
}

/// A batch with a sequence: the line comes when its repeat is answered, and says where it is.
#[tokio::test]
async fn a_repeat_that_landed_says_where() {
    let (log, _guard) = Log::capture();
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    client.ask(METADATA, 12, &metadata(&["t"])).await;
    client.ask(PRODUCE, 9, &produce_text("before")).await;
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    assert_eq!(produced(&client.ask(PRODUCE, 13, &sequenced("x")).await), [(0, 1)]);
    let line = log.line();
    assert_is(
        &line,
        &[
            ("action", "landed".into()),
            ("level", "INFO".into()),
            ("topic", "t".into()),
            ("producer_id", 77.into()),
            ("producer_epoch", 2.into()),
            ("first_sequence", 8.into()),
            ("last_sequence", 11.into()),
            ("records", 4.into()),
            ("offset", 1.into()),
        ],
    );
    assert!(line.get("repeat").is_none(), "whether the first attempt had landed isn't known: {line:#}");
}

/// Appended, and then leadership moved: the repeat is the same batch, or the first one was cut off.
#[tokio::test]
async fn a_repeat_is_known_by_its_offset() {
    for cut_off in [false, true] {
        let (log, _guard) = Log::capture();
        let bed = Bed::new(&[1]).await;
        bed.ready().await;
        let mut client = bed.client_of(1).await;
        let first = if cut_off { 5 } else { 0 };
        let moved = change(move |answer| {
            for topic in answer.structs_mut("responses") {
                for row in topic.structs_mut("partition_responses") {
                    row.set_i16("error_code", 6);
                    row.set_i64("base_offset", first);
                }
            }
        });
        bed.fake.script(1, PRODUCE, moved);
        assert_eq!(produced(&client.ask(PRODUCE, 9, &sequenced("x")).await), [(0, 0)]);
        let expected = [
            ("action", "landed".into()),
            ("repeat", (!cut_off).into()),
            ("offset", 0.into()),
            ("first_offset", first.into()),
        ];
        assert_is(&log.line(), &expected);
    }
}

/// The repeat was refused: the client has the error, and the first attempt may be in the log all the same.
#[tokio::test]
async fn a_repeat_that_was_refused_says_with_what() {
    let (log, _guard) = Log::capture();
    let bed = Bed::new(&[1]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    bed.fake.script(1, PRODUCE, Act::Fail(87));
    assert_eq!(produced(&client.ask(PRODUCE, 9, &sequenced("x")).await), [(87, -1)]);
    let expected =
        [("action", "refused".into()), ("level", "WARN".into()), ("error", "INVALID_RECORD".into())];
    assert_is(&log.line(), &expected);
}

/// The client gives up while its batch is in doubt.
#[tokio::test]
async fn a_client_that_is_gone_leaves_a_line() {
    let (log, _guard) = Log::capture();
    let bed = Bed::new(&[1, 2]).await;
    bed.ready().await;
    let mut client = bed.client_of(1).await;
    bed.fake.script(1, PRODUCE, Act::ApplyThenClose);
    bed.fake.always(1, PRODUCE, Act::Fail(6));
    client.send(PRODUCE, 9, &sequenced("x")).await;
    eventually("it went again", || bed.fake.seen(PRODUCE).len() > 1).await;
    assert!(log.lines().is_empty(), "nothing is decided yet");
    drop(client);
    eventually("a line", || !log.lines().is_empty()).await;
    assert_is(&log.line(), &[("action", "swallowed".into()), ("producer_id", 77.into())]);
}

/// What is no batch: by its group or transaction, at the level that fits.
#[tokio::test]
async fn other_requests_are_told_by_what_they_name() {
    let expected = [
        (LEAVE_GROUP, "landed", "INFO", "group"),
        (HEARTBEAT, "landed", "DEBUG", "group"),
        (CONSUMER_GROUP_HEARTBEAT, "told", "WARN", "group"),
        (26, "landed", "DEBUG", "transactional_id"),
        (38, "disconnected", "WARN", ""),
    ];
    for (key, action, level, field) in expected {
        let (log, _guard) = Log::capture();
        let bed = Bed::new(&[1]).await;
        bed.ready().await;
        let mut client = bed.client_of(1).await;
        bed.fake.script(1, key, Act::ApplyThenClose);
        let mut body = request(key);
        if field == "group" {
            body = of_group(key);
        } else if !field.is_empty() {
            body.set_str(field, "g");
        }
        client.send(key, newest(key), &body).await;
        if action == "disconnected" {
            client.closed().await;
        } else {
            client.receive().await;
        }
        let line = log.line();
        assert_is(&line, &[("action", action.into()), ("level", level.into())]);
        if !field.is_empty() {
            assert_eq!(line[field], "g", "{line:#}");
        }
    }
}
