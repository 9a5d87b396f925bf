//! Floor module `admin` (see ARCHITECTURE.md).
