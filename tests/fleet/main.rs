//! Many sidecars, and the commands that see all of them: `evenkeel upgrade`, `upgrade --serve` and `status` as processes, in front of
//! simulated sidecars that answer over real HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

mod bed;
mod driven;
mod serve;
mod status;
