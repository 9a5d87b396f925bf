//! Versions of servers as their controllers write them, and as members tell them. Pure.

/// The highest `metadata.version` of each Kafka release (`MetadataVersion` of Kafka 4.3.1): what a broker says that it
/// supports tells its release line, since no broker tells its version.
const KAFKA: &[(i16, &str)] = &[
    (1, "3.0"),
    (2, "3.1"),
    (3, "3.2"),
    (7, "3.3"),
    (8, "3.4"),
    (11, "3.5"),
    (14, "3.6"),
    (19, "3.7"),
    (20, "3.8"),
    (21, "3.9"),
    (25, "4.0"),
    (27, "4.1"),
    (29, "4.2"),
    (30, "4.3"),
    (31, "4.4"),
];

/// The Kafka release whose highest `metadata.version` is `level`, or that has it among its own; `None` for one that is
/// newer than what is known here.
pub fn kafka_release(level: i16) -> Option<&'static str> {
    KAFKA.iter().find(|(highest, _)| *highest >= level.max(1)).map(|(_, release)| *release)
}

/// The highest `metadata.version` of the release that a version such as `3.9.2` belongs to.
pub fn kafka_level(version: &str) -> Option<i16> {
    let line = line(version)?;
    KAFKA.iter().find(|(_, release)| self::line(release) == Some(line)).map(|(level, _)| *level)
}

/// The numbers that a version begins with: at least two.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let core = version.strip_prefix('v').unwrap_or(version);
    let core = core.split(['-', '+', ' ']).next().unwrap_or_default();
    let numbers: Option<Vec<u32>> = core.split('.').map(|part| part.parse().ok()).collect();
    numbers.filter(|numbers| numbers.len() >= 2)
}

/// The release line of a version: `3.9` of `3.9.2`.
pub(super) fn line(version: &str) -> Option<(u32, u32)> {
    match numbers(version)?.as_slice() {
        [major, minor, ..] => Some((*major, *minor)),
        _ => None,
    }
}

/// Whether `version` can be read as one.
pub(super) fn is_version(version: &str) -> bool {
    numbers(version).is_some()
}

/// Whether a member that says `told` of itself has the version `wanted`. What one of them leaves open (`4.3` of `4.3.1`)
/// counts as the same. `None` if one of them can't be read.
pub fn is_same(told: &str, wanted: &str) -> Option<bool> {
    let (told, wanted) = (numbers(told)?, numbers(wanted)?);
    Some(told.iter().zip(&wanted).all(|(one, other)| one == other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_by_level_and_back() {
        for (level, release) in [(1, "3.0"), (4, "3.3"), (7, "3.3"), (21, "3.9"), (22, "4.0"), (30, "4.3")] {
            assert_eq!(kafka_release(level), Some(release), "{level}");
        }
        assert_eq!(kafka_release(99), None, "newer than what is known here");
        assert_eq!(
            (kafka_level("3.9.2"), kafka_level("4.3.1"), kafka_level("2.8.2")),
            (Some(21), Some(30), None)
        );
        assert!(KAFKA.is_sorted());
    }

    #[test]
    fn what_is_left_open_counts_as_the_same() {
        assert_eq!(is_same("4.3", "4.3.1"), Some(true));
        assert_eq!(is_same("3.9.5", "3.9.6"), Some(false));
        assert_eq!(is_same("3.9.6-SNAPSHOT", "3.9.6"), Some(true));
        assert_eq!(is_same("v3.8", "3.9"), Some(false));
        for bad in ["", "4", "latest", "4.x"] {
            assert_eq!(is_same(bad, "4.0"), None, "{bad}");
            assert!(!is_version(bad));
        }
        assert_eq!(line("3.10.0"), Some((3, 10)));
    }
}
