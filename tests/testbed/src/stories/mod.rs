//! Longer courses of events that both the short tests and the acceptance runs go through, each told once.

mod cold_start;
mod kills;
mod moves;

pub use cold_start::{ColdStart, cold_start};
pub use kills::{Kill, Kills, kills};
pub use moves::{DOMAIN, HANDSHAKE, Moved, moves};
