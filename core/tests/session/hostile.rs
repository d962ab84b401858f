//! A session that receives arbitrary lines. It must not panic or grow without bounds, must end
//! once, and must not send incomplete messages. The fuzz target `session_messages` runs `replay` on
//! its inputs; the test here runs it on the corpus.

use bowline_core::id::PromiseId;
use bowline_core::limits::Limits;
use bowline_core::session::{CloseReason, ClosedBy, Delivery, Kind, Outgoing, Output, Path, Ref, Session, Step};
use bowline_core::value::{PLACEHOLDER, Payload};

/// An end that handles its outputs in unusual but valid ways.
pub(crate) struct End {
    session: Session,
    slow: Vec<PromiseId>,
    kept: Vec<Ref>,
    delivered: usize,
    ends: usize,
}

/// Passes every line of `text` to a session as one message.
pub(crate) fn replay(text: &str) {
    let mut limits = Limits::default();
    (limits.table_entries, limits.held_bytes, limits.running_calls) = (100, 100_000, 8);
    (limits.message_nodes, limits.message_bytes) = (10_000, 100_000);
    let mut end = End::new(limits);
    for line in text.lines() {
        end.take(line);
    }
    end.settle_all();
    end.finish();
}

impl End {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::of(Session::new(limits, true))
    }

    /// Creates the end of this session.
    pub(crate) fn of(session: Session) -> Self {
        Self { session, slow: Vec::new(), kept: Vec::new(), delivered: 0, ends: 0 }
    }

    /// Handles a message.
    pub(crate) fn take(&mut self, text: &str) {
        self.session.handle_message(text);
        self.react();
    }

    /// Returns why the session has ended, if it has.
    pub(crate) fn closed(&self) -> Option<&CloseReason> {
        self.session.closed()
    }

    /// Returns the number of calls and reads that were delivered.
    pub(crate) fn delivered(&self) -> usize {
        self.delivered
    }

    /// Settles the calls that were left pending.
    pub(crate) fn settle_all(&mut self) {
        for call in std::mem::take(&mut self.slow) {
            self.session.settle(call, Ok(Payload::plain(r#"{"a":[[1,2]]}"#)));
            self.react();
        }
    }

    /// Releases everything and ends the session.
    pub(crate) fn finish(mut self) {
        for of in std::mem::take(&mut self.kept) {
            self.session.release(of);
            self.react();
        }
        let closed = CloseReason::new(ClosedBy::Local, "Error", "done");
        self.session.abort(closed);
        self.react();
        assert_eq!(self.ends, 1, "a session ends once");
    }

    fn react(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Deliver(delivery) => self.deliver(delivery),
                Output::Settled { outcome, .. } => {
                    use bowline_core::session::Outcome::{Lost, Rejected, Resolved};
                    match outcome {
                        Resolved(payload) | Rejected(payload) => self.kept.extend(payload.into_refs()),
                        Lost(_) => {}
                    }
                }
                Output::Pump { into, .. } => {
                    self.session.stream(Ref::Import(into), "write", Payload::plain("[1]"));
                    self.session.release(Ref::Import(into));
                }
                Output::Closed(_) => self.ends += 1,
                Output::Pipe { .. } | Output::DropTarget(_) | Output::Cancel(_) => {}
            }
        }
        while let Some(text) = self.session.poll_transmit() {
            assert!(!text.contains(PLACEHOLDER), "a placeholder is sent: {text}");
            assert!(text.starts_with('[') && text.ends_with(']'), "{text}");
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let Delivery { call, path, args, .. } = delivery;
        self.delivered += 1;
        let name = path.first().map(Step::to_string).unwrap_or_default();
        if path.len() > 1 {
            let value = Payload::plain(r#"{"a":{"b":[[1]]},"f":null}"#);
            return self.session.settle_from(call, value, path, 1, args);
        }
        let args = args.unwrap_or_else(|| Payload::plain("[]"));
        let refs: Vec<Outgoing> = args.refs().iter().map(|&of| Outgoing { of, path: path.clone() }).collect();
        match (name.as_str(), args.refs().first()) {
            ("slow", _) => self.slow.push(call),
            ("cb", Some(&first)) => {
                let answer = self.session.call(
                    first,
                    &path,
                    Some(Payload::new(args.text(), refs).expect("as many placeholders as references")),
                );
                self.session.pull(answer, &[]);
                self.session.settle(call, Ok(Payload::capability(Outgoing { of: answer, path: Path::new() })));
                self.kept.push(answer);
            }
            ("mk", _) => {
                let kinds = [Kind::Object, Kind::Writable, Kind::Readable];
                let of = Ref::Target(self.session.new_target(kinds[args.text().len() % 3]));
                self.session.settle(call, Ok(Payload::capability(Outgoing { of, path: Path::new() })));
                self.kept.push(of);
            }
            ("err", _) => self.session.settle(
                call,
                Err(Payload::new(format!("[{}]", args.text()), refs).expect("as many placeholders as references")),
            ),
            _ => self.session.settle(
                call,
                Ok(Payload::new(format!("[{}]", args.text()), refs).expect("as many placeholders as references")),
            ),
        }
        self.kept.extend(args.into_refs());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_corpus_is_handled() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/session_messages");
        let entries: Vec<_> = std::fs::read_dir(corpus).unwrap().collect();
        assert!(entries.len() >= 20);
        for entry in entries {
            super::replay(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
}
