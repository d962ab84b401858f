//! Objects of a session that another process held: each is made again when it is first called, or
//! when an object that is made of it is. Equal recipes are one object. Calls that come meanwhile
//! wait, in their order, and are then delivered before all later ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::endpoint::Endpoint;
use crate::error::ErrorCode;
use crate::id::TargetId;
use crate::peer::deliver;
use crate::peer::durability::Durability;
use crate::peer::options::Options;
use crate::peer::recipe::DEPTH_MAX;
use crate::peer::restorers::Unmade;
use crate::peer::runtime;
use crate::peer::shared::{Entry, Shared, State};
use crate::peer::stage::Job;
use crate::peer::stub::Stub;
use crate::peer::unwind::drop_quietly;
use crate::session::{Recipe, Ref, Session};

/// What was restored of a session, and is made again as it is needed.
#[derive(Default)]
pub(crate) struct Revival {
    sleepers: Vec<Sleeper>,
}

/// An object that may not have been made yet.
struct Sleeper {
    /// All that stands for it in the session.
    targets: Vec<TargetId>,
    recipe: Recipe,
    /// Those that it is made of.
    parts: Vec<usize>,
    progress: Progress,
}

enum Progress {
    Asleep,
    Making { calls: Vec<deliver::Call>, waiters: Vec<oneshot::Sender<()>> },
    Done(Entry),
}

/// What a target is before anything is made.
#[derive(Clone, Copy)]
enum Found {
    Sleeper(usize),
    Lost,
    /// On the way to itself.
    Open,
}

