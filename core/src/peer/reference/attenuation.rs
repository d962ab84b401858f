//! Attenuation: references that can be revoked, or that reach only some names.
//!
//! Guarding a guarded reference does not nest: the lists of names are intersected, and the
//! revocable links form a list. So a peer that has its own references guarded repeatedly causes
//! neither nested calls nor nested drops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peer::interface::object::error_payload;
use crate::peer::reference::local::{Body, Local};
use crate::peer::reference::recipe::Recipe;
use crate::peer::reference::stub::Stub;
use crate::peer::reference::typed::Reference;
use crate::session::{Path, Step};
use crate::value::{Cap, Payload};

/// Steps to the property that one gate leads to. A longer path gets another gate; no session accepts
/// a path as long as both together.
const STEPS_MAX: usize = 64;

/// A reference to a target under conditions.
#[derive(Debug)]
pub(crate) struct Gate {
    link: Link,
    /// The property of the target that the gate leads to.
    path: Path,
    /// The names that are reachable, sorted, or `None` for all.
    only: Option<Arc<[String]>>,
}

/// The target of a gate. It is never a gate itself.
#[derive(Clone, Debug)]
enum Link {
    Target(Stub),
    Revocable(Arc<Cell>),
}

/// A link that can be revoked.
#[derive(Debug)]
struct Cell {
    /// `None` after the revocation, so that the target is dropped.
    next: Mutex<Option<Link>>,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, Option<Link>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cell {
    /// Frees the list iteratively. It may be longer than the stack allows for recursion.
    fn drop(&mut self) {
        let mut next = self.lock().take();
        while let Some(Link::Revocable(cell)) = next {
            next = Arc::into_inner(cell).and_then(|cell| cell.lock().take());
        }
    }
}

impl Gate {
    /// Creates a gate to `stub` that merges the gate which `stub` itself may be.
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

    /// Returns the target, or `None` if a link on the way was revoked.
    fn target(&self) -> Option<Stub> {
        let mut link = self.link.clone();
        loop {
            link = match link {
                Link::Target(stub) => return Some(stub),
                Link::Revocable(cell) => cell.lock().clone()?,
            };
        }
    }

    /// Returns the target of a path. The error is `None` if the name is not reachable, and the
    /// rejection if the reference was revoked.
    pub(crate) fn admit(&self, path: &[Step]) -> Result<Stub, Option<Payload<Cap>>> {
        let Some(target) = self.target() else {
            return Err(Some(error_payload("Error", "This reference was revoked.")));
        };
        if self.allows(path) { Ok(target.at(self.path.clone())) } else { Err(None) }
    }

    /// Returns `true` if the reference would be durable if it were not revocable.
    pub(crate) fn loses_recipe(&self) -> bool {
        matches!(self.link, Link::Revocable(_)) && self.target().is_some_and(|target| target.may_be_durable())
    }

    /// Returns the recipe of the gate, if its target may be durable.
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

/// A handle that revokes a reference; see [`Stub::revocable`]. Dropping it leaves the reference usable.
///
/// ```
/// # mod bowline { pub use bowline_core::peer::{CallError, Func, Stub}; }
/// use bowline::{CallError, Func, Stub};
///
/// # async fn example(room: Stub) -> Result<(), CallError> {
/// let (guest, revoke) = room.revocable();
/// guest.call("history", ()).await?;
/// revoke.revoke();
/// assert!(guest.call("history", ()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Revoke(Arc<Cell>);

impl Revoke {
    /// Revokes the reference. All later calls through it, and through references derived from it, fail.
    /// Calls that have begun continue.
    pub fn revoke(&self) {
        let taken = self.0.lock().take();
        drop(taken);
    }
}

impl Stub {
    /// Creates a revocable reference to the same target.
    ///
    /// It is not durable, even if this one is, because it could no longer be revoked after a restart. Its
    /// calls then fail with `CAPABILITY_LOST`. Where that matters, hand out a durable object that checks
    /// on each call whether access is still permitted.
    pub fn revocable(&self) -> (Self, Revoke) {
        let Gate { link, path, only } = Gate::to(self);
        let cell = Arc::new(Cell { next: Mutex::new(Some(link)) });
        let gate = Gate { link: Link::Revocable(Arc::clone(&cell)), path, only };
        (gate.into_stub(), Revoke(cell))
    }

    /// Creates a reference to the same target that reaches only the given methods and properties.
    ///
    /// `names` are the names on the wire. If this reference is narrowed already, the new one reaches the
    /// names that are in both lists.
    ///
    /// The new reference is durable if this one is. When it is restored, the restorer of the object checks
    /// permissions as for the object itself, and the names stay the same.
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
///
/// ```
/// # mod bowline { pub use bowline_core::peer::Reference; pub mod interface { pub use bowline_core::peer::{Attenuate, Revoke}; } }
/// # fn main() {
/// use bowline::Reference;
/// use bowline::interface::{Attenuate, Revoke};
///
/// /// Returns a reference that only reads the room, and the handle that takes it back.
/// fn guest<R: Reference>(room: &R) -> (R, Revoke) {
///     room.only(["history"]).revocable()
/// }
/// # }
/// ```
pub trait Attenuate: Reference {
    /// Creates a revocable reference to the same target. It is never durable; see [`Stub::revocable`].
    fn revocable(&self) -> (Self, Revoke) {
        let (stub, revoke) = self.stub().revocable();
        (Self::from_stub(stub), revoke)
    }

    /// Creates a reference to the same target that reaches only the given methods and properties. It is
    /// durable if this one is; see [`Stub::only`].
    fn only<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Self {
        Self::from_stub(self.stub().only(names))
    }
}

impl<R: Reference> Attenuate for R {}
