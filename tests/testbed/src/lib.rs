//! Real clusters for the tests and the demo.
