//! Both ends of a link, which receive arbitrary lines: as frames before a session, as frames and
//! messages of a session, and as the numbers of a resume. Nothing may panic, end without a code,
//! exceed a limit, or loop. The fuzz target `link_frames` runs `replay` on its inputs; the test
//! here runs it on the corpus.

use std::time::Duration;

use bowline_core::endpoint::{Attach, Attached, Endpoint, LinkEvent};
use bowline_core::limits::Limits;
use bowline_core::link::handshake::Opening;
use bowline_core::link::{Features, Frame, LinkRules, LinkStats, Role, Secret, Ticket};
use bowline_core::session::{CloseReason, ClosedBy, Output, Step};
use bowline_core::time::Time;
use bowline_core::value::Payload;

/// The maximum number of texts that one input may cause.
const TEXTS_MAX: usize = 64;

struct End {
    endpoint: Endpoint,
    attached: Attached,
    rules: LinkRules,
    now: Time,
}

/// Passes every line of `text` to a client and to a server. A `resume` or `resumed` attaches a new
/// connection with its numbers.
pub(crate) fn replay(text: &str) {
    for role in [Role::Client, Role::Server] {
        let mut end = End::new(role);
        for line in text.lines() {
            frame_is_stable(line);
            end.hear(line);
        }
    }
    if let Err(refused) = Opening::read(text) {
        assert!(!refused.code.as_str().is_empty());
    }
}

/// Asserts that a frame that was read is written so that it reads the same again.
fn frame_is_stable(line: &str) {
    if let Ok(Some(frame)) = Frame::read(line) {
        let written = frame.write();
        assert!(Frame::is_frame(&written), "{written}");
        assert_eq!(Frame::read(&written), Ok(Some(frame)), "{written}");
    }
}

impl End {
    fn new(role: Role) -> Self {
        let mut rules = LinkRules::default();
        (rules.retain_messages, rules.retain_bytes) = (16, 4_096);
        let mut endpoint = Endpoint::linked(Limits::default(), true, role, rules.clone());
        let attached =
            endpoint.attach(Time::default(), Features::ALL, Attach::New).expect("the first connection is accepted");
        Self { endpoint, attached, rules, now: Time::default() }
    }

    fn hear(&mut self, line: &str) {
        self.now = self.now + Duration::from_millis(7);
        let resumed = match Frame::read(line) {
            Ok(Some(Frame::Resume(resume))) => Some((resume.last_event_seq, None)),
            Ok(Some(Frame::Resumed(resumed))) => Some((resumed.last_event_seq, Some(resumed.replayed_from))),
            _ => None,
        };
        let before = self.endpoint.clone();
        match resumed {
            None => drop(self.endpoint.handle_text(self.attached.attachment, self.now, line)),
            Some((peer_processed, peer_sends_after)) => {
                let features = Features { heartbeat: line.len().is_multiple_of(2), ..Features::ALL };
                match self.endpoint.attach(self.now, features, Attach::Resume { peer_processed, peer_sends_after }) {
                    Ok(attached) => self.attached = attached,
                    Err(_) => assert_eq!(self.endpoint, before, "a refused resume changes nothing"),
                }
            }
        }
        self.act();
        self.write();
    }

    /// Makes a call, and lets time pass.
    fn act(&mut self) {
        if !self.endpoint.is_overfull() && !self.endpoint.session().is_closed() {
            let session = self.endpoint.session_mut();
            session.call(session.main(), &[Step::Name("f".into())], Some(Payload::plain("[]")));
        }
        while let Some(output) = self.endpoint.session_mut().poll_output() {
            if let Output::Deliver(delivery) = output {
                self.endpoint.session_mut().settle(delivery.call, Ok(Payload::plain("1")));
            }
        }
        if self.endpoint.poll_timeout().is_some_and(|due| due <= self.now)
            && !self.endpoint.handle_timeout(self.attached.attachment, self.now)
        {
            let closed = CloseReason::new(ClosedBy::Transport, "Error", "dead");
            self.endpoint.detach(self.attached.attachment, closed);
        }
        let ticket = Ticket { resume_token: Secret::new("newer"), resume_key: None };
        self.endpoint.send_token(ticket, None);
    }

    fn write(&mut self) {
        let mut texts = 0;
        while let Some(text) = self.endpoint.poll_transmit(self.attached.attachment) {
            texts += 1;
            assert!(texts <= TEXTS_MAX, "one line causes {texts} texts");
            assert!(Frame::is_frame(&text) || text.starts_with('['), "{text}");
        }
        let waits = self.endpoint.has_transmit() && self.endpoint.is_attached(self.attached.attachment);
        assert!(!waits, "`has_transmit` is true, but there is no text");
        // When the session has ended, its messages are written regardless of the retransmit buffer.
        let LinkStats { retained_bytes: bytes, retained_messages: messages, .. } = self.endpoint.link_stats();
        let is_bounded = messages <= self.rules.retain_messages && bytes <= self.rules.retain_bytes + 4_096;
        assert!(is_bounded || self.endpoint.session().is_closed(), "{messages} messages of {bytes} bytes");
        while let Some(event) = self.endpoint.poll_event() {
            if let LinkEvent::Lost { code, .. } = event {
                assert!(!code.as_str().is_empty());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/link_frames");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 20);
        for entry in entries {
            super::replay(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
}
