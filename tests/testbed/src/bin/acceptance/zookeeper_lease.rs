//! The lease: no client believes in a session that the ensemble has ended, and the nodes of clients that are no more go.

use testbed::chaos::net::Powers;
use testbed::claim::Claim;
use testbed::zookeeper::lease::{HEAD, Trouble, breaches, round, rows};
use testbed::{Error, Result, ZooKeeperVersion};

use super::{Bench, Finding};

const ROUNDS: usize = 3;
/// Sessions of each kind in a round.
const EACH: usize = 8;

pub(super) fn run(bench: &Bench) -> Result<Finding> {
    // Before minutes have gone into what can't be finished.
    let powers = Powers::find(Claim::take()?.ip(1));
    if let Some(why) = Trouble::ALL.iter().find_map(|trouble| trouble.hindrance(&powers)) {
        return Err(Error::Missing(why));
    }
    let mut finding = Finding { figures: HEAD.to_owned(), ..Finding::default() };
    for trouble in Trouble::ALL {
        let mut all = Vec::new();
        for number in 0..ROUNDS {
            bench.say(&format!("{}, round {}", trouble.text(), number + 1));
            let version =
                if number.is_multiple_of(2) { ZooKeeperVersion::V3_9_5 } else { ZooKeeperVersion::V3_8_6 };
            all.extend(round(&bench.binary, version, trouble, EACH)?);
        }
        finding.figures.push_str(&rows(trouble, &all));
        finding.breaches.extend(breaches(trouble, &all));
    }
    finding.figures.push_str(
        "\nSessions of 4 s, a tick of 500 ms, `syncLimit` 10. A client is what the Java library is: it pings after a third of its time-out, and \
         believes in its session until its connection ends or it has heard nothing for two thirds. The times are by how much a client \
         believed in its session longer than until the moment of \"Expiring session\" in the log of the leader; negative: it had stopped \
         before. Promised through Evenkeel: never longer, not by a millisecond. With its defaults there are two exceptions, in which a server \
         answers for sessions that the leader counts down: a follower that is cut off from its leader, and a leader that is frozen and thawed \
         before it is given up. There it is at most a third of the time-out longer than the longest of the direct clients of the same server, in \
         all rounds of that trouble; and no longer than that third where none of these believed too long. With `lease = \"strict\"` there is no \
         exception. Of direct clients nothing is promised. For clients that die or freeze: from their death, or \
         their last frame, to the end of their session; promised: T and two ticks, and a third of T more behind Evenkeel for those \
         that freeze.\n",
    );
    Ok(finding)
}
