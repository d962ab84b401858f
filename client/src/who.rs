//! Who this client says it is, as often as it is asked.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bowline_core::link::{Credentials, Secret};
use futures_util::FutureExt;

/// Where credentials come from.
#[derive(Clone)]
pub(crate) enum Who {
    /// Nobody has said.
    Anybody,
    /// They are always the same.
    Bearer(Secret),
    /// They are asked for each time, with what they are to answer to if there is something.
    Asked(Arc<dyn Fn(Option<String>) -> Answer + Send + Sync>),
}

/// The application panicked when it was asked for credentials.
#[derive(Debug)]
pub(crate) struct Panicked;

type Answer = Pin<Box<dyn Future<Output = Credentials> + Send>>;

impl Who {
    pub(crate) fn asked<F, Fut>(ask: F) -> Self
    where
        F: Fn(Option<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Credentials> + Send + 'static,
    {
        Self::Asked(Arc::new(move |challenge| Box::pin(ask(challenge))))
    }

    pub(crate) async fn credentials(&self, challenge: Option<String>) -> Credentials {
        match self {
            Self::Anybody => Credentials::default(),
            Self::Bearer(token) => Credentials { scheme: Credentials::BEARER.to_owned(), token: Some(token.clone()) },
            Self::Asked(ask) => ask(challenge).await,
        }
    }

    /// Asks for credentials as [`credentials`](Self::credentials) does, and catches a panic of the
    /// application's.
    ///
    /// # Errors
    /// The application panicked.
    pub(crate) async fn try_credentials(&self, challenge: Option<String>) -> Result<Credentials, Panicked> {
        // The function itself may panic, and not only its future.
        let asked = AssertUnwindSafe(async { self.credentials(challenge).await });
        asked.catch_unwind().await.map_err(|payload| {
            // Dropping a payload may panic again.
            std::mem::forget(payload);
            tracing::error!("the application panicked when it was asked for credentials");
            Panicked
        })
    }

    /// Returns whether the server is shown credentials.
    pub(crate) fn says_something(&self) -> bool {
        !matches!(self, Self::Anybody)
    }

    /// Whether another try may show something else.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self, Self::Asked(_))
    }
}
