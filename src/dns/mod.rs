//! Floor module `dns` (see ARCHITECTURE.md).
