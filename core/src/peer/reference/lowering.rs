//! Lowering: converts the capabilities of an application into ids, with which they enter a session.
//!
//! It runs under the lock, so it must not drop a reference, which may run user code. References that are no
//! longer needed are collected and dropped later.

use std::sync::{Arc, MutexGuard};

use crate::error::ErrorChain;
use crate::id::{PromiseId, TargetId};
use crate::peer::host::jobs::Job;
use crate::peer::host::remote::Kind;
use crate::peer::host::shared::{Shared, State};
use crate::peer::host::target::{Entry, Target};
use crate::peer::reference::deliver::{self, Forwarded};
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::recipe::{NotDurable, Recipe};
use crate::peer::reference::stub::{Inner, Stub};
use crate::session::{self, Outgoing, Path, Ref};
use crate::value::{Cap, Payload};

/// The conversion of the capabilities of one input.
pub(crate) struct Lowering<'a> {
    shared: &'a Arc<Shared>,
    state: &'a mut State,
    lowered: Lowered,
}

/// What remains to be done after the input.
#[derive(Default)]
pub(crate) struct Lowered {
    /// References that were needed only for the input itself.
    lent: Vec<Ref>,
    /// Local promises that follow a result outside of this session.
    follow: Vec<(PromiseId, Stub)>,
    /// The application's references, to be dropped without the lock.
    handles: Vec<Cap>,
}

impl Shared {
    pub(crate) fn lowering<'a>(self: &'a Arc<Self>, state: &'a mut State) -> Lowering<'a> {
        Lowering { shared: self, state, lowered: Lowered::default() }
    }

    /// Finishes an input: releases what was lent, carries out the outputs, connects promises that follow
    /// other sessions, and drops the application's references.
    pub(crate) fn finish_lowering<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>, lowered: Lowered) {
        let Lowered { lent, follow, handles } = lowered;
        for of in lent {
            state.endpoint.session.release(of);
        }
        self.after_input(state);
        // Both run user code, so they come after the lock is released.
        for (promise, stub) in follow {
            deliver::follow(self, promise, stub);
        }
        drop(handles);
    }
}

