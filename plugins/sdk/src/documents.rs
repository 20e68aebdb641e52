//! What messages of the types `document.*` have in common.

use serde::{Deserialize, Serialize};

/// Which document it is.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `2026-11-20`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_on: Option<String>,
}
