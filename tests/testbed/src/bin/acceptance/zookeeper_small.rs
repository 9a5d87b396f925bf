//! Ensembles of one and of two servers, where every restart is an outage.

use testbed::zookeeper::small::{HEAD, Story, breaches, row, run as go};
use testbed::{Result, ZooKeeperVersion};

use super::{Bench, Finding};

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    let mut finding = Finding { figures: HEAD.to_owned(), ..Finding::default() };
    for version in [ZooKeeperVersion::V3_8_6, ZooKeeperVersion::V3_9_5] {
        for story in Story::ALL {
            bench.say(&format!("{version}, {}", story.text()));
            let outcome = go(&bench.binary, version, story, 6, &|text| bench.say(text))?;
            finding.figures.push_str(&row(version, story, &outcome));
            let broken = breaches(story, &outcome);
            finding
                .breaches
                .extend(broken.into_iter().map(|what| format!("{version}, {}: {what}", story.text())));
        }
    }
    finding.figures.push_str(
        "\nEight sessions that ask as those of `zookeeper-chaos` do, judged in the same way; each row: six times SIGKILL (of the server, of \
         two in turn). Short: sessions of 20 s, started again at once; promised: no session ends, no connection ends in an outage of less than \
         half the time-out, and each write in flight is decided or told unknown. Long: sessions of 6 s, started again after 6 s; \
         promised: every connection ends, no sooner than two thirds of the time-out after the last request that was answered was \
         asked, and every session is resumed by its client.\n",
    );
    Ok(finding)
}
