//! Floor module `metrics` (see ARCHITECTURE.md).
