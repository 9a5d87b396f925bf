//! The versions of `ZooKeeper` that can be started, and the jars of each.

use std::fmt;
use std::str::FromStr;

use crate::cache::{self, JarSet};

/// A version of `ZooKeeper` that can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZooKeeperVersion {
    /// 3.8.6, the newest of 3.8 that resolves whole.
    V3_8_6,
    /// 3.8.7.
    V3_8_7,
    /// 3.9.5, the newest of 3.9 that resolves whole.
    V3_9_5,
    /// 3.9.6.
    V3_9_6,
}

impl ZooKeeperVersion {
    /// Its jars, server and client.
    pub fn jars(self) -> JarSet {
        match self {
            Self::V3_8_6 => cache::ZOOKEEPER_3_8_6,
            Self::V3_8_7 => cache::ZOOKEEPER_3_8_7,
            Self::V3_9_5 => cache::ZOOKEEPER_3_9_5,
            Self::V3_9_6 => cache::ZOOKEEPER_3_9_6,
        }
    }
}

impl fmt::Display for ZooKeeperVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_8_6 => "3.8.6",
            Self::V3_8_7 => "3.8.7",
            Self::V3_9_5 => "3.9.5",
            Self::V3_9_6 => "3.9.6",
        })
    }
}

impl FromStr for ZooKeeperVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::V3_8_6, Self::V3_8_7, Self::V3_9_5, Self::V3_9_6]
            .into_iter()
            .find(|version| version.to_string() == text)
            .ok_or_else(|| format!("{text:?}: versions are 3.8.6, 3.8.7, 3.9.5 and 3.9.6"))
    }
}
