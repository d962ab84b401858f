//! Messages that a client sends before it knows that it is let in. They wait, and are the first
//! that its session reads.

use std::collections::VecDeque;

use bowline_core::error::ErrorCode;
use bowline_core::link::Refused;
use bowline_core::peer::{Receiving, TransportEnd};

/// Messages that may wait, and their bytes. Beyond, there is no session.
const MESSAGES_MAX: usize = 256;
const BYTES_MAX: usize = 64 << 10;

/// A receiver, and what is to be read before anything new.
pub(crate) struct Preceded<R: Receiving> {
    held: VecDeque<R::Text>,
    bytes: usize,
    receiver: R,
}

impl<R: Receiving> Preceded<R> {
    pub(crate) fn new(receiver: R) -> Self {
        Self { held: VecDeque::new(), bytes: 0, receiver }
    }

    /// Something that was not read before. Cancel-safe.
    pub(crate) async fn receive_new(&mut self) -> Result<R::Text, TransportEnd> {
        self.receiver.receive().await
    }

    /// Has a text wait for its session.
    ///
    /// # Errors
    /// Too much waits.
    pub(crate) fn hold(&mut self, text: R::Text) -> Result<(), Refused> {
        self.bytes += text.as_ref().len();
        if self.held.len() == MESSAGES_MAX || self.bytes > BYTES_MAX {
            let message = format!("{MESSAGES_MAX} messages of {BYTES_MAX} bytes may wait for who the client is");
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
