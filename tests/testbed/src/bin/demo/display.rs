//! What the person sees: a block that is updated in place on a terminal, plain lines elsewhere, and the table.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testbed::{KafkaVersion, Roll};

use super::phase::{Column, Pair};

/// Progress on standard output.
pub(crate) struct Display {
    start: Instant,
    terminal: bool,
    /// Lines of the block that stand on the terminal now.
    block: Mutex<usize>,
}

impl Display {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), terminal: std::io::stdout().is_terminal(), block: Mutex::new(0) }
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: &str) {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = wipe(*block);
        let _ = writeln!(out, "[{:6.1} s] {text}", self.start.elapsed().as_secs_f64());
        *block = 0;
        print(&out);
    }

    /// Shows how the pairs do until `over`.
    pub(crate) fn follow(&self, direct: &Pair, through: &Pair, over: &AtomicBool) {
        let every = Duration::from_millis(if self.terminal { 200 } else { 2000 });
        let mut due = Instant::now();
        while !over.load(Ordering::Acquire) {
            if Instant::now() >= due {
                due = Instant::now() + every;
                let lines = [line("direct", direct), line("through Evenkeel", through)];
                self.show(&lines);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn show(&self, lines: &[String]) {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal {
            let mut out = wipe(*block);
            for line in lines {
                let _ = writeln!(out, "  {line}");
            }
            *block = lines.len();
            print(&out);
        } else {
            print(&format!("[{:6.1} s]   {}\n", self.start.elapsed().as_secs_f64(), lines.join("   |   ")));
        }
    }
}

fn line(name: &str, pair: &Pair) -> String {
    let progress = pair.producer().progress();
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(0));
    let silence = (now - progress.last_success_us).max(0) / 100_000;
    format!(
        "{name}: {:6} outcomes, {:5} errors, last success {}.{} s ago",
        progress.outcomes,
        progress.errors,
        silence / 10,
        silence % 10
    )
}

/// The control sequence that takes the last `lines` lines away.
fn wipe(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") }
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no reason to leave the roll half done.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints the table.
pub(crate) fn table(version: KafkaVersion, phases: &[(Roll, Column, Column)]) {
    type Cell = fn(&Column) -> String;
    let rows: [(&str, Cell); 14] = [
        ("records sent", |c| c.producer.sent.to_string()),
        ("errors the application saw", |c| c.producer.errors.to_string()),
        ("  of which honest unknown outcomes", |c| c.producer.unknown.to_string()),
        ("  of which in the log all the same", |c| c.producer.errors_in_log.to_string()),
        ("lost (acknowledged, not in the log)", |c| c.producer.lost.len().to_string()),
        ("repeated", |c| c.producer.repeated.len().to_string()),
        ("out of order", |c| c.producer.reordered.len().to_string()),
        ("longest pause", |c| seconds(c.producer.longest_pause_us)),
        ("longest pause of one partition", |c| seconds(c.producer.longest_partition_pause_us)),
        ("slowest success", |c| seconds(c.producer.max_latency_us)),
        ("consumer: missed", |c| c.consumer.missed.len().to_string()),
        ("consumer: delivered twice", |c| c.consumer.twice.len().to_string()),
        ("consumer: rebalances", |c| c.consumer.rebalances.to_string()),
        ("consumer: errors", |c| c.consumer.errors.values().sum::<usize>().to_string()),
    ];
    let mut out = format!(
        "\nThree Kafka {version} brokers; Java client, acks=all, no retries, no idempotence, 200 records a second\n\n{:37}",
        ""
    );
    for (how, ..) in phases {
        let _ = write!(
            out,
            "{:^26}",
            if *how == Roll::Soft { "planned roll (SIGTERM)" } else { "kill roll (SIGKILL)" }
        );
    }
    let _ = write!(out, "\n{:37}", "");
    for _ in phases {
        let _ = write!(out, "{:>11}{:>15}", "direct", "Evenkeel");
    }
    out.push('\n');
    for (name, cell) in rows {
        let _ = write!(out, "{name:37}");
        for (_, direct, through) in phases {
            let _ = write!(out, "{:>11}{:>15}", cell(direct), cell(through));
        }
        out.push('\n');
    }
    for (how, direct, through) in phases {
        for (name, column) in [("direct", direct), ("Evenkeel", through)] {
            for (class, count) in &column.producer.by_class {
                let _ = write!(out, "\n{name}, {how:?} roll: {count} × {class}");
            }
            for (class, count) in &column.consumer.errors {
                let _ = write!(out, "\n{name}, {how:?} roll, consumer: {count} × {class}");
            }
        }
    }
    out.push_str("\n\n");
    print(&out);
}

fn seconds(micros: i64) -> String {
    format!("{}.{:03} s", micros / 1_000_000, micros % 1_000_000 / 1000)
}
