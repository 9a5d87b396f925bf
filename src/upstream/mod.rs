//! Floor module `upstream` (see ARCHITECTURE.md).
