//! The gates, reason by reason, and the story of a roll.

mod finalize;
mod make;
mod next;
mod roll;
mod stop;

use super::gate::Code;
use std::collections::BTreeSet;

/// Every code is shown by some test of this folder that it closes a gate when it should.
#[test]
fn no_reason_is_untested() {
    let texts = [
        include_str!("stop.rs"),
        include_str!("next.rs"),
        include_str!("finalize.rs"),
        include_str!("roll.rs"),
    ];
    let missing: Vec<&str> = Code::LABELS
        .iter()
        .copied()
        .filter(|code| !texts.iter().any(|text| text.contains(&format!("\"{code}\""))))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let distinct: BTreeSet<&&str> = Code::LABELS.iter().collect();
    assert_eq!(distinct.len(), Code::LABELS.len());
}
