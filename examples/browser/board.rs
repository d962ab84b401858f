//! The objects behind the interfaces. All sessions share one [`SharedBoard`], whose tasks are in a file. When a session
//! ends, the objects that it held are dropped. When the process ends, the next one restores them from their recipes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bowline::Func;
use bowline::durable::Restorers;
use bowline::value::Date;
use serde::{Deserialize, Serialize};

use super::api::{Board, BoardError, Change, Color, Participant, ParticipantRef, Task, Watch, WatchRef};

const NAME_CHARS_MAX: usize = 20;
const TITLE_CHARS_MAX: usize = 60;
const KEY_CHARS_MAX: usize = 64;

/// The board that all sessions share.
pub(crate) struct SharedBoard {
    state: Mutex<State>,
    /// Where the tasks are stored.
    file: PathBuf,
}

#[derive(Default)]
struct State {
    tasks: Vec<StoredTask>,
    names: Vec<String>,
    watchers: BTreeMap<u64, Func<Change, ()>>,
    next_watcher: u64,
}

/// A task as it is stored. Its id is its place among the tasks.
#[derive(Clone, Serialize, Deserialize)]
struct StoredTask {
    key: String,
    title: String,
    by: String,
    since_ms: u64,
    color: Option<Color>,
    done: bool,
}

impl SharedBoard {
    /// Reads the board from a file, if it exists.
    pub(crate) fn open(file: PathBuf) -> Arc<Self> {
        let stored = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let state = State { tasks: stored.unwrap_or_default(), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), file })
    }

    /// Returns what restores the objects of clients in another process.
    pub(crate) fn restorers(self: &Arc<Self>) -> Restorers {
        let participant = Member::restorer(Arc::clone(self), |_ctx, params, board| async move {
            board.enter(&params.name);
            Ok(ParticipantRef::durable(params.restore(board)))
        });
        let watch = Subscription::restorer(Arc::clone(self), |_ctx, params, board| async move {
            let number = board.subscribe(params.on_change.clone());
            Ok(WatchRef::durable(params.restore((board, number))))
        });
        // Watching calls the page, so it is restored before the page calls it.
        Restorers::new().with(participant.eager()).with(watch.eager())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, name: &str) {
        let mut state = self.state();
        if !state.names.iter().any(|taken| taken == name) {
            state.names.push(name.to_owned());
        }
        state.notify(&state.participants());
    }

    fn subscribe(&self, on_change: Func<Change, ()>) -> u64 {
        let mut state = self.state();
        drop(on_change.call(state.participants()));
        state.next_watcher += 1;
        let number = state.next_watcher;
        state.watchers.insert(number, on_change);
        number
    }

    /// Writes the tasks beside the file and renames that, so that a crash leaves one or the other.
    fn store(&self, state: &State) {
        let beside = self.file.with_extension("new");
        let bytes = serde_json::to_vec(&state.tasks).expect("tasks are strings, numbers, and lists");
        let stored = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(beside, &self.file));
        if let Err(error) = stored {
            eprintln!("{}: {error}", self.file.display());
        }
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

    fn task(&self, place: usize) -> Task {
        let StoredTask { title, by, since_ms, color, done, .. } = self.tasks[place].clone();
        Task { id: place as u64 + 1, title, by, since: Date::from_ms(since_ms as f64), color, done }
    }
}

impl Board for SharedBoard {
    async fn title(&self) -> String {
        "Spring regatta".to_owned()
    }

    async fn join(self: Arc<Self>, name: String) -> Result<ParticipantRef, BoardError> {
        let name = check_length("the name", &name, NAME_CHARS_MAX)?;
        if self.state().names.contains(&name) {
            return Err(BoardError::NameTaken { taken: name });
        }
        self.enter(&name);
        Ok(ParticipantRef::durable(Member { name, board: self }))
    }

    async fn crash(&self) {
        std::process::abort();
    }
}

/// A participant, who leaves when this is dropped: when the page disposes its reference, or when its
/// session ends.
#[bowline::durable(restorer = "participant", version = 1)]
struct Member {
    name: String,
    #[durable(skip)]
    board: Arc<SharedBoard>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.names.retain(|name| *name != self.name);
        state.notify(&state.participants());
    }
}

impl Participant for Member {
    async fn name(&self) -> String {
        self.name.clone()
    }

    async fn tasks(&self) -> Vec<Task> {
        let state = self.board.state();
        (0..state.tasks.len()).map(|place| state.task(place)).collect()
    }

    async fn add(&self, key: String, title: String, color: Option<Color>) -> Result<Task, BoardError> {
        let title = check_length("the title", &title, TITLE_CHARS_MAX)?;
        let key = check_length("the key", &key, KEY_CHARS_MAX)?;
        let mut state = self.board.state();
        if let Some(place) = state.tasks.iter().position(|task| task.key == key) {
            return Ok(state.task(place));
        }
        let since_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        state.tasks.push(StoredTask { key, title, by: self.name.clone(), since_ms, color, done: false });
        self.board.store(&state);
        let task = state.task(state.tasks.len() - 1);
        state.notify(&Change::Task { task: task.clone() });
        Ok(task)
    }

    async fn set_done(&self, id: u64, done: bool) -> Result<(), BoardError> {
        let mut state = self.board.state();
        let place = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let place = place.filter(|place| *place < state.tasks.len()).ok_or(BoardError::NoTask { id })?;
        state.tasks[place].done = done;
        self.board.store(&state);
        state.notify(&Change::Task { task: state.task(place) });
        Ok(())
    }

    async fn watch(&self, on_change: Func<Change, ()>) -> WatchRef {
        let board = Arc::clone(&self.board);
        let number = board.subscribe(on_change.clone());
        WatchRef::durable(Subscription { on_change, place: (board, number) })
    }
}

/// A subscription, which ends when this is dropped.
#[bowline::durable(restorer = "watch", version = 1)]
struct Subscription {
    on_change: Func<Change, ()>,
    /// The board, and the number of the watcher there.
    #[durable(skip)]
    place: (Arc<SharedBoard>, u64),
}

impl Watch for Subscription {}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (board, number) = &self.place;
        let watcher = board.state().watchers.remove(number);
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
