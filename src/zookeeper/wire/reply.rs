//! The bodies of the answers that are read here: what was read back, and the fence's.

use super::acl::AclList;
use super::jute::{Malformed, Names, Reader, Text};
use super::stat::Stat;

/// The body of the answer to a multi of no parts, which is the fence.
const NO_PARTS: [u8; 9] = [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff];

/// Whether this is the body of the fence's answer.
pub fn is_fence_answer(body: &[u8]) -> bool {
    body == NO_PARTS
}

/// Of `exists`, `setData`, `setACL`: a stat.
pub fn stat(body: &[u8]) -> Result<Stat, Malformed> {
    Stat::read(&mut Reader::new(body))
}

/// Of `getData`, and of `reconfig`: data and stat.
pub fn data(body: &[u8]) -> Result<(Option<&[u8]>, Stat), Malformed> {
    let mut reader = Reader::new(body);
    Ok((reader.buffer("data")?, Stat::read(&mut reader)?))
}

/// Of `getChildren2`: the names of the children, and the stat of their parent.
pub fn children2(body: &[u8]) -> Result<(Names<'_>, Stat), Malformed> {
    let mut reader = Reader::new(body);
    Ok((reader.names("children")?.unwrap_or_default(), Stat::read(&mut reader)?))
}

/// Of `getChildren` and `getEphemerals`: names or paths.
pub fn names(body: &[u8]) -> Result<Names<'_>, Malformed> {
    Ok(Reader::new(body).names("children")?.unwrap_or_default())
}

/// Of `getACL`: the list, and the stat of the node.
pub fn acl(body: &[u8]) -> Result<(AclList<'_>, Stat), Malformed> {
    let mut reader = Reader::new(body);
    Ok((AclList::read(&mut reader)?.unwrap_or_default(), Stat::read(&mut reader)?))
}

/// Of `create` and `sync`: a path.
pub fn path(body: &[u8]) -> Result<Text<'_>, Malformed> {
    Ok(Reader::new(body).text("path")?.unwrap_or_default())
}

/// Of `create2`, `createContainer`, `createTTL`: a path and a stat.
pub fn path_and_stat(body: &[u8]) -> Result<(Text<'_>, Stat), Malformed> {
    let mut reader = Reader::new(body);
    Ok((reader.text("path")?.unwrap_or_default(), Stat::read(&mut reader)?))
}
