//! Restoring the objects of a session that another process held. Each is restored when it is first
//! called, or when an object that is built from it is restored. Equal recipes are restored to one
//! object. Calls that arrive meanwhile wait, in order, and are delivered before all later ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, MutexGuard};

use tokio::sync::oneshot;

use crate::endpoint::Endpoint;
use crate::error::ErrorCode;
use crate::id::TargetId;
use crate::peer::driver::options::SessionOptions;
use crate::peer::durable::durability::Durability;
use crate::peer::durable::restorers::RestoreFailure;
use crate::peer::host::jobs::Job;
use crate::peer::host::shared::{Entry, SessionKind, Shared, State};
use crate::peer::reference::deliver;
use crate::peer::reference::recipe::DEPTH_MAX;
use crate::peer::reference::stub::Stub;
use crate::peer::unwind::drop_quietly;
use crate::session::{Recipe, Ref, Session};
use crate::value::Payload;

/// The objects of a recovered session, which are restored on demand.
#[derive(Default)]
pub(crate) struct Revival {
    sleepers: Vec<Sleeper>,
}

/// An object that may not have been restored yet.
struct Sleeper {
    /// The targets that refer to the object in the session.
    targets: Vec<TargetId>,
    /// The recipe. Until the object is restored, it holds one reference count for each reference among its
    /// parameters.
    recipe: Recipe,
    /// The objects that it is built from.
    parts: Vec<usize>,
    progress: Progress,
}

enum Progress {
    Asleep,
    Making { calls: Vec<deliver::Call>, waiters: Vec<oneshot::Sender<()>> },
    Done,
}

impl Sleeper {
    /// Creates an entry that needs no restoring.
    fn done() -> Self {
        let recipe = Recipe { restorer: String::new(), version: 0, params: Payload::default() };
        Self { targets: Vec::new(), recipe, parts: Vec::new(), progress: Progress::Done }
    }
}

impl State {
    /// Queues a call until its object is restored.
    pub(crate) fn await_object(&mut self, at: usize, call: deliver::Call) -> Option<Job> {
        self.wake_sleeper(at);
        match self.revival.sleepers.get_mut(at).map(|sleeper| &mut sleeper.progress) {
            Some(Progress::Making { calls, .. }) => {
                calls.push(call);
                None
            }
            // The object was released, and its target was removed.
            _ => Some(Job::Deliver(deliver::Call { entry: None, ..call })),
        }
    }

    /// Removes a target of an object that has not been restored. Without targets, the object never will be.
    pub(crate) fn forget_sleeper(&mut self, at: usize, target: TargetId) {
        let Some(sleeper) = self.revival.sleepers.get_mut(at) else { return };
        sleeper.targets.retain(|&other| other != target);
        if sleeper.targets.is_empty() && matches!(sleeper.progress, Progress::Asleep) {
            let sleeper = std::mem::replace(sleeper, Sleeper::done());
            sleeper.recipe.params.into_refs().into_iter().for_each(|of| self.endpoint.session.release(of));
        }
    }

    /// Starts to restore an object, unless that has begun before.
    fn wake_sleeper(&mut self, at: usize) {
        let Some(sleeper) = self.revival.sleepers.get_mut(at) else { return };
        if let Progress::Asleep = sleeper.progress {
            sleeper.progress = Progress::Making { calls: Vec::new(), waiters: Vec::new() };
            self.deferred.push(Job::Make(at));
        }
    }
}

/// An object that is being restored. When it ends, in whatever way, the waiting calls are delivered.
struct Making {
    shared: Arc<Shared>,
    at: usize,
    is_over: bool,
}

impl Making {
    async fn run(mut self) {
        let made = self.shared.make(self.at).await;
        self.is_over = true;
        self.shared.made(self.at, made);
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.made(self.at, Err(RestoreFailure(ErrorCode::RestoreFailed)));
        }
    }
}

/// What a target refers to, before anything is restored.
#[derive(Clone, Copy)]
enum Found {
    Sleeper(usize),
    Lost,
    /// Being visited: reaching it again means that the recipe contains itself.
    Open,
}

/// The grouping of targets that are the same object. Recipes are compared together with the objects that their
/// parts refer to, so parts are visited first. A recipe that contains itself is lost.
struct Sorting<'a> {
    session: &'a Session,
    found: HashMap<TargetId, Found>,
    known: HashMap<(String, u32, String, Vec<Part>), usize>,
    sleepers: Vec<Sleeper>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Sleeper(usize),
    Other(Ref),
}

