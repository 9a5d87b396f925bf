//! Floor module `hold` (see ARCHITECTURE.md).
