//! Restoring the objects of a session that another process held. Each is restored when it is first
//! called, or when an object that is built from it is restored. Equal recipes are restored to one
//! object. Calls that arrive meanwhile wait, in order, and are delivered before all later ones.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::endpoint::Endpoint;
use crate::error::ErrorCode;
use crate::id::TargetId;
use crate::peer::durable::durability::Durability;
use crate::peer::host::dormant::{Dormant, DormantObject, Progress};
use crate::peer::host::jobs::Job;
use crate::peer::host::settings::Settings;
use crate::peer::host::shared::{SessionKind, Shared, State};
use crate::peer::host::target::{Call, Entry};
use crate::peer::interface::lost::RestoreFailure;
use crate::peer::reference::local::Local;
use crate::peer::reference::recipe::DEPTH_MAX;
use crate::peer::reference::stub::Stub;
use crate::peer::unwind::drop_quietly;
use crate::session::{Recipe, Ref, Session};

/// An object that is being restored. When it ends, in whatever way, the waiting calls are delivered.
struct Restoring {
    shared: Arc<Shared>,
    at: usize,
    is_over: bool,
}

impl Restoring {
    async fn run(mut self) {
        let made = self.shared.restore_object(self.at).await;
        self.is_over = true;
        self.shared.object_restored(self.at, made);
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.object_restored(self.at, Err(RestoreFailure(ErrorCode::RestoreFailed)));
        }
    }
}