impl Sorting<'_> {
    fn sort(&mut self, target: TargetId, depth: usize) -> Found {
        if let Some(&found) = self.found.get(&target) {
            return found;
        }
        let Some(recipe) = self.session.recipe(target).filter(|_| depth < DEPTH_MAX) else { return Found::Lost };
        self.found.insert(target, Found::Open);
        let mut parts = Vec::with_capacity(recipe.params.refs().len());
        for &of in recipe.params.refs() {
            parts.push(match of {
                Ref::Target(part) => match self.sort(part, depth + 1) {
                    Found::Sleeper(part) => Part::Sleeper(part),
                    Found::Lost => Part::Other(of),
                    Found::Open => return self.note(target, Found::Lost),
                },
                other => Part::Other(other),
            });
        }
        let made_of = parts.iter().filter_map(|part| match part {
            Part::Sleeper(part) => Some(*part),
            Part::Other(_) => None,
        });
        let made_of: Vec<usize> = made_of.collect();
        let key = (recipe.restorer.clone(), recipe.version, recipe.params.text().to_owned(), parts);
        let at = match self.known.entry(key) {
            Slot::Occupied(known) => *known.get(),
            Slot::Vacant(free) => {
                let recipe = recipe.clone();
                self.sleepers.push(Sleeper { targets: Vec::new(), recipe, parts: made_of, progress: Progress::Asleep });
                *free.insert(self.sleepers.len() - 1)
            }
        };
        self.sleepers[at].targets.push(target);
        self.note(target, Found::Sleeper(at))
    }

    fn note(&mut self, target: TargetId, found: Found) -> Found {
        self.found.insert(target, found);
        found
    }
}

impl Shared {
    /// Creates a session that another process held. `targets` are the objects that references are left to.
    pub(crate) fn recovered(
        endpoint: Endpoint,
        targets: &[TargetId],
        main: Option<Stub>,
        options: SessionOptions,
    ) -> Arc<Self> {
        let durability = options.durability.clone();
        let mut sorting =
            Sorting { session: &endpoint.session, found: HashMap::new(), known: HashMap::new(), sleepers: Vec::new() };
        let mut entries = HashMap::new();
        for &target in targets.iter().filter(|&&target| target != Session::MAIN) {
            let entry = match sorting.sort(target, 0) {
                Found::Sleeper(at) => Entry::Dormant(at),
                Found::Lost | Found::Open if endpoint.session.recipe(target).is_some() => {
                    tracing::warn!(
                        "an object was not restored: its recipe contains itself, or recipes are nested too deep"
                    );
                    Entry::Lost(Box::new(RestoreFailure(ErrorCode::RestoreFailed)))
                }
                Found::Lost | Found::Open => Entry::Lost(Box::new(RestoreFailure(ErrorCode::CapabilityLost))),
            };
            entries.insert(target, entry);
        }
        let sleepers = sorting.sleepers;
        let eager: Vec<usize> = match &durability {
            Some(durability) => {
                (0..sleepers.len()).filter(|&at| durability.restorers.is_eager(&sleepers[at].recipe.restorer)).collect()
            }
            None => Vec::new(),
        };
        let shared = Self::new(endpoint, options, main.map(Entry::from), SessionKind::Connected);
        {
            let mut state = shared.lock();
            entries.into_iter().for_each(|(target, entry)| state.targets.insert(target, entry));
            // An object can be restored after the peer has released it, because a call on it may be in
            // flight. So the recipe holds its own references.
            for sleeper in &sleepers {
                sleeper.recipe.params.refs().iter().for_each(|&of| state.endpoint.session.retain(of));
            }
            state.revival = Revival { sleepers };
            eager.iter().for_each(|&at| state.wake_sleeper(at));
            // Started below instead: the session may have other outputs, which wait for its driver.
            state.deferred.clear();
        }
        eager.iter().for_each(|&at| shared.start_making(at));
        shared
    }

    /// Runs `look` on the endpoint when the session has no pending outputs.
    pub(crate) fn between_inputs<T>(self: &Arc<Self>, look: impl FnOnce(&mut Endpoint) -> T) -> T {
        self.look(self.lock(), look)
    }

