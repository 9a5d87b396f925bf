//! Floor module `lifecycle` (see ARCHITECTURE.md).
