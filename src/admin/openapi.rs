//! The `OpenAPI` document of the routes; a test holds the one against the other.

/// What `GET /v1/openapi.json` answers.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");
