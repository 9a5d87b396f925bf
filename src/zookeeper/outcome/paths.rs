//! Paths of nodes, as bytes.

/// The parent's path; `None` for the root and for what is no path.
pub(super) fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    if path.len() == 1 {
        return None;
    }
    path.get(..slash.max(1))
}

/// The last part of the path.
pub(super) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Whether servers certainly take it for the path of a node that clients may make: a few that they would take too are
/// not among these.
pub(super) fn is_plain(path: &[u8]) -> bool {
    let part = |part: &[u8]| {
        !part.is_empty() && part != b"." && part != b".." && part.iter().all(u8::is_ascii_graphic)
    };
    path.strip_prefix(b"/").is_some_and(|rest| rest.split(|byte| *byte == b'/').all(part))
        && !path.starts_with(b"/zookeeper")
}

/// The digits that servers append to the name of a sequential node.
const DIGITS: usize = 10;

/// What was asked for where a sequential node got this path or name, if it can be one.
pub(super) fn unnumbered(path: &[u8]) -> Option<&[u8]> {
    let (prefix, digits) = path.split_at_checked(path.len().checked_sub(DIGITS)?)?;
    digits.iter().all(u8::is_ascii_digit).then_some(prefix)
}

/// The path of a child.
pub(super) fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = parent.to_vec();
    if parent != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
