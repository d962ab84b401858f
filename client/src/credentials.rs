//! The source of the client's credentials.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bowline_core::link::{Credentials, Secret};
use futures_util::FutureExt;

/// Where credentials come from.
#[derive(Clone)]
pub(crate) enum Who {
    /// There are none.
    Anonymous,
    /// A fixed bearer token.
    Bearer(Secret),
    /// A function of the application that is called each time, with the server's challenge if there
    /// is one.
    Asked(Arc<dyn Fn(Option<String>) -> Answer + Send + Sync>),
}

/// The application's function panicked.
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
            Self::Anonymous => Credentials::default(),
            Self::Bearer(token) => Credentials::bearer(token.clone()),
            Self::Asked(ask) => ask(challenge).await,
        }
    }

    /// Returns credentials as [`credentials`](Self::credentials) does, but catches a panic of the
    /// application.
    ///
    /// # Errors
    /// Returns [`Panicked`] if the application panicked.
    pub(crate) async fn try_credentials(&self, challenge: Option<String>) -> Result<Credentials, Panicked> {
        // The function itself may panic, and not only its future, so it is called inside of the
        // block.
        let asked = AssertUnwindSafe(async { self.credentials(challenge).await });
        asked.catch_unwind().await.map_err(|payload| {
            // Dropping the payload could panic again.
            std::mem::forget(payload);
            tracing::error!("the credentials function of the application panicked");
            Panicked
        })
    }

    /// Returns whether there are credentials to send.
    pub(crate) fn says_something(&self) -> bool {
        !matches!(self, Self::Anonymous)
    }

    /// Returns whether another attempt may return other credentials.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self, Self::Asked(_))
    }
}
