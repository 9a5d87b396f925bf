//! A roll over a simulated fleet: what is decided, and that a driver may die anywhere.

pub(super) mod crash;
mod doubt;
mod drains;
mod driven;
mod finalize;
mod fleet;
mod lost;
mod rules;
