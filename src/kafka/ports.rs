//! The stable loopback port of each broker node id.
//!
//! The port is the range's first port + id modulo its size; on a collision the next free one. A map in `state_dir`
//! (where there is one) remembers it, so that ports stay the same after a restart whatever order nodes are seen in.

use crate::config::PortRange;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which port stands for which node. Assignments are never taken back while the process lives.
#[derive(Debug)]
pub struct Ports {
    range: PortRange,
    by_node: BTreeMap<i32, u16>,
    by_port: BTreeMap<u16, i32>,
    file: Option<PathBuf>,
}

impl Ports {
    /// A map over `range` with ports that the configuration pins, and what `file` remembers of earlier runs.
    pub fn new(range: PortRange, pinned: &BTreeMap<i32, u16>, file: Option<PathBuf>) -> Self {
        let mut ports = Self { range, by_node: BTreeMap::new(), by_port: BTreeMap::new(), file };
        for (&node, &port) in pinned {
            ports.put(node, port);
        }
        let remembered = ports.file.as_deref().map(read).unwrap_or_default();
        for (node, port) in remembered {
            let (fits, free) = (ports.contains(port), !ports.by_port.contains_key(&port));
            match ports.by_node.get(&node) {
                Some(&now) if now != port => {
                    tracing::warn!(node, port, now, "the port of a broker has moved");
                }
                Some(_) => {}
                None if fits && free => ports.put(node, port),
                None => {
                    tracing::warn!(node, port, "a remembered broker port is no longer free: it will move");
                }
            }
        }
        ports
    }

    fn contains(&self, port: u16) -> bool {
        (self.range.first..=self.range.last).contains(&port)
    }

    fn put(&mut self, node: i32, port: u16) {
        self.by_node.insert(node, port);
        self.by_port.insert(port, node);
    }

    /// The port of a node, assigned at the first call. `None` when every port of the range is taken.
    pub fn assign(&mut self, node: i32) -> Option<u16> {
        if let Some(&port) = self.by_node.get(&node) {
            return Some(port);
        }
        let size = i32::from(self.range.last - self.range.first) + 1;
        let start = node.rem_euclid(size);
        let port = (0..size)
            .filter_map(|step| u16::try_from((start + step) % size).ok())
            .map(|offset| self.range.first + offset)
            .find(|port| !self.by_port.contains_key(port))?;
        self.put(node, port);
        self.write();
        Some(port)
    }

    /// The node behind a port, if one has been assigned.
    pub fn node_at(&self, port: u16) -> Option<i32> {
        self.by_port.get(&port).copied()
    }

    fn write(&self) {
        let Some(file) = &self.file else { return };
        let lines: Vec<String> = self.by_node.iter().map(|(node, port)| format!("{node} {port}\n")).collect();
        let text = lines.concat();
        let temporary = file.with_extension("new");
        if let Err(error) = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, file))
        {
            tracing::warn!(file = %file.display(), %error, "the broker ports can't be remembered");
        }
    }
}

/// Lines of `node port`; a line that isn't is passed over, since losing the file is safe.
fn read(file: &Path) -> Vec<(i32, u16)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let pair = |line: &str| {
        let (node, port) = line.split_once(' ')?;
        Some((node.parse().ok()?, port.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange { first, last }
    }

    #[test]
    fn a_port_is_first_plus_id_modulo_size_and_the_next_free_one_on_a_collision() {
        let mut ports = Ports::new(range(19092, 19101), &BTreeMap::new(), None);
        assert_eq!(ports.assign(1), Some(19093));
        assert_eq!(ports.assign(11), Some(19094));
        assert_eq!(ports.assign(2), Some(19095));
        assert_eq!(ports.assign(1), Some(19093));
        assert_eq!(ports.assign(9), Some(19101));
        assert_eq!(ports.assign(19), Some(19092), "wraps round");
        assert_eq!(ports.node_at(19094), Some(11));
        assert_eq!(ports.node_at(19099), None);
    }

    #[test]
    fn a_full_range_gives_none_and_a_negative_id_a_port() {
        let mut ports = Ports::new(range(1, 2), &BTreeMap::new(), None);
        assert!(ports.assign(-7).is_some());
        assert!(ports.assign(5).is_some());
        assert_eq!(ports.assign(6), None);
    }

    #[test]
    fn pinned_ports_win_and_the_file_is_remembered() {
        let dir = std::env::temp_dir().join(format!("evenkeel-ports-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("orders.ports");
        let pinned = BTreeMap::from([(1001, 19150)]);
        let mut ports = Ports::new(range(19092, 19191), &pinned, Some(file.clone()));
        assert_eq!(ports.assign(1001), Some(19150));
        assert_eq!(ports.assign(158), Some(19151), "19092 + 58 is taken by the pinned one");
        let mut again = Ports::new(range(19092, 19191), &pinned, Some(file.clone()));
        assert_eq!(again.assign(58), Some(19152), "158 keeps its place though 58 is seen first");
        assert_eq!(again.assign(158), Some(19151));
        std::fs::write(&file, "junk\n1 2 3\n77 99999\n").unwrap();
        assert_eq!(Ports::new(range(19092, 19191), &pinned, Some(file)).assign(3), Some(19095));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
