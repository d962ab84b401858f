//! The objects behind the interfaces. All sessions share one [`SharedBoard`]. When a session ends, the
//! objects that it held are dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bowline::Func;

use super::api::{Board, BoardError, Change, Color, Participant, ParticipantRef, Task, Watch, WatchRef};

const NAME_CHARS_MAX: usize = 20;
const TITLE_CHARS_MAX: usize = 60;

/// The board that all sessions share.
#[derive(Default)]
pub(crate) struct SharedBoard(Mutex<State>);

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    names: Vec<String>,
    watchers: BTreeMap<u64, Func<Change, ()>>,
    next_watcher: u64,
}

impl SharedBoard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn notify(&self, change: &Change) {
        for watcher in self.watchers.values() {
            // The call is sent at once. Dropping its promise means that the result is not awaited.
            drop(watcher.call(change.clone()));
        }
    }

    fn participants(&self) -> Change {
        Change::Participants { names: self.names.clone() }
    }
}

impl Board for SharedBoard {
    async fn title(&self) -> String {
        "Spring regatta".to_owned()
    }

    async fn join(self: Arc<Self>, name: String) -> Result<ParticipantRef, BoardError> {
        let name = check_length("the name", &name, NAME_CHARS_MAX)?;
        let mut state = self.state();
        if state.names.contains(&name) {
            return Err(BoardError::NameTaken { taken: name });
        }
        state.names.push(name.clone());
        state.notify(&state.participants());
        drop(state);
        Ok(ParticipantRef::new(Member { board: self, name }))
    }
}

/// A participant, who leaves when this is dropped: when the page disposes its reference, or when its
/// session ends.
struct Member {
    board: Arc<SharedBoard>,
    name: String,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.names.retain(|name| *name != self.name);
        state.notify(&state.participants());
    }
}

impl Participant for Member {
    async fn tasks(&self) -> Vec<Task> {
        self.board.state().tasks.clone()
    }

    async fn add(&self, title: String, color: Option<Color>) -> Result<Task, BoardError> {
        let title = check_length("the title", &title, TITLE_CHARS_MAX)?;
        let mut state = self.board.state();
        let id = state.tasks.len() as u64 + 1;
        let since = SystemTime::now().into();
        let task = Task { id, title, by: self.name.clone(), since, color, done: false };
        state.tasks.push(task.clone());
        state.notify(&Change::Task { task: task.clone() });
        Ok(task)
    }

    async fn set_done(&self, id: u64, done: bool) -> Result<(), BoardError> {
        let mut state = self.board.state();
        let task = state.tasks.iter_mut().find(|task| task.id == id).ok_or(BoardError::NoTask { id })?;
        task.done = done;
        let task = task.clone();
        state.notify(&Change::Task { task });
        Ok(())
    }

    async fn watch(&self, on_change: Func<Change, ()>) -> WatchRef {
        let mut state = self.board.state();
        drop(on_change.call(state.participants()));
        state.next_watcher += 1;
        let number = state.next_watcher;
        state.watchers.insert(number, on_change);
        WatchRef::new(Subscription { board: Arc::clone(&self.board), number })
    }
}

/// A subscription, which ends when this is dropped.
struct Subscription {
    board: Arc<SharedBoard>,
    number: u64,
}

impl Watch for Subscription {}

impl Drop for Subscription {
    fn drop(&mut self) {
        let watcher = self.board.state().watchers.remove(&self.number);
        // Dropped after the lock is released, because dropping a reference sends a message.
        drop(watcher);
    }
}

fn check_length(what: &str, text: &str, max: usize) -> Result<String, BoardError> {
    let text = text.trim();
    match text.chars().count() {
        length if (1..=max).contains(&length) => Ok(text.to_owned()),
        _ => Err(BoardError::Length { what: what.to_owned(), max }),
    }
}
