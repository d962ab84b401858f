//! Calls with typed results, which the methods of generated references make.

use serde::Serialize;

use crate::peer::{Promise, Repeat, Stub};

/// Calls through an untyped reference whose results have a type that the interface declares.
///
/// Arguments are as for [`Stub::call`].
pub trait TypedCalls {
    /// Calls a method.
    fn call_typed<T, E>(&self, method: &'static str, args: &impl Serialize) -> Promise<T, E>;

    /// Calls a method that may run more than once; see [`Promise::idempotent`].
    fn call_idempotent<T, E>(&self, method: &'static str, args: &impl Serialize) -> Promise<T, E>;

    /// Returns a property. Nothing is sent before the promise is used.
    fn get_typed<T, E>(&self, property: &'static str) -> Promise<T, E>;
}

impl TypedCalls for Stub {
    #[inline]
    fn call_typed<T, E>(&self, method: &'static str, args: &impl Serialize) -> Promise<T, E> {
        Promise::from_stub(self.send(method, args, Repeat::Never))
    }

    #[inline]
    fn call_idempotent<T, E>(&self, method: &'static str, args: &impl Serialize) -> Promise<T, E> {
        Promise::from_stub(self.send(method, args, Repeat::Idempotent))
    }

    fn get_typed<T, E>(&self, property: &'static str) -> Promise<T, E> {
        Promise::from_stub(self.get(property))
    }
}
