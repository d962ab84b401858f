//! The interfaces and data that the server and the page share. `api.d.ts` is generated from them.

use std::sync::Arc;

use bowline::Func;
use bowline::value::Date;
use serde::{Deserialize, Serialize};

/// A board of tasks, shared by all participants.
#[bowline::interface(typescript)]
pub(crate) trait Board {
    /// The title of the board.
    #[rpc(get)]
    async fn title(&self) -> String;

    /// Joins the board under an unused name. Disposing the result leaves the board.
    async fn join(self: Arc<Self>, name: String) -> Result<ParticipantRef, BoardError>;

    /// Ends the process of the server at once, as a power cut does. Nothing is answered.
    async fn crash(&self);
}

/// One person at the board. The object survives the server's process.
#[bowline::interface(typescript)]
pub(crate) trait Participant {
    /// The name under which the person joined.
    #[rpc(get)]
    async fn name(&self) -> String;

    /// Returns all tasks, oldest first.
    #[rpc(idempotent)]
    async fn tasks(&self) -> Vec<Task>;

    /// Adds a task to the board, with a color if one is given. The caller makes up the key; a task with a key that the
    /// board knows is not added again, so the call may be repeated.
    #[rpc(idempotent)]
    async fn add(&self, key: String, title: String, color: Option<Color>) -> Result<Task, BoardError>;

    /// Marks a task as done or not done.
    #[rpc(idempotent)]
    async fn set_done(&self, id: u64, done: bool) -> Result<(), BoardError>;

    /// Calls the callback with the names of the participants, and then with every change that a participant
    /// makes, the caller included, until the result is disposed.
    #[rpc(idempotent)]
    async fn watch(&self, on_change: Func<Change, ()>) -> WatchRef;
}

/// A subscription to changes, which ends when it is disposed. It survives the server's process, too.
#[bowline::interface(typescript)]
pub(crate) trait Watch {}

/// A task.
#[derive(Clone, Serialize, Deserialize, bowline::Pipeline, bowline::TypeScript)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) title: String,
    /// The name of the participant who added the task.
    pub(crate) by: String,
    pub(crate) since: Date,
    pub(crate) color: Option<Color>,
    pub(crate) done: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize, bowline::TypeScript)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    Amber,
    Blue,
    Green,
}

/// A change of the board.
#[derive(Clone, Serialize, Deserialize, bowline::TypeScript)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Change {
    /// A task was added or changed.
    Task { task: Task },
    /// A participant joined or left.
    Participants { names: Vec<String> },
}

/// Why a call on the board or a participant failed.
#[derive(Debug, thiserror::Error, bowline::RpcError)]
pub(crate) enum BoardError {
    #[error("the name {taken} is taken")]
    NameTaken { taken: String },
    #[error("{what} must have 1 to {max} characters")]
    Length { what: String, max: usize },
    #[error("there is no task {id}")]
    NoTask { id: u64 },
}
