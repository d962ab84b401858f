//! The counter, which client and server both implement.

use std::sync::{Mutex, PoisonError};

use crate::contract::Counter;

/// A number behind a lock, because calls run concurrently.
pub(crate) struct Count(Mutex<f64>);

impl Count {
    pub(crate) fn from(start: f64) -> Self {
        Self(Mutex::new(start))
    }
}

impl Counter for Count {
    async fn increment(&self, amount: Option<f64>) -> f64 {
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *value += amount.unwrap_or(1.0);
        *value
    }

    async fn value(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
