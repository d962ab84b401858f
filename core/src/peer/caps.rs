//! Handles to numbers and back: how the capabilities of an application enter a session, and how
//! those of a session reach an application.
//!
//! Both directions run under the lock, so neither may drop a handle: what is no longer needed is
//! handed out to be dropped later.

use std::sync::{Arc, MutexGuard};

use crate::id::PromiseId;
use crate::peer::deliver;
use crate::peer::local::{Body, Local};
use crate::peer::shared::{Entry, Shared, State};
use crate::peer::stream::{OutletEnd, Writable};
use crate::peer::stub::{Inner, Kind, Remote, Stub};
use crate::session::{self, Outgoing, Path, Ref};
use crate::value::{Cap, Payload};

/// The capabilities of one input on their way into a session.
pub(crate) struct Lowering<'a> {
    shared: &'a Arc<Shared>,
    state: &'a mut State,
    lowered: Lowered,
}

/// What is left to do when the input was made.
#[derive(Default)]
pub(crate) struct Lowered {
    /// Holds that were only needed for the input itself.
    lent: Vec<Ref>,
    /// Promises of ours that follow something outside of this session.
    follow: Vec<(PromiseId, Stub)>,
    /// The handles, to be dropped without the lock.
    handles: Vec<Cap>,
}

impl Shared {
    pub(crate) fn lowering<'a>(self: &'a Arc<Self>, state: &'a mut State) -> Lowering<'a> {
        Lowering { shared: self, state, lowered: Lowered::default() }
    }

    /// Ends an input: gives back what was lent, carries out what the session asks for, follows
    /// promises of other sessions, and drops the handles.
    pub(crate) fn finish_lowering<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>, lowered: Lowered) {
        for of in lowered.lent {
            state.endpoint.session.release(of);
        }
        self.pump(state);
        for (promise, stub) in lowered.follow {
            deliver::follow(self, promise, stub);
        }
        drop(lowered.handles);
    }
}

impl Lowering<'_> {
    /// A payload as the session takes it: its references are borrowed for one input.
    pub(crate) fn lower(&mut self, payload: Payload<Cap>) -> Payload<Outgoing> {
        let Payload { text, refs } = payload;
        let outgoing = refs.iter().map(|cap| self.lower_one(cap)).collect();
        self.lowered.handles.extend(refs);
        Payload { text, refs: outgoing }
    }

    /// A payload that came out of this session and goes back with one hold for each mention.
    pub(crate) fn lower_held(&mut self, payload: Payload<Cap>) -> Payload<Ref> {
        let Payload { text, refs } = payload;
        let held = refs.iter().map(|cap| self.lower_one(cap).of).collect();
        for &of in &held {
            self.state.endpoint.session.retain(of);
        }
        self.lowered.handles.extend(refs);
        Payload { text, refs: held }
    }

    pub(crate) fn done(self) -> Lowered {
        self.lowered
    }

    fn lower_one(&mut self, cap: &Cap) -> Outgoing {
        let stub = Stub::from_cap(cap);
        let (base, path) = stub.parts();
        let of = match base.inner() {
            Inner::Local(local) => self.lend(Entry::Local(Arc::clone(local)), local.body.kind()),
            Inner::Remote(remote) if Arc::ptr_eq(&remote.shared, self.shared) => remote.of,
            Inner::Remote(remote) if remote.kind == Kind::Stub && path.is_empty() => {
                self.lend(Entry::Foreign(base.clone()), session::Kind::Object)
            }
            _ => return self.promise(stub),
        };
        Outgoing { of, path: path.to_vec() }
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

impl State {
    /// A payload as the application takes it. Every hold of its references is now a handle's.
    pub(crate) fn lift(&mut self, shared: &Arc<Shared>, payload: Payload<Ref>) -> Payload<Cap> {
        let Payload { text, refs } = payload;
        let refs = refs.into_iter().map(|of| self.lift_one(shared, of).into_cap()).collect();
        Payload { text, refs }
    }

    fn lift_one(&mut self, shared: &Arc<Shared>, of: Ref) -> Stub {
        let kind = match of {
            Ref::Target(target) => {
                if let Some(entry) = self.targets.get(&target) {
                    let stub = match entry {
                        Entry::Local(local) => Stub::from_local(Arc::clone(local)),
                        Entry::Foreign(stub) => stub.clone(),
                    };
                    self.endpoint.session.release(of);
                    return stub;
                }
                Kind::Stub
            }
            Ref::Import(_) if self.endpoint.session.kind(of) == session::Kind::Writable => {
                let outlet = Writable::Remote(OutletEnd::new(shared, of));
                return Stub::from_local(Local::new(Body::Writable(outlet)));
            }
            Ref::Import(_) => Kind::Stub,
            Ref::Promise(_) => Kind::Result,
        };
        Stub::from_remote(Remote { shared: Arc::clone(shared), of, kind })
    }
}
