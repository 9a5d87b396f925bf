//! The OpenAPI document of the routes, and the test that it and they say the same.

/// What `GET /v1/openapi.json` answers.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");
