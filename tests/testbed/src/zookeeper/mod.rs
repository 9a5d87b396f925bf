//! `ZooKeeper`: ensembles of real servers, a plain client of the test bed's own that always finds out what became of its
//! writes, client programs of many libraries, and the judgement on what those went through.

mod bare;
mod changer;
mod crowd;
mod direct;
mod ensemble;
pub mod history;
pub mod judge;
mod malformed;
mod members;
mod observer;
mod programs;
mod report;
mod shield;
mod story;
mod version;
mod wire;

pub use bare::{Bare, Met};
pub use changer::Changes;
pub use crowd::{Crowd, Lost};
pub use direct::{Change, Direct, Places, Stat};
pub use ensemble::{Ensemble, EnsembleSpec, Mode};
pub use malformed::{Due, Malformed};
pub use observer::Ephemerals;
pub use programs::{Client, ClientSpec, ZooKeeperLibrary};
pub use report::{breaches_of, table};
pub use shield::{Shielded, Stopped, shielded, stopped};
pub use story::{Course, Ending, Load, Row, Running, Through};
pub use version::ZooKeeperVersion;