/// What a target refers to, before anything is restored.
#[derive(Clone, Copy)]
enum Found {
    Object(usize),
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
    objects: Vec<DormantObject>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Object(usize),
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
                    Found::Object(part) => Part::Object(part),
                    Found::Lost => Part::Other(of),
                    Found::Open => return self.note(target, Found::Lost),
                },
                other => Part::Other(other),
            });
        }
        let made_of = parts.iter().filter_map(|part| match part {
            Part::Object(part) => Some(*part),
            Part::Other(_) => None,
        });
        let made_of: Vec<usize> = made_of.collect();
        let key = (recipe.restorer.clone(), recipe.version, recipe.params.text().to_owned(), parts);
        let at = match self.known.entry(key) {
            Slot::Occupied(known) => *known.get(),
            Slot::Vacant(free) => {
                let recipe = recipe.clone();
                self.objects.push(DormantObject {
                    targets: Vec::new(),
                    recipe,
                    parts: made_of,
                    progress: Progress::Unneeded,
                });
                *free.insert(self.objects.len() - 1)
            }
        };
        self.objects[at].targets.push(target);
        self.note(target, Found::Object(at))
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
        settings: Settings,
        durability: Option<&Durability>,
    ) -> Arc<Self> {
        let mut sorting =
            Sorting { session: &endpoint.session, found: HashMap::new(), known: HashMap::new(), objects: Vec::new() };
        let mut entries = HashMap::new();
        for &target in targets.iter().filter(|&&target| target != Session::MAIN) {
            let entry = match sorting.sort(target, 0) {
                Found::Object(at) => Entry::Dormant(at),
                Found::Lost | Found::Open if endpoint.session.recipe(target).is_some() => {
                    tracing::warn!(
                        "an object was not restored: its recipe contains itself, or recipes are nested too deep"
                    );
                    Entry::new(RestoreFailure(ErrorCode::RestoreFailed))
                }
                Found::Lost | Found::Open => Entry::new(RestoreFailure(ErrorCode::CapabilityLost)),
            };
            entries.insert(target, entry);
        }
        let objects = sorting.objects;
        let eager: Vec<usize> = match durability {
            Some(durability) => {
                (0..objects.len()).filter(|&at| durability.restorers.is_eager(&objects[at].recipe.restorer)).collect()
            }
            None => Vec::new(),
        };
        let shared = Self::new(endpoint, settings, main.map(Entry::from), SessionKind::Connected);
        {
            let mut state = shared.lock();
            entries.into_iter().for_each(|(target, entry)| state.targets.insert(target, entry));
            // An object can be restored after the peer has released it, because a call on it may be in
            // flight. So the recipe holds its own references.
            for object in &objects {
                object.recipe.params.refs().iter().for_each(|&of| state.endpoint.session.retain(of));
            }
            state.dormant = Dormant { objects, restore: Some(Self::start_restoring) };
            eager.iter().for_each(|&at| state.need_object(at));
            // Started below instead: the session may have other outputs, which wait for its driver.
            state.deferred.clear();
        }
        eager.iter().for_each(|&at| shared.start_restoring(at));
        shared
    }

    /// Restores an object in a task of its own.
    pub(crate) fn start_restoring(self: &Arc<Self>, at: usize) {
        let restoring = Restoring { shared: Arc::clone(self), at, is_over: false };
        if self.spawn(restoring.run()).is_none() {
            tracing::error!("an object cannot be restored without an async runtime");
        }
    }

    async fn restore_object(self: &Arc<Self>, at: usize) -> Result<Stub, RestoreFailure> {
        let gone = || RestoreFailure(ErrorCode::CapabilityLost);
        let parts = self.lock().dormant.objects.get(at).map(|object| object.parts.clone()).unwrap_or_default();
        for part in parts {
            if let Some(made) = self.until_restored(part) {
                // The sender is dropped when the part has been restored or the session has ended.
                let _ = made.await;
            }
        }
        let ((restorer, version), params) = {
            let mut state = self.lock();
            // The reference counts of the recipe pass to the lifted references.
            let object = state.dormant.objects.get_mut(at).ok_or_else(gone)?;
            let recipe = std::mem::replace(&mut object.recipe, DormantObject::done().recipe);
            let Recipe { restorer, version, params } = recipe;
            ((restorer, version), state.lift(self, params))
        };
        let Some(Durability { ctx, restorers, .. }) = Durability::of(self) else { return Err(gone()) };
        restorers.restore_from(ctx.clone(), &restorer, version, params).await
    }

    /// Returns a receiver that ends when an object has been restored or has failed, or `None` if that has
    /// happened already.
    fn until_restored(self: &Arc<Self>, at: usize) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        state.need_object(at);
        let object = state.dormant.objects.get_mut(at)?;
        let Progress::Restoring { waiters, .. } = &mut object.progress else { return None };
        let (sender, receiver) = oneshot::channel();
        waiters.push(sender);
        self.after_link_input(state);
        Some(receiver)
    }

    fn object_restored(self: &Arc<Self>, at: usize, made: Result<Stub, RestoreFailure>) {
        let local = made.as_ref().ok().and_then(|stub| stub.as_local().cloned());
        let entry = match made {
            Ok(stub) => Entry::from(stub),
            Err(unmade) => Entry::new(unmade),
        };
        let mut state = self.lock();
        let Some(object) = state.dormant.objects.get_mut(at) else {
            drop(state);
            return drop_quietly((entry, local));
        };
        // From here on only the targets hold the object, so it is dropped with the last of them.
        let DormantObject { targets, progress, recipe, .. } = std::mem::replace(object, DormantObject::done());
        recipe.params.into_refs().into_iter().for_each(|of| state.endpoint.session.release(of));
        for target in targets {
            if let Some(dormant @ Entry::Dormant(_)) = state.targets.get_mut(target) {
                *dormant = entry.clone();
                self.renew_recipe(&mut state, target, local.as_ref());
            }
        }
        let mut waiters = Vec::new();
        if let Progress::Restoring { calls, waiters: waiting } = progress {
            let jobs = calls.into_iter().map(|call| Job::Deliver(Call { entry: Some(entry.clone()), ..call }));
            state.deferred.extend(jobs);
            waiters = waiting;
        }
        self.after_input(state);
        drop(waiters);
        drop_quietly((entry, local));
    }

    /// Replaces the recipe in the session by the one of the restored object, which may be newer.
    fn renew_recipe(self: &Arc<Self>, state: &mut State, target: TargetId, local: Option<&Arc<Local>>) {
        let Some((local, recipe)) = local.and_then(|local| Some((local, local.recipe()?))) else { return };
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
