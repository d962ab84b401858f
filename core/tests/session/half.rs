//! A link under a session whose other end is the test. Its connection is cut around every message.

use bowline_core::endpoint::{Attach, Endpoint};
use bowline_core::limits::Limits;
use bowline_core::link::{Attachment, Features, Frame, LinkRules, Role};
use bowline_core::session::Session;
use bowline_core::time::Time;

/// One end of a link, which borrows the session while it exchanges messages. The test is the other
/// end.
#[derive(Debug)]
pub(crate) struct Half {
    endpoint: Endpoint,
    /// The number of messages that the test has taken.
    taken: u64,
}

impl Half {
    pub(crate) fn new() -> Self {
        let mut rules = LinkRules::default();
        // The test acknowledges only what it has compared.
        (rules.retain_bytes, rules.retain_messages) = (usize::MAX, usize::MAX);
        Self { endpoint: Endpoint::linked(Limits::default(), true, Role::Server, rules), taken: 0 }
    }

    /// Passes a message to the session, and retransmits it on the next connection.
    pub(crate) fn hear(&mut self, session: &mut Session, text: &str) {
        std::mem::swap(self.endpoint.session_mut(), session);
        // A message that ends a plain session may look like a frame.
        if Frame::is_frame(text) || self.endpoint.session().is_closed() {
            self.endpoint.session_mut().handle_message(text);
        } else {
            let at = self.attach(0);
            self.endpoint.handle_text(at, Time::default(), text);
            if !self.endpoint.session().is_closed() {
                let state = |of: &Session| (of.stats(), of.transmit_len(), of.transmit_bytes(), of.answers_owed());
                let before = state(self.endpoint.session());
                let at = self.attach(1);
                self.endpoint.handle_text(at, Time::default(), text);
                assert_eq!(state(self.endpoint.session()), before, "handled twice: {text}");
            }
        }
        std::mem::swap(self.endpoint.session_mut(), session);
    }

    /// Returns the messages of the session, which are retransmitted on the next connection.
    pub(crate) fn written(&mut self, session: &mut Session) -> Vec<String> {
        std::mem::swap(self.endpoint.session_mut(), session);
        let texts = if self.endpoint.session().is_closed() {
            std::iter::from_fn(|| self.endpoint.session_mut().poll_transmit()).collect()
        } else {
            let texts = self.write();
            assert_eq!(self.write(), texts, "the retransmitted message");
            self.taken += texts.len() as u64;
            texts
        };
        std::mem::swap(self.endpoint.session_mut(), session);
        texts
    }

    fn write(&mut self) -> Vec<String> {
        let at = self.attach(0);
        let texts = std::iter::from_fn(|| self.endpoint.poll_transmit(at));
        texts.filter(|text| !Frame::is_frame(text)).collect()
    }

    /// Attaches a new connection, on which the test retransmits its last messages.
    fn attach(&mut self, again: u64) -> Attachment {
        let peer_sends_after = Some(self.endpoint.processed() - again);
        let features = Features { calls: false, ..Features::ALL };
        let how = Attach::Resume { peer_processed: self.taken, peer_sends_after };
        self.endpoint.attach(Time::default(), features, how).expect("the message numbers match").attachment
    }
}
