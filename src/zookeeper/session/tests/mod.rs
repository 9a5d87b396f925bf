//! Sessions between a raw client, on a pipe in memory, and servers whose every word the test says.

mod attaching;
mod bed;
mod ends;
mod idle;
mod leases;
mod losses;
mod moves;
