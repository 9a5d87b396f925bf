//! The verdicts held against each cell of their table, and against a small model of the server's tree.

mod cells;
mod check;
mod flight;
mod model;
mod order;
