//! What the server and the page agree on. `api.d.ts` is written from it.

use std::sync::Arc;

use bowline::{Date, Func};
use serde::{Deserialize, Serialize};

/// A board of tasks that everybody sees.
#[bowline::interface(typescript)]
pub(crate) trait Board {
    /// What the board is about.
    #[rpc(get)]
    async fn title(&self) -> String;

    /// Takes a seat under a name that nobody else has. Whoever disposes it has left.
    async fn sit_down(self: Arc<Self>, name: String) -> Result<SeatRef, BoardError>;
}

/// What one person can do.
#[bowline::interface(typescript)]
pub(crate) trait Seat {
    /// All tasks, the oldest first.
    async fn tasks(&self) -> Vec<Task>;

    /// Puts a task on the board, in a colour if that matters.
    async fn add(&self, title: String, colour: Option<Colour>) -> Result<Task, BoardError>;

    /// Marks a task as done, or as not done.
    async fn tick(&self, id: u64, done: bool) -> Result<(), BoardError>;

    /// Calls `changed` with what everybody does, ourselves included, until the result is disposed.
    /// The first call tells who is here.
    async fn watch(&self, changed: Func<Change, ()>) -> WatchRef;
}

/// Keeps a callback in use.
#[bowline::interface(typescript)]
pub(crate) trait Watch {}

/// Something to do.
#[derive(Clone, Serialize, Deserialize, bowline::Pipeline, bowline::TypeScript)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) title: String,
    /// Who put it there.
    pub(crate) by: String,
    pub(crate) since: Date,
    pub(crate) colour: Option<Colour>,
    pub(crate) done: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize, bowline::TypeScript)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Colour {
    Amber,
    Blue,
    Green,
}

/// What happened.
#[derive(Clone, Serialize, Deserialize, bowline::TypeScript)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Change {
    /// A task is new, or no longer as it was.
    Task { task: Task },
    /// Somebody came or left.
    Here { names: Vec<String> },
}

/// Why something was refused.
#[derive(Debug, thiserror::Error, bowline::RpcError)]
pub(crate) enum BoardError {
    #[error("somebody called {taken} is here already")]
    NameTaken { taken: String },
    #[error("{what} has from 1 to {max} characters")]
    Length { what: String, max: usize },
    #[error("there is no task {id}")]
    NoTask { id: u64 },
}
