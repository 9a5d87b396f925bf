//! `ZooKeeper`: ensembles of real servers, a plain client of the test bed's own that always finds out what became of its
//! writes, client programs of many libraries, and the judgement on what those went through.

mod changer;
pub mod chaos;
mod direct;
mod ensemble;
pub mod history;
pub mod judge;
pub mod lease;
mod members;
mod observer;
mod programs;
mod raw;
mod report;
pub mod small;
mod story;
mod version;
mod wire;

pub use changer::Changes;
pub use direct::{Change, Direct, Places, Stat};
pub use ensemble::{Ensemble, EnsembleSpec, Mode};
pub use observer::Ephemerals;
pub use programs::{Client, ClientSpec, ZooKeeperLibrary};
pub use report::{breaches_of, table};
pub use story::{Course, Ending, Load, Row, Running, Through};
pub use version::ZooKeeperVersion;
