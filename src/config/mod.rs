//! Floor module `config` (see ARCHITECTURE.md).
