//! Holds messages that a client sends before it is admitted. They are the first that its session
//! reads.

use std::collections::VecDeque;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use bowline_core::peer::{Receiving, TransportEnd};

/// The maximum number of held messages, and of their bytes. Beyond, the client is refused.
const MESSAGES_MAX: usize = 256;
const BYTES_MAX: usize = 64 << 10;

/// A receiver whose held messages are read before new ones.
pub(crate) struct Preceded<R: Receiving> {
    held: VecDeque<R::Text>,
    bytes: usize,
    receiver: R,
}

impl<R: Receiving> Preceded<R> {
    pub(crate) fn new(receiver: R) -> Self {
        Self { held: VecDeque::new(), bytes: 0, receiver }
    }

    /// Receives a new message, not a held one. Cancel-safe.
    pub(crate) async fn receive_new(&mut self) -> Result<R::Text, TransportEnd> {
        self.receiver.receive().await
    }

    /// Holds a message for the session.
    ///
    /// # Errors
    /// Returns `PAYLOAD_TOO_LARGE` if too much is held.
    pub(crate) fn hold(&mut self, text: R::Text) -> Result<(), Refused> {
        self.bytes += text.as_ref().len();
        if self.held.len() == MESSAGES_MAX || self.bytes > BYTES_MAX {
            let message =
                format!("at most {MESSAGES_MAX} messages and {BYTES_MAX} bytes may be sent before authentication");
            return Err(Refused::new(ErrorCode::PayloadTooLarge, message));
        }
        self.held.push_back(text);
        Ok(())
    }
}

impl<R: Receiving> Receiving for Preceded<R> {
    type Text = R::Text;

    async fn receive(&mut self) -> Result<R::Text, TransportEnd> {
        match self.held.pop_front() {
            Some(text) => Ok(text),
            None => self.receiver.receive().await,
        }
    }

    fn try_receive(&mut self) -> Option<Result<R::Text, TransportEnd>> {
        match self.held.pop_front() {
            Some(text) => Some(Ok(text)),
            None => self.receiver.try_receive(),
        }
    }
}
