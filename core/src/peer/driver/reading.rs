//! Reading: messages on their way from a transport to the session, and what is left to be done for
//! those before.

use std::iter::Peekable;

use super::{BATCH, Drive};
use crate::peer::lines::Lines;
use crate::peer::runtime;
use crate::peer::transport::{Receiving, TransportEnd};

/// Messages handled per batch before the replies to them are written. Starts at `TURN` after idle and
/// doubles to `TURN_MAX` under load: small batches let the peer work on the replies while this side
/// handles the rest, large ones save writes.
const TURN: usize = 32;
const TURN_MAX: usize = 256;

/// Texts, and about how many bytes of them, that are taken from a transport before what they ask for is
/// carried out.
const READ_TEXTS: usize = 64;
const READ_BYTES: usize = 4 << 10;

impl Drive {
    /// Hands messages to the session until one of both is over.
    pub(super) async fn read<R: Receiving>(&self, receiver: &mut R) {
        let (mut turn, mut turn_max) = (0, TURN);
        let (mut texts, mut ahead) = (Vec::new(), Vec::new());
        let mut end = None;
        loop {
            // Nothing here is cancelled: this future is dropped only with the whole driver.
            end = end.or_else(|| collect(receiver, &mut texts));
            if texts.is_empty() && end.is_none() {
                (turn, turn_max) = (0, TURN);
                match receiver.receive().await {
                    Ok(text) => texts.push(text),
                    Err(ended) => end = Some(ended),
                }
            }
            let mut messages = Lines::of(&texts, self.joins_lines).peekable();
            while messages.peek().is_some() {
                let Some(taken) = self.take(&mut messages, turn_max.min(BATCH)) else {
                    return self.leave_if_lease_is_over();
                };
                if taken == 0 && !Box::pin(self.catch_up(receiver, &mut ahead, &mut end)).await {
                    return;
                }
                turn += taken;
                // Everything that came before the end is carried out at once: no reply can be written any more.
                if turn >= turn_max && end.is_none() {
                    (turn, turn_max) = (0, TURN_MAX.min(2 * turn_max));
                    runtime::yield_once().await;
                }
            }
            texts.clear();
            std::mem::swap(&mut texts, &mut ahead);
            if texts.is_empty()
                && let Some(end) = end.take()
            {
                Box::pin(self.shared.finish_work_of_link()).await;
                return self.take_end(end);
            }
        }
    }

    /// Does the work that is left of the message before, a slice at a time, and lets others have
    /// their turn in between. Returns false when the transport has ended and no other will follow,
    /// so that the rest of the work would be wasted.
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
            runtime::yield_once().await;
            if !self.shared.work_on() {
                return true;
            }
        }
    }

    /// The next messages, `most` of them, and how many they were: none if there is work left of those
    /// before. `None` when nothing more is to be read.
    /// What comes of the usual ones is carried out together, and before anything else is looked at: an
    /// end of the session is behind what was called before it.
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
            }
            true
        });
        goes_on.then_some(taken)
    }

    /// Gives up a transport whose texts may not be carried out because the lease on the session is
    /// over and has not been renewed yet. Nothing reads it any more; on another transport, the peer
    /// sends again what was not carried out.
    fn leave_if_lease_is_over(&self) {
        let is_undecided = {
            let state = self.shared.lock();
            let endpoint = &state.endpoint;
            endpoint.is_attached(self.at) && !endpoint.session.is_closed() && endpoint.is_lease_over(self.shared.now())
        };
        if is_undecided {
            let message = "The lease on the session is over, and is yet to be renewed.".to_owned();
            self.detach(TransportEnd::Failed(message));
        }
    }

    /// What is no message. Nothing more is to be read.
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

/// A message of a call, as nearly all are.
fn is_usual(text: &str) -> bool {
    ["+[", "[\"push\"", "[\"pull\"", "[\"resolve\"", "[\"release\""].iter().any(|head| text.starts_with(head))
}

/// Takes messages that are there, and what came behind them if it is none.
fn collect<R: Receiving>(receiver: &mut R, texts: &mut Vec<R::Text>) -> Option<TransportEnd> {
    let mut bytes = 0;
    while texts.len() < READ_TEXTS && bytes < READ_BYTES {
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