/// Finds out which targets are one object. Recipes are compared by what their parts come to, so
/// parts go first; one that leads back to itself is none.
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
    /// A session that another process held, whose `targets` something still refers to.
    pub(crate) fn restored(
        endpoint: Endpoint,
        targets: &[TargetId],
        main: Option<Stub>,
        options: Options,
    ) -> Arc<Self> {
        let durability = options.durability.clone();
        let mut sorting =
            Sorting { session: &endpoint.session, found: HashMap::new(), known: HashMap::new(), sleepers: Vec::new() };
        let mut entries = HashMap::new();
        for &target in targets.iter().filter(|&&target| target != Session::MAIN) {
            let entry = match sorting.sort(target, 0) {
                Found::Sleeper(at) => Entry::Dormant(at),
                Found::Lost | Found::Open if endpoint.session.recipe(target).is_some() => {
                    tracing::warn!("an object whose recipe leads back to itself, or too far, was not restored");
                    Entry::Lost(Box::new(Unmade(ErrorCode::RestoreFailed)))
                }
                Found::Lost | Found::Open => Entry::Lost(Box::new(Unmade(ErrorCode::CapabilityLost))),
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
        let shared = Self::new(endpoint, options, main.map(Entry::from), true, false);
        {
            let mut state = shared.lock();
            entries.into_iter().for_each(|(target, entry)| state.targets.insert(target, entry));
            state.revival = Revival { sleepers };
            for at in eager {
                shared.wake_sleeper(&mut state, at);
            }
        }
        shared
    }

    /// Shows the endpoint when there is nothing to be taken from its session.
    pub(crate) fn between_inputs<T>(self: &Arc<Self>, look: impl FnOnce(&mut Endpoint) -> T) -> T {
        let mut state = self.lock();
        // Whoever carries out outputs comes to these before any later ones.
        let jobs = state.stage(self);
        state.deferred = jobs;
        let seen = look(&mut state.endpoint);
        drop(state);
        self.wake.notify_one();
        seen
    }

    /// A call on an object that was not there when it was taken from the session.
    pub(crate) fn deliver_later(self: &Arc<Self>, at: usize, mut call: deliver::Call) {
        let mut state = self.lock();
        self.wake_sleeper(&mut state, at);
        match state.revival.sleepers.get_mut(at).map(|sleeper| &mut sleeper.progress) {
            Some(Progress::Making { calls, .. }) => calls.push(call),
            Some(Progress::Done(entry)) => {
                call.entry = Some(entry.clone());
                // Behind those that waited.
                state.deferred.push(Job::Deliver(call));
            }
            Some(Progress::Asleep) | None => {
                drop(state);
                drop(call);
            }
        }
    }

    fn wake_sleeper(self: &Arc<Self>, state: &mut State, at: usize) {
        let Some(sleeper) = state.revival.sleepers.get_mut(at) else { return };
        if !matches!(sleeper.progress, Progress::Asleep) {
            return;
        }
        sleeper.progress = Progress::Making { calls: Vec::new(), waiters: Vec::new() };
        let shared = Arc::clone(self);
        let began = runtime::spawn(async move {
            let made = shared.make(at).await;
            shared.made(at, made);
        });
        if began.is_none()
            && let Some(sleeper) = state.revival.sleepers.get_mut(at)
        {
            tracing::error!("objects cannot be made again without an async runtime");
            sleeper.progress = Progress::Done(Entry::Lost(Box::new(Unmade(ErrorCode::RestoreFailed))));
        }
    }

    async fn make(self: &Arc<Self>, at: usize) -> Result<Stub, Unmade> {
        let gone = || Unmade(ErrorCode::CapabilityLost);
        let parts = self.lock().revival.sleepers.get(at).map(|sleeper| sleeper.parts.clone()).unwrap_or_default();
        for part in parts {
            if let Some(made) = self.until_made(part) {
                // Dropped, not sent to, when it is made or the session is over.
                let _ = made.await;
            }
        }
        let (recipe, params) = {
            let mut state = self.lock();
            // The references of a recipe are held for as long as one of its targets is.
            let sleeper = state.revival.sleepers.get(at).ok_or_else(gone)?;
            let mut recipes = sleeper.targets.iter().filter_map(|&target| state.endpoint.session.recipe(target));
            let recipe = recipes.next().cloned().ok_or_else(gone)?;
            recipe.params.refs().iter().for_each(|&of| state.endpoint.session.retain(of));
            let params = state.lift(self, recipe.params.clone());
            (recipe, params)
        };
        let Some(Durability { ctx, restorers, .. }) = self.options().durability.as_deref() else { return Err(gone()) };
        restorers.make(ctx.clone(), &recipe.restorer, recipe.version, params).await
    }

    /// Ends when an object has been made, or could not be; `None` if that is so.
    fn until_made(self: &Arc<Self>, at: usize) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        self.wake_sleeper(&mut state, at);
        match state.revival.sleepers.get_mut(at).map(|sleeper| &mut sleeper.progress) {
            Some(Progress::Making { waiters, .. }) => {
                let (sender, receiver) = oneshot::channel();
                waiters.push(sender);
                Some(receiver)
            }
            _ => None,
        }
    }

    fn made(self: &Arc<Self>, at: usize, made: Result<Stub, Unmade>) {
        let entry = match made {
            Ok(stub) => Entry::from(stub),
            Err(unmade) => Entry::Lost(Box::new(unmade)),
        };
        let mut state = self.lock();
        let Some(sleeper) = state.revival.sleepers.get_mut(at) else {
            drop(state);
            return drop_quietly(entry);
        };
        let progress = std::mem::replace(&mut sleeper.progress, Progress::Done(entry.clone()));
        let targets = sleeper.targets.clone();
        for target in targets {
            if let Some(dormant @ Entry::Dormant(_)) = state.targets.get_mut(target) {
                *dormant = entry.clone();
                self.renew_recipe(&mut state, target, &entry);
            }
        }
        let waiters = match progress {
            Progress::Making { calls, waiters } => {
                let jobs =
                    calls.into_iter().map(|call| Job::Deliver(deliver::Call { entry: Some(entry.clone()), ..call }));
                state.deferred.extend(jobs);
                waiters
            }
            Progress::Asleep | Progress::Done(_) => Vec::new(),
        };
        self.pump(state);
        drop(waiters);
    }

    /// The recipe of an object that was made again is the one it has now.
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
