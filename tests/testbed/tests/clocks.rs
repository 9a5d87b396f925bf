//! What client programs say of the time is compared with what the test bed says: they must mean the same.

#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use testbed::scene::micros;
use testbed::toolbox::{client_sources, needed};

/// Tells the time for each line that it is told.
const TELL: &str = "const { micros } = require(process.argv[1]); \
    process.stdin.on('data', () => process.stdout.write(micros() + '\\n'))";

#[test]
fn node_says_nothing_before_its_cause_or_after_its_effect() {
    if let Err(error) = needed("node", "apt-get install nodejs") {
        return println!("not run: {error}");
    }
    // Each start is another chance to be wrong for good.
    for start in 0..10 {
        let mut command = Command::new("node");
        command.args(["-e", TELL]).arg(client_sources().join("node/clock.js"));
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ask = program.stdin.take().unwrap();
        let mut answers = BufReader::new(program.stdout.take().unwrap()).lines();
        for _ in 0..20 {
            let before = micros();
            ask.write_all(b"\n").unwrap();
            let at: i64 = answers.next().unwrap().unwrap().parse().unwrap();
            let after = micros();
            assert!(before <= at && at <= after, "start {start}: {at} is not in {before}..={after}");
        }
        drop(ask);
        assert!(program.wait().unwrap().success());
    }
}
