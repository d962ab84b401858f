//! Runs code of the application, and drops its values, so that a panic in it does not propagate.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The code has panicked. The panic hook has reported it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked;

/// Runs `run` and catches a panic.
///
/// # Errors
/// `run` panicked.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        // The payload belongs to the application. Its drop may panic as well, and so may the drop of that
        // second payload, which is therefore leaked.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        Panicked
    })
}

/// Drops a value of the application whose `Drop` may panic.
pub(crate) fn drop_quietly<T>(value: T) {
    if caught(|| drop(value)).is_err() {
        tracing::error!("panic while a value was dropped");
    }
}
