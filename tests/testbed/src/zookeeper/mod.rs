//! `ZooKeeper`: ensembles of real servers, a plain client of the test bed's own that always finds out what became of its
//! writes, client programs of many libraries, and the judgement on what those went through.

mod bare;
mod changer;
pub mod chaos;
mod course;
mod crowd;
mod direct;
mod ensemble;
pub mod history;
mod idlers;
pub mod judge;
pub mod lease;
mod malformed;
mod members;
mod moves;
mod observer;
mod programs;
mod raw;
mod refit;
mod report;
pub mod sasl;
mod secure;
mod shield;
pub mod small;
mod story;
mod version;
mod wire;

pub use bare::{Bare, Met};
pub use changer::Changes;
pub use course::{Course, Ending, Through};
pub use crowd::{Crowd, Crowded, Events, Size};
pub use direct::{Change, Direct, Places, Stat};
pub use ensemble::{Ensemble, EnsembleSpec, Mode};
pub use idlers::{Idlers, Lost};
pub use judge::Excuse;
pub use malformed::{Due, Malformed};
pub use moves::{Drained, Moved, Moves, Pauses, moves_table};
pub use observer::Ephemerals;
pub use programs::{Client, ClientSpec, ZooKeeperLibrary};
pub use refit::Refit;
pub use report::{breaches_of, closes, table, unaccounted};
pub use shield::{Shielded, Stopped, shielded, stopped};
pub use story::{Load, Row, Running};
pub use version::ZooKeeperVersion;
