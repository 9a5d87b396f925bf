//! Floor module `net` (see ARCHITECTURE.md).
