//! The objects behind the interfaces. One [`Hall`] is shared by all sessions; what a session holds
//! of it goes with the session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bowline::Func;

use super::api::{Board, BoardError, Change, Colour, Seat, SeatRef, Task, Watch, WatchRef};

const NAME_CHARS_MAX: usize = 20;
const TITLE_CHARS_MAX: usize = 60;

/// What everybody shares.
#[derive(Default)]
pub(crate) struct Hall(Mutex<State>);

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    names: Vec<String>,
    watchers: BTreeMap<u64, Func<Change, ()>>,
    watchers_ever: u64,
}

impl Hall {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&self, change: &Change) {
        for watcher in self.watchers.values() {
            // Sent when it is called; nobody waits for the answer.
            drop(watcher.call(change.clone()));
        }
    }

    fn here(&self) -> Change {
        Change::Here { names: self.names.clone() }
    }
}

impl Board for Hall {
    async fn title(&self) -> String {
        "Spring regatta".to_owned()
    }

    async fn sit_down(self: Arc<Self>, name: String) -> Result<SeatRef, BoardError> {
        let name = within("a name", &name, NAME_CHARS_MAX)?;
        let mut state = self.state();
        if state.names.contains(&name) {
            return Err(BoardError::NameTaken { taken: name });
        }
        state.names.push(name.clone());
        state.tell(&state.here());
        drop(state);
        Ok(SeatRef::new(Place { hall: self, name }))
    }
}

/// A seat that is taken; it is free again when it is dropped, which is when the page disposed its
/// reference or is gone.
struct Place {
    hall: Arc<Hall>,
    name: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hall.state();
        state.names.retain(|name| *name != self.name);
        state.tell(&state.here());
    }
}

impl Seat for Place {
    async fn tasks(&self) -> Vec<Task> {
        self.hall.state().tasks.clone()
    }

    async fn add(&self, title: String, colour: Option<Colour>) -> Result<Task, BoardError> {
        let title = within("a title", &title, TITLE_CHARS_MAX)?;
        let mut state = self.hall.state();
        let id = state.tasks.len() as u64 + 1;
        let since = SystemTime::now().into();
        let task = Task { id, title, by: self.name.clone(), since, colour, done: false };
        state.tasks.push(task.clone());
        state.tell(&Change::Task { task: task.clone() });
        Ok(task)
    }

    async fn tick(&self, id: u64, done: bool) -> Result<(), BoardError> {
        let mut state = self.hall.state();
        let task = state.tasks.iter_mut().find(|task| task.id == id).ok_or(BoardError::NoTask { id })?;
        task.done = done;
        let task = task.clone();
        state.tell(&Change::Task { task });
        Ok(())
    }

    async fn watch(&self, changed: Func<Change, ()>) -> WatchRef {
        let mut state = self.hall.state();
        drop(changed.call(state.here()));
        state.watchers_ever += 1;
        let number = state.watchers_ever;
        state.watchers.insert(number, changed);
        WatchRef::new(Watching { hall: Arc::clone(&self.hall), number })
    }
}

/// A callback in use, until this is dropped.
struct Watching {
    hall: Arc<Hall>,
    number: u64,
}

impl Watch for Watching {}

impl Drop for Watching {
    fn drop(&mut self) {
        let watcher = self.hall.state().watchers.remove(&self.number);
        // Not under the lock: dropping the last reference to a callback has work to do.
        drop(watcher);
    }
}

fn within(what: &str, text: &str, max: usize) -> Result<String, BoardError> {
    let text = text.trim();
    match text.chars().count() {
        length if (1..=max).contains(&length) => Ok(text.to_owned()),
        _ => Err(BoardError::Length { what: what.to_owned(), max }),
    }
}