impl Lowering<'_> {
    /// Converts a payload for the session. Its references are borrowed for one input.
    pub(crate) fn lower(&mut self, payload: Payload<Cap>) -> Payload<Outgoing> {
        payload.map_refs(|cap| self.lower_owned(cap))
    }

    /// Converts capabilities for the session. They are borrowed for one input.
    pub(crate) fn lower_all(&mut self, caps: Vec<Cap>) -> Vec<Outgoing> {
        caps.into_iter().map(|cap| self.lower_owned(cap)).collect()
    }

    fn lower_owned(&mut self, cap: Cap) -> Outgoing {
        let outgoing = self.lower_one(&cap);
        self.lowered.handles.push(cap);
        outgoing
    }

    /// Converts a payload that goes back into the session it came from, with one reference count for each
    /// reference.
    pub(crate) fn lower_held(&mut self, payload: Payload<Cap>) -> Payload<Ref> {
        let held = payload.map_refs(|cap| self.lower_owned(cap).of);
        held.refs().iter().for_each(|&of| self.state.endpoint.session.retain(of));
        held
    }

    pub(crate) fn done(self) -> Lowered {
        self.lowered
    }

    fn lower_one(&mut self, cap: &Cap) -> Outgoing {
        let stub = Stub::from_cap(cap);
        let (base, path) = stub.parts();
        let of = match base.inner() {
            Inner::Local(local) => self.lend_local(local),
            Inner::Remote(remote) if Arc::ptr_eq(&remote.shared, self.shared) => remote.of,
            Inner::Remote(remote) if remote.kind == Kind::Stub && path.is_empty() => {
                self.lend(Entry::new(Forwarded(base.clone())), session::Kind::Object)
            }
            _ => return self.promise(stub),
        };
        Outgoing { of, path: path.into() }
    }

    fn lend_local(&mut self, local: &Arc<Local>) -> Ref {
        let persistence = self.shared.settings().persistence.as_deref();
        let Some(recipe) = local.recipe().filter(|_| persistence.is_some()) else {
            if let (Some(persistence), Body::Gate(gate)) = (persistence, &local.body)
                && gate.loses_recipe()
                && persistence.warns_of_revocable()
            {
                self.state.deferred.push(Job::Run(Box::new(warn_of_revocable)));
            }
            return self.lend(Entry::Object(Arc::clone(local) as Arc<dyn Target>), local.body.kind());
        };
        if let Some(&target) = self.state.durable_targets.as_ref().and_then(|durable| durable.get(&local.address()))
            && self.state.endpoint.session.recipe(target).is_some()
        {
            self.state.endpoint.session.retain(Ref::Target(target));
            self.lowered.lent.push(Ref::Target(target));
            return Ref::Target(target);
        }
        let of = self.lend(Entry::Object(Arc::clone(local) as Arc<dyn Target>), local.body.kind());
        match (self.durable_recipe(recipe), of) {
            (Ok(recipe), Ref::Target(target)) => {
                self.state.endpoint.session.set_recipe(target, recipe);
                self.know(local, target);
                self.state.endpoint.mark_urgent();
                self.shared.urgent.notify_one();
            }
            // The target has logged a warning, or was never meant to be durable.
            (Err(NotDurable::NoRecipe), _) if recipe.is_attenuation() => {}
            (Err(why), _) => {
                // Logged without the lock: a log subscriber is code of the application.
                let recipe = recipe.clone();
                self.state.deferred.push(Job::Run(Box::new(move || {
                    tracing::warn!(?recipe, why = %ErrorChain(&why), "an object cannot be restored by another process");
                })));
            }
            (Ok(_), _) => {}
        }
        of
    }

    /// Converts a recipe for the session, with one reference count for each reference.
    ///
    /// # Errors
    /// Another process could not restore the object.
    pub(crate) fn durable_recipe(&mut self, recipe: &Recipe) -> Result<session::Recipe, NotDurable> {
        let params = self.hold_durably(recipe.params()?)?;
        Ok(session::Recipe { restorer: recipe.restorer().to_owned(), version: recipe.version(), params })
    }

    /// Converts a payload with one reference count for each reference, if all of them survive a change of
    /// the process.
    ///
    /// # Errors
    /// One of them does not.
    pub(crate) fn hold_durably(&mut self, payload: &Payload<Cap>) -> Result<Payload<Ref>, NotDurable> {
        let held = payload.try_map_refs(|cap| self.durable_one(cap))?;
        held.refs().iter().for_each(|&of| self.state.endpoint.session.retain(of));
        Ok(held)
    }

    /// Converts a reference that survives a change of the process: to a durable local object, or to an
    /// object of the peer.
    fn durable_one(&mut self, cap: &Cap) -> Result<Ref, NotDurable> {
        let stub = Stub::from_cap(cap);
        let of = match stub.inner() {
            Inner::Local(local) if local.recipe().is_some() => self.lend_local(local),
            Inner::Remote(remote) if Arc::ptr_eq(&remote.shared, self.shared) && remote.kind == Kind::Stub => remote.of,
            _ => return Err(NotDurable::NoRecipe),
        };
        match of {
            Ref::Target(target) if self.state.endpoint.session.recipe(target).is_none() => Err(NotDurable::NoRecipe),
            Ref::Promise(_) => Err(NotDurable::NoRecipe),
            of => Ok(of),
        }
    }

    /// Records the target of a durable local object in the session.
    pub(crate) fn know(&mut self, local: &Arc<Local>, target: TargetId) {
        self.state.durable_targets.get_or_insert_default().insert(local.address(), target);
    }

    fn lend(&mut self, entry: Entry, kind: session::Kind) -> Ref {
        let target = self.state.endpoint.session.new_target(kind);
        self.state.targets.insert(target, entry);
        self.lowered.lent.push(Ref::Target(target));
        Ref::Target(target)
    }

    fn promise(&mut self, stub: Stub) -> Outgoing {
        let promise = self.state.endpoint.session.new_promise();
        self.lowered.lent.push(Ref::Promise(promise));
        self.lowered.follow.push((promise, stub));
        Outgoing { of: Ref::Promise(promise), path: Path::new() }
    }
}

impl Lowered {
    /// Finishes an input that contained only recipes, whose references are to objects.
    pub(crate) fn give_back(self, state: &mut State) {
        for of in self.lent {
            state.endpoint.session.release(of);
        }
    }
}

fn warn_of_revocable() {
    tracing::warn!(
        "a revocable reference to a durable object is lost with this process: its calls then fail with \
         CAPABILITY_LOST (logged once)"
    );
}
