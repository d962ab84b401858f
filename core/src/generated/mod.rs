//! What the code made by Bowline's macros names. No API: it changes with the macros.

mod error;

pub use std::sync::Arc;

pub use serde;

pub use self::error::{ErrorParts, ErrorView};
pub use crate::peer::{Args, ErrorCase, Object, Reply, reply};
pub use crate::typescript;
pub use crate::value::Spread;

use std::ops::Deref;

use crate::value::ErrorValue;

/// An object that lies where it is answered for, as one that others refer to as well lies in an
/// [`Arc`].
#[derive(Debug)]
pub struct Owned<T>(pub T);

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The answer of a call that was refused before the method was entered.
pub fn refuse(error: ErrorValue) -> Reply {
    Box::pin(std::future::ready(reply::<(), _>(Err(error))))
}
