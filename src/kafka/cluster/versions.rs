//! Which API versions clients are offered: for each API what every known member and Evenkeel itself can do.
//!
//! Pure. A request that was negotiated against one member can so be sent to any other.

use crate::kafka::operations::{OPERATIONS, Route, operation};
use crate::kafka::wire::{self, Struct};
use std::collections::BTreeMap;

/// `ApiVersions`: the key of the API that this module is about.
pub const API_VERSIONS: i16 = 18;
/// The highest `ApiVersions` that is offered: v5 (KIP-1242) names the node that the client expects, which the broker
/// checks.
const API_VERSIONS_MAX: i16 = 4;

/// What one member said it speaks.
#[derive(Clone, Debug)]
pub struct Versions {
    ranges: BTreeMap<i16, (i16, i16)>,
    answer: Struct,
}

impl Versions {
    /// From a member's `ApiVersions` answer.
    pub fn new(answer: Struct) -> Self {
        let ranges = answer
            .structs("api_keys")
            .map(|row| (row.i16("api_key"), (row.i16("min_version"), row.i16("max_version"))));
        Self { ranges: ranges.collect(), answer }
    }

    /// The range that the member offers for an API.
    pub fn range(&self, key: i16) -> Option<(i16, i16)> {
        self.ranges.get(&key).copied()
    }

    /// Whether the member takes a version of an API.
    pub fn speaks(&self, key: i16, version: i16) -> bool {
        self.range(key).is_some_and(|(min, max)| (min..=max).contains(&version))
    }

    /// The highest version that both the member and `ours` allow, for requests of our own.
    pub fn highest(&self, key: i16, ours: i16) -> i16 {
        self.range(key).map_or(ours, |(_, max)| max.min(ours))
    }

    /// How many APIs the member offers.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// The member's answer itself: its features stand there, too.
    pub(super) fn told(&self) -> &Struct {
        &self.answer
    }

    /// Whether another answer says the same of every API.
    pub fn same_ranges(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

/// The ranges that all `members` share, of the APIs that are in the operation table and in the wire format that is
/// known here. 4.x brokers offer Produce from version 0 on purpose (KAFKA-18659), though no version below 3 works:
/// that is kept.
pub(super) fn intersection<'a>(members: impl IntoIterator<Item = &'a Versions>) -> BTreeMap<i16, (i16, i16)> {
    let mut members = members.into_iter();
    let Some(first) = members.next() else { return BTreeMap::new() };
    let mut shared = first.ranges.clone();
    for member in members {
        shared = shared
            .into_iter()
            .filter_map(|(key, (min, max))| {
                let (other_min, other_max) = member.range(key)?;
                Some((key, (min.max(other_min), max.min(other_max))))
            })
            .collect();
    }
    shared
        .into_iter()
        .filter_map(|(key, (min, max))| {
            operation(key)?;
            Some((key, (min, max.min(ceiling(key, wire::request(key)?)))))
        })
        .filter(|(_, (min, max))| min <= max)
        .collect()
}

/// All that is known here, for want of a member that could be asked.
pub fn everything() -> BTreeMap<i16, (i16, i16)> {
    let offered = OPERATIONS.iter().filter(|row| row.route != Route::Internal);
    let range =
        |key| wire::request(key).map(|message| (key, (*message.versions().start(), ceiling(key, message))));
    offered.filter_map(|row| range(row.key)).collect()
}

/// The newest version of an API that is offered.
fn ceiling(key: i16, message: &wire::Message) -> i16 {
    if key == API_VERSIONS { API_VERSIONS_MAX } else { *message.versions().end() }
}

/// The `ApiVersions` answer for clients: the shared ranges, with the features of `member` passed through (they are the
/// cluster's version and the member's own).
pub fn answer(shared: &BTreeMap<i16, (i16, i16)>, member: Option<&Versions>) -> Option<Struct> {
    let message = wire::response(API_VERSIONS)?;
    let mut answer = member.map_or_else(|| message.new(), |versions| versions.answer.clone());
    answer.set_i16("error_code", 0);
    answer.set_i32("throttle_time_ms", 0);
    let rows = shared.iter().map(|(&key, &(min, max))| {
        let mut row = answer.new_struct("api_keys");
        row.set_i16("api_key", key);
        row.set_i16("min_version", min);
        row.set_i16("max_version", max);
        row
    });
    let rows = rows.collect();
    answer.set_structs("api_keys", rows);
    Some(answer)
}

/// The answer in v0 form that says which `ApiVersions` is offered, to a request that is newer (KIP-511).
pub fn unsupported() -> Option<Struct> {
    let mut answer = wire::response(API_VERSIONS)?.new();
    answer.set_i16("error_code", 35);
    let mut row = answer.new_struct("api_keys");
    row.set_i16("api_key", API_VERSIONS);
    row.set_i16("max_version", API_VERSIONS_MAX);
    answer.set_structs("api_keys", vec![row]);
    Some(answer)
}

/// The highest version of `ApiVersions` that clients may use.
pub fn is_supported(version: i16) -> bool {
    (0..=API_VERSIONS_MAX).contains(&version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(ranges: &[(i16, i16, i16)]) -> Versions {
        let mut answer = wire::response(API_VERSIONS).unwrap().new();
        let rows = ranges.iter().map(|&(key, min, max)| {
            let mut row = answer.new_struct("api_keys");
            row.set_i16("api_key", key);
            row.set_i16("min_version", min);
            row.set_i16("max_version", max);
            row
        });
        let rows = rows.collect();
        answer.set_structs("api_keys", rows);
        Versions::new(answer)
    }

    #[test]
    fn the_narrowest_range_of_all_members_is_offered() {
        let old = member(&[(0, 0, 9), (1, 0, 12), (3, 0, 11), (18, 0, 3), (60, 0, 0)]);
        let new = member(&[(0, 0, 13), (1, 4, 17), (3, 0, 13), (18, 0, 5)]);
        let shared = intersection([&old, &new]);
        assert_eq!(shared.get(&0), Some(&(0, 9)));
        assert_eq!(shared.get(&1), Some(&(4, 12)));
        assert_eq!(shared.get(&18), Some(&(0, 3)));
        assert_eq!(shared.get(&60), None, "an API that one member lacks is not offered");
    }

    #[test]
    fn unknown_and_internal_apis_are_left_out_and_versions_capped() {
        let newest = member(&[(0, 0, 99), (4, 0, 7), (18, 0, 5), (9999, 0, 0)]);
        let shared = intersection([&newest]);
        assert!(shared.get(&0).unwrap().1 < 99, "no version whose layout isn't known here");
        assert_eq!(shared.get(&4), None);
        assert_eq!(shared.get(&9999), None);
        assert_eq!(shared.get(&18), Some(&(0, 4)));
    }

    #[test]
    fn members_with_nothing_in_common_share_nothing_of_that_api() {
        let shared = intersection([&member(&[(1, 0, 3)]), &member(&[(1, 4, 17)])]);
        assert!(shared.is_empty());
    }
}
