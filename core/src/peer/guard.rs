//! Attenuation: handing on a reference that can be taken back, or that reaches only some names.
//!
//! A guarded reference of a guarded reference is one guard: the names are intersected, and what can
//! be taken back is a list. So a peer that has its own references guarded again and again makes
//! neither calls nor drops that nest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peer::local::{Body, Local};
use crate::peer::object::error_payload;
use crate::peer::recipe::Recipe;
use crate::peer::reference::Reference;
use crate::peer::stub::Stub;
use crate::session::{Path, Step};
use crate::value::{Cap, Payload};

/// Steps to the property that one gate leads to. Beyond, there is another gate behind it; no session
/// takes a path as long as that of both.
const STEPS_MAX: usize = 64;

/// A reference behind a condition.
#[derive(Debug)]
pub(crate) struct Gate {
    link: Link,
    /// The property of it that this leads to.
    path: Path,
    /// The names that may be used, in order, if not all.
    only: Option<Arc<[String]>>,
}

/// What is behind a gate, which is itself none.
#[derive(Clone, Debug)]
enum Link {
    Target(Stub),
    Revocable(Arc<Cell>),
}

/// A link that can be cut.
#[derive(Debug)]
struct Cell {
    /// `None` once it was cut, so that what it led to can go.
    next: Mutex<Option<Link>>,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, Option<Link>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cell {
    /// Takes the list apart cell by cell. It may be longer than any stack.
    fn drop(&mut self) {
        let mut next = self.lock().take();
        while let Some(Link::Revocable(cell)) = next {
            next = Arc::into_inner(cell).and_then(|cell| cell.lock().take());
        }
    }
}

impl Gate {
    /// A gate to `stub` that lets everything through which gates on the way there do.
    fn to(stub: &Stub) -> Self {
        let (base, path) = stub.parts();
        if let Some(Body::Gate(gate)) = base.as_local().map(|local| &local.body) {
            if path.is_empty() {
                return Self { link: gate.link.clone(), path: gate.path.clone(), only: gate.only.clone() };
            }
            if gate.allows(path) && gate.path.len() + path.len() <= STEPS_MAX {
                let path = gate.path.iter().chain(path).cloned().collect();
                return Self { link: gate.link.clone(), path, only: None };
            }
        }
        Self { link: Link::Target(stub.clone()), path: Path::new(), only: None }
    }

    fn allows(&self, path: &[Step]) -> bool {
        match (&self.only, path.first()) {
            (None, _) => true,
            (Some(only), Some(Step::Name(name))) => only.binary_search_by(|allowed| (**allowed).cmp(&**name)).is_ok(),
            (Some(_), _) => false,
        }
    }

    /// What is behind the gate, unless it was taken back.
    fn target(&self) -> Option<Stub> {
        let mut link = self.link.clone();
        loop {
            link = match link {
                Link::Target(stub) => return Some(stub),
                Link::Revocable(cell) => cell.lock().clone()?,
            };
        }
    }

    /// Where a path leads, or why it leads nowhere: `None` when there is no such name.
    pub(crate) fn admit(&self, path: &[Step]) -> Result<Stub, Option<Payload<Cap>>> {
        let Some(target) = self.target() else {
            return Err(Some(error_payload("Error", "This reference was revoked.")));
        };
        if self.allows(path) { Ok(target.at(self.path.clone())) } else { Err(None) }
    }

    /// It would outlive its process if it could not be taken back.
    pub(crate) fn loses_recipe(&self) -> bool {
        matches!(self.link, Link::Revocable(_)) && self.target().is_some_and(|target| target.may_be_durable())
    }

    /// How another process makes the gate, if it can make what is behind it.
    fn recipe(&self) -> Option<Recipe> {
        match (&self.link, &self.only) {
            (Link::Target(target), Some(names)) if self.path.is_empty() && target.may_be_durable() => {
                Some(Recipe::attenuated(target, names))
            }
            _ => None,
        }
    }

    fn into_stub(self) -> Stub {
        let recipe = self.recipe();
        let body = Body::Gate(Box::new(self));
        Stub::from_local(match recipe {
            Some(recipe) => Local::durable(body, recipe),
            None => Local::new(body),
        })
    }
}

/// Takes back a reference that was handed on; see [`Stub::revocable`]. Dropping it leaves the
/// reference as it is.
#[derive(Clone, Debug)]
pub struct Revoke(Arc<Cell>);

impl Revoke {
    /// From now on every call through the reference fails, and through those made of it. Calls that
    /// were started go on.
    pub fn revoke(&self) {
        let taken = self.0.lock().take();
        drop(taken);
    }
}

impl Stub {
    /// Creates a reference to the same thing that can be taken back.
    ///
    /// It is not durable, even if this one is: after a restart it could no longer be revoked. Its calls
    /// then fail with `CAPABILITY_LOST`. Where that matters, give out a durable object that looks
    /// up whether it is still allowed.
    pub fn revocable(&self) -> (Self, Revoke) {
        let Gate { link, path, only } = Gate::to(self);
        let cell = Arc::new(Cell { next: Mutex::new(Some(link)) });
        let gate = Gate { link: Link::Revocable(Arc::clone(&cell)), path, only };
        (gate.into_stub(), Revoke(cell))
    }

    /// Creates a reference to the same thing that reaches only these methods and properties, under
    /// the names that they have on the wire. Of a reference that reaches only some names already, it
    /// reaches those that both lists have.
    ///
    /// It is durable if this one is. When it is restored, the restorer of the object checks its
    /// rights as for the object itself, and the names are the same.
    pub fn only<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Self {
        let mut gate = Gate::to(self);
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        if let Some(before) = &gate.only {
            names.retain(|name| before.binary_search(name).is_ok());
        }
        gate.only = Some(names.into());
        gate.into_stub()
    }
}

/// [`Stub::revocable`] and [`Stub::only`] for typed references.
pub trait Attenuate: Reference {
    /// Creates a reference to the same thing that can be taken back. It is never durable; see
    /// [`Stub::revocable`].
    fn revocable(&self) -> (Self, Revoke) {
        let (stub, revoke) = self.stub().revocable();
        (Self::from_stub(stub), revoke)
    }

    /// Creates a reference to the same thing that reaches only these methods and properties. It is
    /// durable if this one is; see [`Stub::only`].
    fn only<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Self {
        Self::from_stub(self.stub().only(names))
    }
}

impl<R: Reference> Attenuate for R {}
