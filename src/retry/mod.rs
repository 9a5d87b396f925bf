//! Floor module `retry` (see ARCHITECTURE.md).
