//! One answer of many: a gate is open when every sidecar says so. Pure.

use std::collections::BTreeMap;

use super::said::{GateSaid, Reason};

/// What a fleet says of a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// All say that it is open, and there is at least one.
    pub ok: bool,
    /// For all only the drain is missing, at most.
    pub ok_to_drain: bool,
    /// What is against it, each code once.
    pub reasons: Vec<FleetReason>,
    /// What it will cost.
    pub costs: Vec<FleetReason>,
}

/// A reason that several may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetReason {
    /// The code, with the words of the first who said it.
    pub reason: Reason,
    /// Who says so.
    pub sidecars: Vec<String>,
}

impl Merged {
    /// Whether a code is among the reasons.
    pub fn has(&self, code: &str) -> bool {
        self.reasons.iter().any(|reason| reason.reason.code == code)
    }
}

/// Puts answers together. Who gave none is a reason, `sidecar_silent`.
pub fn merge<'a>(answers: impl IntoIterator<Item = (&'a str, Result<&'a GateSaid, &'a str>)>) -> Merged {
    let mut merged = Merged { ok: true, ok_to_drain: true, ..Merged::default() };
    let (mut reasons, mut costs) = (Gathered::default(), Gathered::default());
    let mut asked = 0;
    for (sidecar, answer) in answers {
        asked += 1;
        match answer {
            Ok(said) => {
                merged.ok &= said.ok;
                merged.ok_to_drain &= said.ok_to_drain;
                said.reasons.iter().for_each(|reason| reasons.add(reason, sidecar));
                said.costs.iter().for_each(|cost| costs.add(cost, sidecar));
            }
            Err(why) => {
                (merged.ok, merged.ok_to_drain) = (false, false);
                reasons.add(&Reason::new("sidecar_silent", format!("{sidecar}: {why}")), sidecar);
            }
        }
    }
    if asked == 0 {
        return Merged::default();
    }
    (merged.reasons, merged.costs) = (reasons.0, costs.0);
    merged
}

#[derive(Default)]
struct Gathered(Vec<FleetReason>);

impl Gathered {
    fn add(&mut self, reason: &Reason, sidecar: &str) {
        match self.0.iter_mut().find(|known| known.reason.code == reason.code) {
            Some(known) => known.sidecars.push(sidecar.to_owned()),
            None => self.0.push(FleetReason { reason: reason.clone(), sidecars: vec![sidecar.to_owned()] }),
        }
    }
}

/// How often each code is named: for people who look at many.
impl Merged {
    /// Codes and how many sidecars name each.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        self.reasons.iter().map(|reason| (reason.reason.code.as_str(), reason.sidecars.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(codes: &[&str]) -> GateSaid {
        let reasons = codes.iter().map(|code| Reason::new(code, "why")).collect();
        GateSaid {
            ok: codes.is_empty(),
            ok_to_drain: codes == ["not_drained"],
            reasons,
            ..GateSaid::default()
        }
    }

    #[test]
    fn a_gate_is_open_when_all_say_so() {
        let open = GateSaid { ok: true, ok_to_drain: true, ..GateSaid::default() };
        assert!(merge([("a", Ok(&open)), ("b", Ok(&open))]).ok);
        assert!(!merge([]).ok, "nobody is not everybody");
        let merged = merge([("a", Ok(&open)), ("b", Err("refused"))]);
        assert!(!merged.ok && !merged.ok_to_drain && merged.has("sidecar_silent"));
        let one = closed(&["not_drained"]);
        let merged = merge([("a", Ok(&open)), ("b", Ok(&one))]);
        assert!(!merged.ok && merged.ok_to_drain);
    }

    #[test]
    fn a_reason_stands_once_with_all_who_have_it() {
        let (one, two) = (closed(&["min_isr", "quorum"]), closed(&["quorum"]));
        let merged = merge([("a", Ok(&one)), ("b", Ok(&two))]);
        assert_eq!(merged.counts(), BTreeMap::from([("min_isr", 1), ("quorum", 2)]));
        assert_eq!(merged.reasons[1].sidecars, ["a", "b"]);
    }
}
