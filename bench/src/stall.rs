//! What a client waits longer than it must when a broker is killed: the stall of a plain client through Evenkeel minus that of
//! an ideal one in the same run ([`testbed::ideal`]), on a real cluster of three brokers.

use std::path::PathBuf;

use testbed::stories::{Kill, kills};
use testbed::{Error, KafkaVersion, Result, Sidecar, Spec};

use crate::report;

/// What a measurement of stalls is to do.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Kills, in turn among the three brokers.
    #[arg(long, default_value_t = 12)]
    kills: usize,
    /// The brokers' version.
    #[arg(long, default_value = "3.9.2")]
    kafka: KafkaVersion,
    /// Writes the results there too, as Markdown.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Measures, and prints each kill and the spread.
pub(crate) fn run(options: &Options) -> Result<()> {
    let spec = Spec::new(options.kafka).fast();
    let done = kills(spec, &Sidecar::binary()?, &[], options.kills, |text| eprintln!("{text}"))?;
    let broken = done.breaches();
    if !broken.is_empty() {
        return Err(Error::program("stall", broken.join("; ")));
    }
    let [median, most, longest] = done.shares();
    let mut text = format!(
        "# Results of `make bench ARGS=stall`\n\nWritten by the run itself; [README.md](README.md) says how to read it.\n\n{}- Brokers: Kafka \
         {}, three on this machine, `broker.session.timeout.ms=3000`, killed with SIGKILL one after another\n\n\
         Evenkeel's share of a stall: **{} ms** in the median, {} ms at 95 %, {} ms at most, over {} kills (target: 50 ms). A share below \
         zero: the client behind Evenkeel was served first.\n\n| kill | broker | through Evenkeel, ms | ideal client, ms | share, ms |\n\
         |---:|---:|---:|---:|---:|\n",
        report::machine(),
        options.kafka,
        ms(median),
        ms(most),
        ms(longest),
        done.kills.len(),
    );
    for (number, kill) in (1..).zip(&done.kills) {
        text += &row(number, kill);
    }
    print!("{text}");
    match &options.output {
        Some(path) => std::fs::write(path, text).map_err(Error::io(format!("writing {}", path.display()))),
        None => Ok(()),
    }
}

fn row(number: usize, kill: &Kill) -> String {
    let Kill { broker, ideal_us, plain_us } = kill;
    format!("| {number} | {broker} | {} | {} | {} |\n", ms(*plain_us), ms(*ideal_us), ms(kill.share_us()))
}

/// Microseconds as milliseconds with one place.
fn ms(micros: i64) -> String {
    let tenths = (micros.abs() + 50) / 100;
    let sign = if micros < 0 && tenths > 0 { "−" } else { "" };
    format!("{sign}{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded_both_ways() {
        assert_eq!([ms(0), ms(1_260), ms(-1_260), ms(-20)], ["0.0", "1.3", "−1.3", "0.0"]);
    }
}
