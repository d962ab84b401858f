//! Mapping results that have not arrived. The function is recorded here and runs where the list is, in
//! the same round trip.

use serde::Serialize;

use crate::peer::host::remote::{Kind, Remote};
use crate::peer::host::wait::Broken;
use crate::peer::interface::error::{CodecError, Never};
use crate::peer::interface::object::error_payload;
use crate::peer::reference::pipeline::Elements;
use crate::peer::reference::promise::Promise;
use crate::peer::reference::record::{self, Recording};
use crate::peer::reference::stub::Stub;
use crate::value::{self, Value};

/// The result type of a mapper function: promises, references, and data that consists of them.
///
/// Implement it for a struct of promises by naming the type to decode an element as. That may be the
/// struct itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a mapped function",
    note = "return a promise or a reference, a tuple of them, or implement `Mapped` for a struct of them"
)]
pub trait Mapped: Serialize {
    /// The type that an element of the result is decoded as.
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
    /// Applies `function` to every element, on the side that has the list. It takes one round trip,
    /// regardless of the length.
    ///
    /// `function` runs once, before this returns, with a placeholder in place of an element. Its calls
    /// are recorded instead of sent. It may use references from outside. It cannot inspect the element,
    /// which has not arrived: comparing, formatting, and awaiting it do not compile. It cannot create
    /// objects.
    ///
    /// If an element fails, the result fails with the first error.
    pub fn map_each<R: Mapped>(&self, function: impl FnOnce(Promise<T, Never>) -> R) -> Promise<Vec<R::Value>, Never> {
        Promise::from_stub(self.stub().map(|element| function(Promise::from_stub(element))))
    }
}

impl<T, E> Promise<Option<T>, E> {
    /// Applies `function` to the value, if there is one; see [`Elements::map_each`].
    pub fn map_each<R: Mapped>(
        &self,
        function: impl FnOnce(Promise<T, Never>) -> R,
    ) -> Promise<Option<R::Value>, Never> {
        Promise::from_stub(Self::stub(self).map(|element| function(Promise::from_stub(element))))
    }
}

impl Stub {
    /// Applies `function` to every element of a list, or to any other value as a whole. Null and undefined
    /// stay unchanged. See [`Elements::map_each`].
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
            Ok(of) => Self::from_remote(Remote { shared, of, kind: Kind::Result }),
            Err(closed) => Self::broken_by(Broken::Lost(closed)),
        }
    }
}
