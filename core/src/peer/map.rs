//! Mapping results that have not arrived: a function is recorded here and carried out where the
//! list is, in the same round trip.

use serde::Serialize;

use crate::peer::error::{CodecError, Never};
use crate::peer::object::error_payload;
use crate::peer::pipeline::Elements;
use crate::peer::promise::Promise;
use crate::peer::record::{self, Recording};
use crate::peer::stub::{Inner, Kind, Remote, Stub};
use crate::peer::wait::Broken;
use crate::value::{self, Value};

/// What the closure of a map may return: promises, references, and data made of them.
///
/// For a struct of promises, implement it by naming what its elements are read as, which may be
/// the struct itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a mapped function",
    note = "return a promise or a reference, a tuple of them, or implement `Mapped` for a struct of them"
)]
pub trait Mapped: Serialize {
    /// What an element of the result is read as.
    type Value;
}

impl<T, E> Mapped for Promise<T, E> {
    type Value = T;
}

impl Mapped for Stub {
    type Value = Value;
}

impl<R: Mapped> Mapped for Option<R> {
    type Value = Option<R::Value>;
}

impl<R: Mapped> Mapped for Vec<R> {
    type Value = Vec<R::Value>;
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: Mapped),*> Mapped for ($($name,)*) {
            type Value = ($($name::Value,)*);
        }
    )*};
}
tuples! { (A) (A B) (A B C) (A B C D) (A B C D F) (A B C D F G) }

impl<T: 'static> Elements<T> {
    /// Applies `function` to every element, where the list is: one round trip however long it
    /// is.
    ///
    /// `function` runs once, here and now, with a placeholder in place of an element. What it
    /// calls is recorded and not sent; references from outside may be used in it. It cannot look
    /// at the element, which is not there: comparing, formatting and awaiting do not compile,
    /// and objects cannot be made in it.
    ///
    /// The result fails when any of the elements does, with the first error.
    pub fn map_each<R: Mapped>(&self, function: impl FnOnce(Promise<T, Never>) -> R) -> Promise<Vec<R::Value>, Never> {
        Promise::from_stub(self.stub().map(|element| function(Promise::from_stub(element))))
    }
}

impl<T, E> Promise<Option<T>, E> {
    /// Applies `function` to what is there, if anything is; see [`Elements::map_each`].
    pub fn map_each<R: Mapped>(
        &self,
        function: impl FnOnce(Promise<T, Never>) -> R,
    ) -> Promise<Option<R::Value>, Never> {
        Promise::from_stub(self.stub().map(|element| function(Promise::from_stub(element))))
    }
}

impl Stub {
    /// Applies `function` to every element of a list, or to anything else as a whole; null and
    /// undefined stay what they are. See [`Elements::map_each`].
    pub fn map_each<R: Serialize>(&self, function: impl FnOnce(Self) -> R) -> Promise<Value, Never> {
        Promise::from_stub(self.map(function))
    }

    fn map<R: Serialize>(&self, function: impl FnOnce(Self) -> R) -> Self {
        let recorded = record::record(function, |result| {
            value::encode(result).map_err(|error| error_payload("TypeError", &CodecError::Encode(error).to_string()))
        });
        match recorded {
            Ok(recording) => self.apply_recording(recording),
            Err(error) => Self::broken_by(Broken::Rejected(error)),
        }
    }

    fn apply_recording(&self, recording: Recording) -> Self {
        let (base, path) = self.parts();
        if let Some(outer) = record::current() {
            return outer.map(base, path, &recording);
        }
        let (shared, of) = match base.session() {
            Ok(found) => found,
            Err(broken) => return Self::broken_by(broken),
        };
        let instructions = recording.instructions();
        match shared.map(of, path, recording.captures(), instructions) {
            Ok(of) => Self::from_inner(Inner::Remote(Remote { shared, of, kind: Kind::Result })),
            Err(closed) => Self::broken_by(Broken::Lost(closed)),
        }
    }
}
