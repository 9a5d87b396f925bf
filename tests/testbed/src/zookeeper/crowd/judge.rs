//! What a session must have been told: every change at its group's nodes, each once, in order, and before any answer that
//! knows of it.
//!
//! That is exact, since whoever changes a node with one-shot watches waits until they are set on what is there. Pure.

use std::collections::HashMap;

/// Types of events (`org.apache.zookeeper.Watcher.Event.EventType`).
pub(super) const CREATED: i32 = 1;
pub(super) const DELETED: i32 = 2;
pub(super) const CHANGED: i32 = 3;
pub(super) const CHILDREN: i32 = 4;

/// A change that was made, and the event that it must bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) zxid: i64,
    pub(super) what: i32,
    pub(super) path: String,
}

/// An event that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) what: i32,
    pub(super) path: String,
    /// As its header has it: −1 on 3.8, and where a server makes up for what was missed.
    pub(super) zxid: i64,
    /// The highest transaction that an answer before it knew of.
    pub(super) after: i64,
}

/// The judgement on one session, or on all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Due.
    pub due: usize,
    /// Told.
    pub seen: usize,
    /// Due and never told.
    pub lost: usize,
    /// Told twice, or without a reason.
    pub twice: usize,
    /// Told in another order than it happened, or after an answer that knew of it.
    pub disordered: usize,
}

impl Events {
    /// Both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            due: self.due + other.due,
            seen: self.seen + other.seen,
            lost: self.lost + other.lost,
            twice: self.twice + other.twice,
            disordered: self.disordered + other.disordered,
        }
    }
}

pub(super) fn judge(made: &[Made], told: &[Told]) -> Events {
    let mut balance: HashMap<(i32, &str), (usize, usize)> = HashMap::new();
    for made in made {
        balance.entry((made.what, &made.path)).or_default().0 += 1;
    }
    for told in told {
        balance.entry((told.what, &told.path)).or_default().1 += 1;
    }
    let lost = balance.values().map(|(due, seen)| due.saturating_sub(*seen)).sum();
    let twice = balance.values().map(|(due, seen)| seen.saturating_sub(*due)).sum();
    // In what is lost or twice no order can be told apart.
    let disordered = if lost + twice > 0 {
        0
    } else {
        let wrong = |(made, told): &(&Made, &Told)| {
            (made.what, &made.path) != (told.what, &told.path)
                || (told.zxid > 0 && told.zxid != made.zxid)
                || told.after >= made.zxid
        };
        made.iter().zip(told).filter(wrong).count()
    };
    Events { due: made.len(), seen: told.len(), lost, twice, disordered }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<Made> {
        let made = |zxid, what, path: &str| Made { zxid, what, path: path.to_owned() };
        vec![
            made(4, CHANGED, "/d"),
            made(6, CREATED, "/t/1"),
            made(7, CHANGED, "/d"),
            made(9, DELETED, "/t/1"),
        ]
    }

    fn told(made: &[Made]) -> Vec<Told> {
        let told = |made: &Made| Told {
            what: made.what,
            path: made.path.clone(),
            zxid: made.zxid,
            after: made.zxid - 1,
        };
        made.iter().map(told).collect()
    }

    #[test]
    fn every_change_once_and_in_order_is_well() {
        let made = made();
        let mut heard = told(&made);
        let well = Events { due: 4, seen: 4, ..Events::default() };
        assert_eq!(judge(&made, &heard), well);
        for told in &mut heard {
            told.zxid = -1;
        }
        assert_eq!(judge(&made, &heard), well);
    }

    #[test]
    fn what_is_missing_twice_mistaken_or_out_of_order_is_seen() {
        let made = made();
        let spoilt = |spoil: fn(&mut Vec<Told>)| {
            let mut told = told(&made);
            spoil(&mut told);
            let Events { lost, twice, disordered, .. } = judge(&made, &told);
            (lost, twice, disordered)
        };
        assert_eq!(spoilt(|told| drop(told.remove(1))), (1, 0, 0));
        assert_eq!(spoilt(|told| told.push(told[2].clone())), (0, 1, 0));
        assert_eq!(spoilt(|told| told[1].path = "/t/2".to_owned()), (1, 1, 0));
        assert_eq!(spoilt(|told| told.swap(0, 1)), (0, 0, 2));
        assert_eq!(spoilt(|told| told[2].zxid = 4), (0, 0, 1), "an old one in the place of a new one");
        assert_eq!(spoilt(|told| told[3].after = 9), (0, 0, 1), "an answer came first");
    }
}
