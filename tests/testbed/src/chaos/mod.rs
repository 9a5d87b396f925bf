//! Chaos: a cluster under many clients is broken in every way there is, in an order that a seed decides; everything is
//! recorded, and a checker proves from the records what became of the promises.
//!
//! `schedule` says what happens, `run` does it, `history` keeps what was seen, `checker` judges. The first and the
//! last are pure: a seed gives the same events again, and a kept folder the same verdict.

pub mod checker;
mod faults;
pub mod history;
mod monitor;
pub mod net;
pub mod outages;
mod report;
mod run;
pub mod schedule;

pub use checker::{Rules, Verdict, check};
pub use history::Folder;
pub use report::table;
pub use run::{Order, Outcome, PARTITIONS, Size, judge, prove};
pub use schedule::{Events, Schedule};
