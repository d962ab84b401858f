//! Attenuation: handing on a reference that can be taken back, or that reaches only some names.

use std::sync::{Arc, Mutex, PoisonError};

use crate::peer::local::{Body, Local};
use crate::peer::object::error_payload;
use crate::peer::reference::Reference;
use crate::peer::stub::Stub;
use crate::session::Step;
use crate::value::{Cap, Payload};

/// A reference behind a condition.
#[derive(Debug)]
pub(crate) struct Gate {
    /// `None` once it was taken back, so that what it led to can go.
    target: Mutex<Option<Stub>>,
    /// The names that may be used, if not all.
    only: Option<Vec<String>>,
}

impl Gate {
    fn stub(target: Stub, only: Option<Vec<String>>) -> (Stub, Arc<Self>) {
        let target = Mutex::new(Some(target));
        let gate = Arc::new(Self { target, only });
        let stub = Stub::from_local(Local::new(Body::Gate(Arc::clone(&gate))));
        (stub, gate)
    }

    /// Where a path leads, or why it leads nowhere: `None` when there is no such name.
    pub(crate) fn admit(&self, path: &[Step]) -> Result<Stub, Option<Payload<Cap>>> {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(target) = &*target else {
            return Err(Some(error_payload("Error", "This reference was revoked.")));
        };
        match (&self.only, path.first()) {
            (None, _) => Ok(target.clone()),
            (Some(only), Some(Step::Name(name))) if only.iter().any(|allowed| *allowed == **name) => Ok(target.clone()),
            (Some(_), _) => Err(None),
        }
    }
}

/// Takes back a reference that was handed on; see [`Stub::revocable`]. Dropping it leaves the
/// reference as it is.
#[derive(Clone, Debug)]
pub struct Revoke(Arc<Gate>);

impl Revoke {
    /// From now on every call through the reference fails. Calls that were started go on.
    pub fn revoke(&self) {
        let mut target = self.0.target.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = target.take();
        drop(target);
        drop(taken);
    }
}

impl Stub {
    /// A reference to the same thing that can be taken back.
    pub fn revocable(&self) -> (Self, Revoke) {
        let (stub, gate) = Gate::stub(self.clone(), None);
        (stub, Revoke(gate))
    }

    /// A reference to the same thing that reaches only these methods and properties.
    pub fn only<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Gate::stub(self.clone(), Some(names)).0
    }
}

/// [`Stub::revocable`] and [`Stub::only`] for typed references.
pub trait Attenuate: Reference {
    /// A reference to the same thing that can be taken back.
    fn revocable(&self) -> (Self, Revoke) {
        let (stub, revoke) = self.stub().revocable();
        (Self::from_stub(stub), revoke)
    }

    /// A reference to the same thing that reaches only these methods and properties.
    fn only<N: Into<String>>(&self, names: impl IntoIterator<Item = N>) -> Self {
        Self::from_stub(self.stub().only(names))
    }
}

impl<R: Reference> Attenuate for R {}