    /// Locks the state. Returns `None` if a call that was taken from the session has not begun.
    pub(crate) fn lock_if_begun(self: &Arc<Self>) -> Option<MutexGuard<'_, State>> {
        let mut state = self.lock();
        self.stage_deferred(&mut state);
        if state.has_begun_all() {
            return Some(state);
        }
        self.go_on(state);
        None
    }

    /// Converts all pending outputs into deferred jobs.
    fn stage_deferred(self: &Arc<Self>, state: &mut State) {
        // The next thread that carries out outputs takes these before any later ones.
        let mut jobs = state.stage(self);
        jobs.append(&mut state.deferred);
        state.deferred = jobs;
    }

    /// Runs `look` on the endpoint of a locked session, which then has no pending outputs.
    pub(crate) fn look<T>(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        look: impl FnOnce(&mut Endpoint) -> T,
    ) -> T {
        self.stage_deferred(&mut state);
        let seen = look(&mut state.endpoint);
        drop(state);
        self.wake.notify_one();
        seen
    }

    /// Restores an object in a task of its own.
    pub(crate) fn start_making(self: &Arc<Self>, at: usize) {
        let making = Making { shared: Arc::clone(self), at, is_over: false };
        if self.spawn(making.run()).is_none() {
            tracing::error!("an object cannot be restored without an async runtime");
        }
    }

    async fn make(self: &Arc<Self>, at: usize) -> Result<Stub, RestoreFailure> {
        let gone = || RestoreFailure(ErrorCode::CapabilityLost);
        let parts = self.lock().revival.sleepers.get(at).map(|sleeper| sleeper.parts.clone()).unwrap_or_default();
        for part in parts {
            if let Some(made) = self.until_made(part) {
                // The sender is dropped when the part has been restored or the session has ended.
                let _ = made.await;
            }
        }
        let ((restorer, version), params) = {
            let mut state = self.lock();
            // The reference counts of the recipe pass to the lifted references.
            let sleeper = state.revival.sleepers.get_mut(at).ok_or_else(gone)?;
            let recipe = std::mem::replace(&mut sleeper.recipe, Sleeper::done().recipe);
            let Recipe { restorer, version, params } = recipe;
            ((restorer, version), state.lift(self, params))
        };
        let Some(Durability { ctx, restorers, .. }) = self.options().durability.as_deref() else { return Err(gone()) };
        restorers.make(ctx.clone(), &restorer, version, params).await
    }

    /// Returns a receiver that ends when an object has been restored or has failed, or `None` if that has
    /// happened already.
    fn until_made(self: &Arc<Self>, at: usize) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        state.wake_sleeper(at);
        let sleeper = state.revival.sleepers.get_mut(at)?;
        let Progress::Making { waiters, .. } = &mut sleeper.progress else { return None };
        let (sender, receiver) = oneshot::channel();
        waiters.push(sender);
        self.go_on(state);
        Some(receiver)
    }

    fn made(self: &Arc<Self>, at: usize, made: Result<Stub, RestoreFailure>) {
        let entry = match made {
            Ok(stub) => Entry::from(stub),
            Err(unmade) => Entry::Lost(Box::new(unmade)),
        };
        let mut state = self.lock();
        let Some(sleeper) = state.revival.sleepers.get_mut(at) else {
            drop(state);
            return drop_quietly(entry);
        };
        // From here on only the targets hold the object, so it is dropped with the last of them.
        let Sleeper { targets, progress, recipe, .. } = std::mem::replace(sleeper, Sleeper::done());
        recipe.params.into_refs().into_iter().for_each(|of| state.endpoint.session.release(of));
        for target in targets {
            if let Some(dormant @ Entry::Dormant(_)) = state.targets.get_mut(target) {
                *dormant = entry.clone();
                self.renew_recipe(&mut state, target, &entry);
            }
        }
        let mut waiters = Vec::new();
        if let Progress::Making { calls, waiters: waiting } = progress {
            let jobs = calls.into_iter().map(|call| Job::Deliver(deliver::Call { entry: Some(entry.clone()), ..call }));
            state.deferred.extend(jobs);
            waiters = waiting;
        }
        self.pump(state);
        drop(waiters);
        drop_quietly(entry);
    }

    /// Replaces the recipe in the session by the one of the restored object, which may be newer.
    fn renew_recipe(self: &Arc<Self>, state: &mut State, target: TargetId, entry: &Entry) {
        let Entry::Local(local) = entry else { return };
        let Some(recipe) = local.recipe() else { return };
        let mut lowering = self.lowering(state);
        let renewed = lowering.durable_recipe(recipe);
        lowering.know(local, target);
        let lowered = lowering.done();
        if let Ok(recipe) = renewed {
            state.endpoint.session.set_recipe(target, recipe);
        }
        lowered.give_back(state);
    }
}
