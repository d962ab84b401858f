//! The reading half of the driver: messages from a transport to the session, and the work that earlier
//! messages have left.

use std::future::{Future, poll_fn};
use std::iter::Peekable;
use std::pin::pin;
use std::sync::atomic::Ordering;

use super::Drive;
use super::aside::is_large;
use super::batching::BATCHING;
use crate::peer::driver::lines::Lines;
use crate::peer::driver::transport::{Receiving, TransportEnd};
use crate::peer::host::shared::Shared;
use crate::peer::runtime;

impl Drive {
    /// Passes messages to the session until the transport or the session ends.
    pub(super) async fn read<R: Receiving>(&self, receiver: &mut R) {
        let (mut batch, mut batch_max) = (0, BATCHING.messages);
        let (mut texts, mut ahead) = (Vec::new(), Vec::new());
        let mut end = None;
        loop {
            let mut has_rested = false;
            if texts.is_empty() && end.is_none() {
                // Nothing here need be cancel-safe: this future is dropped only together with the driver.
                let mut receiving = pin!(receiver.receive());
                let received = poll_fn(|cx| {
                    let polled = receiving.as_mut().poll(cx);
                    has_rested |= polled.is_pending();
                    polled
                });
                match received.await {
                    Ok(text) => texts.push(text),
                    Err(ended) => end = Some(ended),
                }
            }
            if has_rested {
                // Most texts arrive alone, and looking for more costs as much as receiving one. The next
                // round receives any that follow.
                (batch, batch_max) = (0, BATCHING.messages);
            } else {
                end = end.or_else(|| collect(receiver, &mut texts));
            }
            let mut messages = Lines::of(&texts, self.joins_lines).peekable();
            while messages.peek().is_some() {
                let taken = match messages.peek() {
                    Some(next) if self.aside.expects(next.len()) => Box::pin(self.take_aside(&mut messages)).await,
                    _ => self.take(&mut messages, batch_max.min(BATCHING.locked_messages)),
                };
                let Some(taken) = taken else { return self.leave_if_lease_is_over() };
                if taken == 0 && !Box::pin(self.catch_up(receiver, &mut ahead, &mut end)).await {
                    return;
                }
                batch += taken;
                // Everything that came before the end is carried out at once, because no reply can be written.
                if batch >= batch_max && end.is_none() {
                    (batch, batch_max) = (0, BATCHING.messages_max.min(2 * batch_max));
                    runtime::yield_once().await;
                }
            }
            texts.clear();
            std::mem::swap(&mut texts, &mut ahead);
            if texts.is_empty()
                && let Some(end) = end.take()
            {
                Box::pin(self.finish_work_of_link()).await;
                return self.take_end(end);
            }
        }
    }

    /// Does the remaining work of the previous message, a slice at a time, beside the runtime. Returns
    /// `false` if the transport has ended and no other can follow, so that the rest of the work would be
    /// wasted.
    async fn catch_up<R: Receiving>(
        &self,
        receiver: &mut R,
        ahead: &mut Vec<R::Text>,
        end: &mut Option<TransportEnd>,
    ) -> bool {
        loop {
            if end.is_none() && ahead.is_empty() {
                *end = collect(receiver, ahead);
            }
            if let Some(end) = end.take_if(|_| !self.shared.is_linked()) {
                self.take_end(end);
                return false;
            }
            if !self.work().await {
                self.has_news.store(true, Ordering::Relaxed);
                return true;
            }
        }
    }

    /// Does a slice of the session's work and carries out its outputs. Returns `true` if there is more.
    pub(super) async fn work(&self) -> bool {
        self.aside.note(true);
        let slice = |shared: &Shared| {
            shared.work();
            true
        };
        self.aside.run(&self.shared, slice).await;
        let mut has_more = false;
        self.input(|endpoint| {
            has_more = endpoint.session.has_work();
            true
        });
        has_more
    }

    /// Does all remaining work, if the session can continue on another transport.
    async fn finish_work_of_link(&self) {
        while self.shared.is_linked() && self.shared.has_work() {
            self.work().await;
        }
    }

    /// Handles the next message beside the runtime. Returns what [`Self::take`] returns.
    async fn take_aside<'a>(&self, messages: &mut Peekable<impl Iterator<Item = &'a str>>) -> Option<usize> {
        if self.shared.has_work() {
            return Some(0);
        }
        let (at, now, text) = (self.at, self.shared.now(), messages.next().unwrap_or_default().to_owned());
        // What a large text leaves behind can be expensive to read.
        self.aside.note(is_large(text.len()));
        let handle = move |shared: &Shared| {
            let mut state = shared.lock();
            // A call that was settled since the check above may have left work, which comes first.
            state.endpoint.session.finish_work();
            state.endpoint.handle_text(at, now, &text)
        };
        let goes_on = self.aside.run(&self.shared, handle).await;
        let goes_on = self.input(|endpoint| {
            self.aside.note(endpoint.session.is_expensive());
            goes_on
        });
        goes_on.then_some(1)
    }

    /// Handles the next messages, at most `most` of them, and returns their number. It is 0 if work of
    /// earlier messages remains. Returns `None` if nothing more is to be read.
    ///
    /// The outputs of the usual messages are carried out together, and before any other message is handled:
    /// the end of a session takes effect after the calls before it.
    fn take<'a>(&self, messages: &mut Peekable<impl Iterator<Item = &'a str>>, most: usize) -> Option<usize> {
        let now = self.shared.now();
        let mut taken = 0;
        let goes_on = self.input(|endpoint| {
            while taken < most && !endpoint.session.has_work() {
                let Some(text) = messages.next_if(|text| taken == 0 || is_usual(text)) else { break };
                taken += 1;
                if !endpoint.handle_text(self.at, now, text) {
                    return false;
                }
                self.aside.note(endpoint.session.is_expensive());
            }
            true
        });
        goes_on.then_some(taken)
    }

    /// Detaches the transport if its messages cannot be processed because the lease has expired and has not
    /// been renewed yet. Nothing reads from it any more; on the next transport, the peer retransmits what was
    /// not processed.
    fn leave_if_lease_is_over(&self) {
        let is_undecided = {
            let state = self.shared.lock();
            let endpoint = &state.endpoint;
            endpoint.is_attached(self.at) && !endpoint.session.is_closed() && endpoint.is_lease_over(self.shared.now())
        };
        if is_undecided {
            let message = "The lease on the session has expired and has not been renewed yet.".to_owned();
            self.detach(TransportEnd::Failed(message));
        }
    }

    /// Handles the end of a transport. Nothing more is read after it.
    fn take_end(&self, end: TransportEnd) {
        match end {
            TransportEnd::Invalid { name, message } => {
                self.input(|endpoint| {
                    if endpoint.is_attached(self.at) {
                        endpoint.session.handle_invalid(&name, &message);
                    }
                    false
                });
            }
            end => self.detach(end),
        }
    }
}

/// Returns `true` for a message of a call, as nearly all messages are.
fn is_usual(text: &str) -> bool {
    ["+[", "[\"push\"", "[\"pull\"", "[\"resolve\"", "[\"release\""].iter().any(|head| text.starts_with(head))
}

/// Takes the available messages, and the end of the transport if it follows them.
fn collect<R: Receiving>(receiver: &mut R, texts: &mut Vec<R::Text>) -> Option<TransportEnd> {
    let mut bytes = 0;
    while texts.len() < BATCHING.read_texts && bytes < BATCHING.read_bytes {
        match receiver.try_receive()? {
            Ok(text) => {
                bytes += text.as_ref().len();
                texts.push(text);
            }
            Err(end) => return Some(end),
        }
    }
    None
}
