//! What a session holds, for a client that asks.

use serde::{Deserialize, Serialize};

/// Entries of an answer, unless the client says how many.
pub const LIST_DEFAULT: usize = 100;

/// The most entries of an answer.
pub const LIST_MAX: usize = 1_000;

/// Which entries are wanted. Each field that is set leaves out what is different.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListFilter {
    /// Any of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Status>,
    /// This kind alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EntryKind>,
    /// Made at this time or later, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_after: Option<u64>,
    /// Made before this time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_before: Option<u64>,
}

/// A question what the session holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Comes back with the answer.
    pub request_id: u64,
    /// Which entries.
    #[serde(default)]
    pub filter: ListFilter,
    /// How many at most: 100 if it is not said, and never more than 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Where the answer before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objects {
    /// As it was asked.
    pub request_id: u64,
    /// In the order in which they were made, the results of calls before what was exported.
    pub objects: Vec<ObjectEntry>,
    /// There is more, after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Something that the server holds for the client: an object, or the result of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// The number by which messages name it.
    pub id: i64,
    /// What it is.
    pub kind: EntryKind,
    /// What makes it again in another process, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How far it has come.
    pub status: Status,
    /// What a call that waits was made on, if that is on the list, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<i64>,
    /// In milliseconds since 1970, to the second; absent if that is not known any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<u64>,
    /// How often it was given to the client.
    pub mentions: i64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryKind {
    /// An object that was given to the client.
    Object,
    /// The result of a call, or a promise that was given to the client.
    Result,
    /// Something newer.
    #[serde(other)]
    Unknown,
}

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It is there, until it is released.
    Live,
    /// The call has not ended.
    Pending,
    /// The call was answered.
    Resolved,
    /// The call failed.
    Rejected,
    /// Something newer.
    #[serde(other)]
    Unknown,
}
