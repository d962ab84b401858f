//! Requests to list what a session holds, and the answers; see docs/link.md, "Listing objects".

use serde::{Deserialize, Serialize};

/// The number of entries in an answer, unless the client sets a limit.
pub const LIST_DEFAULT: usize = 100;

/// The maximum number of entries in an answer.
pub const LIST_MAX: usize = 1_000;

/// Selects entries. Each field that is set excludes entries that do not match it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListFilter {
    /// The accepted statuses; empty accepts all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<ObjectStatus>,
    /// The accepted kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ObjectKind>,
    /// Accepts entries created at this time or later, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<u64>,
    /// Accepts entries created before this time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<u64>,
}

/// A request to list what the session holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Returned with the answer.
    pub request_id: u64,
    /// Selects entries.
    #[serde(default)]
    pub filter: ListFilter,
    /// The maximum number of entries: 100 by default, and at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Continues after the previous answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The answer to a [`List`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// The id of the request.
    pub request_id: u64,
    /// The entries in order of creation, results of calls before exports.
    pub objects: Vec<ObjectEntry>,
    /// The cursor for the next request; absent if there are no further entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An object or the result of a call that the server holds for the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// The id in messages.
    pub id: i64,
    /// The kind of the entry.
    pub kind: ObjectKind,
    /// The name of the object's restorer, if it is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The status of the entry.
    pub status: ObjectStatus,
    /// The id of the entry that a pending call was made on, if that is listed, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<i64>,
    /// The time of creation in milliseconds since 1970, exact to about a second; absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<u64>,
    /// The reference count.
    pub mentions: i64,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObjectKind {
    /// An object that was sent to the client.
    Object,
    /// The result of a call, or a promise that was sent to the client.
    Result,
    /// A kind of a newer version.
    #[serde(other)]
    Unknown,
}

/// The status of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObjectStatus {
    /// An object that has not been released.
    Live,
    /// The call has not returned.
    Pending,
    /// The call returned.
    Resolved,
    /// The call failed.
    Rejected,
    /// A status of a newer version.
    #[serde(other)]
    Unknown,
}
