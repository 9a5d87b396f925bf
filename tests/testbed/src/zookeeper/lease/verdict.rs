//! The judgement on what clients believed, and the tables of it. Pure.

use std::time::Duration;

use super::{TICK, TIMEOUT, Trouble, Via};

/// What became of one client's session. Microseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Through what.
    pub via: Via,
    /// Its session.
    pub session: i64,
    /// The last moment at which it believed in it; `None`: it still did at the end of the watch.
    pub believed_us: Option<i64>,
    /// When it died or froze, if it did.
    pub gone_us: Option<i64>,
    /// When its last frame was sent.
    pub sent_us: i64,
    /// When the ensemble ended it; `None`: it didn't.
    pub expired_us: Option<i64>,
}

impl Fate {
    /// For how long it believed in a session that was no more; negative: how long before its end it stopped.
    pub fn overrun_us(&self) -> Option<i64> {
        let expired = self.expired_us?;
        // One that went on believing did so until now, and now is not known here: it is as good as for ever.
        Some(self.believed_us.map_or(i64::MAX, |believed| believed - expired))
    }
}

/// What was promised and is not so. `all` are the fates of all rounds in this trouble.
pub fn breaches(trouble: Trouble, all: &[Fate]) -> Vec<String> {
    let mut found = Vec::new();
    let of = |way: Via| all.iter().filter(move |fate| fate.via == way);
    let third = micros_of(TIMEOUT / 3);
    let mut say = |fate: &Fate, what: String| {
        found.push(format!("{}, {}: session {:#x} {what}", trouble.text(), fate.via.text(), fate.session));
    };
    if matches!(trouble, Trouble::ClientsDie | Trouble::ClientsFreeze) {
        // Expiry is rounded up to a tick, and touches may come half a tick late; half a tick more for a busy machine.
        for fate in all {
            let from = if trouble == Trouble::ClientsDie { fate.gone_us.unwrap_or(0) } else { fate.sent_us };
            let more = if trouble == Trouble::ClientsFreeze && fate.via != Via::Direct { third } else { 0 };
            let bound = micros_of(TIMEOUT + TICK * 2) + more;
            match fate.expired_us {
                None => say(fate, "was never ended".to_owned()),
                Some(expired) if expired - from > bound => {
                    say(fate, format!("was ended {} after its client was gone", text(expired - from)));
                }
                Some(_) => {}
            }
        }
        return found;
    }
    let direct = of(Via::Direct).filter_map(Fate::overrun_us).max().unwrap_or(0).max(0);
    for fate in all.iter().filter(|fate| fate.via != Via::Direct) {
        let excused = trouble.misleads() && fate.via == Via::Default;
        let bound = if excused { direct.saturating_add(third) } else { 0 };
        if let Some(overrun) = fate.overrun_us().filter(|overrun| *overrun > bound) {
            say(fate, format!("was believed in for {} after its end", text(overrun)));
        }
    }
    found
}

fn micros_of(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds as seconds with a sign.
fn text(micros: i64) -> String {
    if micros == i64::MAX {
        return "ever".to_owned();
    }
    let (sign, size) = if micros < 0 { ("−", -micros) } else { ("", micros) };
    format!("{sign}{}.{:03} s", size / 1_000_000, size % 1_000_000 / 1000)
}

/// A row of a table for each way: sessions, how many were ended, and the extremes of what `breaches` judges.
pub fn rows(trouble: Trouble, all: &[Fate]) -> String {
    use std::fmt::Write as _;
    let mut rows = String::new();
    for way in Via::ALL {
        let fates: Vec<&Fate> = all.iter().filter(|fate| fate.via == way).collect();
        let ended = fates.iter().filter(|fate| fate.expired_us.is_some()).count();
        let value = |fate: &&Fate| match trouble {
            Trouble::ClientsDie => Some(fate.expired_us? - fate.gone_us?),
            Trouble::ClientsFreeze => Some(fate.expired_us? - fate.sent_us),
            _ => fate.overrun_us(),
        };
        let mut values: Vec<i64> = fates.iter().filter_map(value).collect();
        values.sort_unstable();
        let at = |place: usize| values.get(place).map_or("–".to_owned(), |value| text(*value));
        let _ = writeln!(
            rows,
            "| {} | {} | {} | {ended} | {} | {} | {} |",
            trouble.text(),
            way.text(),
            fates.len(),
            at(0),
            at(values.len() / 2),
            at(values.len().saturating_sub(1)),
        );
    }
    rows
}

/// The head of the table of [`rows`].
pub const HEAD: &str = "| trouble | client | sessions | ended by the ensemble | least | median | most |\n|---|---|---|---|---|---|---|\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(way: Via, believed: i64, expired: i64) -> Fate {
        let (believed_us, expired_us) = (Some(believed), Some(expired));
        Fate { via: way, session: 1, believed_us, gone_us: Some(0), sent_us: 0, expired_us }
    }

    #[test]
    fn a_belief_that_lasts_too_long_is_found() {
        use Trouble::{FollowerCut, Partitioned};
        let broken = |trouble, fates: &[Fate]| breaches(trouble, fates).len();
        for way in [Via::Default, Via::Strict] {
            assert_eq!(broken(Partitioned, &[fate(way, 99, 100)]), 0);
            assert_eq!(broken(Partitioned, &[fate(way, 101, 100)]), 1);
            let forever = Fate { believed_us: None, ..fate(way, 0, 100) };
            assert_eq!(broken(Partitioned, &[forever]), 1);
            assert_eq!(broken(Partitioned, &[Fate { expired_us: None, ..forever }]), 0);
        }
        let third = 1_333_333;
        let direct = fate(Via::Direct, 600, 100);
        assert_eq!(broken(FollowerCut, &[direct, fate(Via::Default, 600 + third, 100)]), 0);
        assert_eq!(broken(FollowerCut, &[direct, fate(Via::Default, 601 + third, 100)]), 1);
        assert_eq!(broken(FollowerCut, &[direct, fate(Via::Strict, 101, 100)]), 1);
    }

    #[test]
    fn nodes_that_stay_too_long_are_found() {
        use Trouble::{ClientsDie, ClientsFreeze};
        let gone = |trouble, way, after| breaches(trouble, &[fate(way, 0, after)]).len();
        assert_eq!(gone(ClientsDie, Via::Strict, 5_000_000), 0);
        assert_eq!(gone(ClientsDie, Via::Strict, 5_000_001), 1);
        assert_eq!(gone(ClientsFreeze, Via::Default, 6_333_333), 0);
        assert_eq!(gone(ClientsFreeze, Via::Default, 6_333_334), 1);
        assert_eq!(gone(ClientsFreeze, Via::Direct, 5_000_001), 1);
        let never = Fate { expired_us: None, ..fate(Via::Direct, 0, 0) };
        assert_eq!(breaches(ClientsDie, &[never]).len(), 1);
    }
}
