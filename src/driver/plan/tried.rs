//! Plans that are only tried: how a dry run asks gates for a plan, in nobody's way.

/// A plan that is only tried lives for so long without a word, in seconds: nothing is left of it for longer if its dry run is killed.
pub(in crate::driver) const TRIED_S: u64 = 120;
/// Lower than that of any plan which is carried out (1 is the first), so that every one of those takes its place.
pub(in crate::driver) const TRIED_GENERATION: u64 = 0;
/// Between the name of the plan and the seconds since 1970.
const MARK: &str = ".dry-";

/// The name under which a plan is tried.
pub(in crate::driver) fn tried_id(plan_id: &str, now_s: u64) -> String {
    format!("{plan_id}{MARK}{now_s}")
}

/// Whether a name is one of those.
pub(in crate::driver) fn is_tried(plan_id: &str) -> bool {
    let seconds = plan_id.rsplit_once(MARK).map(|(_, seconds)| seconds);
    seconds.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_only_tried_is_told_by_its_name() {
        assert_eq!(tried_id("to-4.3", 17), "to-4.3.dry-17");
        for (name, is) in [
            ("to-4.3.dry-17", true),
            ("a.dry-run.dry-1795400000", true),
            ("to-4.3", false),
            ("to-4.3.dry-", false),
            ("to-4.3.dry-run", false),
            ("dry-17", false),
        ] {
            assert_eq!(is_tried(name), is, "{name}");
        }
    }
}
