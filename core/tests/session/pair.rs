//! Two sessions, and the messages that cross between them.

use bowline_core::limits::Limits;
use bowline_core::session::{ClosedBy, Session, Stats};

use super::app::App;

/// A client, a server, and a log of `c> …` and `s> …` lines.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) client: App,
    pub(crate) server: App,
    log: Vec<String>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let end = || App::new(Session::new(Limits::default(), true));
        Self { client: end(), server: end(), log: Vec::new() }
    }

    /// Carries messages, the client's first, until neither side has any.
    pub(crate) fn settle(&mut self) {
        loop {
            let before = self.log.len();
            self.carry_from_client();
            self.carry_from_server();
            if self.log.len() == before {
                return;
            }
        }
    }

    pub(crate) fn carry_from_client(&mut self) {
        self.client.react();
        while let Some(text) = self.client.session.poll_transmit() {
            self.log.push(format!("c> {text}"));
            self.server.session.handle_message(&text);
            self.server.react();
        }
    }

    pub(crate) fn carry_from_server(&mut self) {
        self.server.react();
        while let Some(text) = self.server.session.poll_transmit() {
            self.log.push(format!("s> {text}"));
            self.client.session.handle_message(&text);
            self.client.react();
        }
    }

    /// Carries everything, then compares what crossed since the last time.
    #[track_caller]
    pub(crate) fn crossed(&mut self, expected: &str) {
        self.settle();
        let lines: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(std::mem::take(&mut self.log), lines);
    }

    /// Nothing is left on either side but the mains.
    #[track_caller]
    pub(crate) fn assert_idle(&mut self) {
        self.settle();
        for (name, app) in [("client", &self.client), ("server", &self.server)] {
            assert_idle(name, app);
        }
    }
}

#[track_caller]
pub(crate) fn assert_idle(name: &str, app: &App) {
    assert_eq!(app.session.stats(), Stats { imports: 1, exports: 1 }, "{name}");
    assert_eq!(app.objects(), 0, "objects of the {name}");
    assert!(app.session.is_idle(), "{name}: {:#?}", app.session);
}

/// A session that a test speaks to by hand.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) app: App,
}

impl Scripted {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { app: App::new(Session::new(limits, true)) }
    }

    /// Takes a conversation: `c>` lines are sent, `s>` lines must be exactly what comes back.
    #[track_caller]
    pub(crate) fn says(&mut self, conversation: &str) {
        let mut answers: Vec<String> = Vec::new();
        let mut expected = Vec::new();
        for line in conversation.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.split_at(2) {
                ("c>", text) => {
                    assert_eq!(answers, expected, "before {line}");
                    (answers, expected) = (self.send(text.trim()), Vec::new());
                }
                ("s>", text) => expected.push(text.trim().to_owned()),
                _ => panic!("a line begins with c> or s>: {line}"),
            }
        }
        assert_eq!(answers, expected, "at the end of {conversation}");
    }

    /// Sends one message and returns what comes back.
    pub(crate) fn send(&mut self, text: &str) -> Vec<String> {
        self.app.session.handle_message(text);
        self.app.react();
        std::iter::from_fn(|| self.app.session.poll_transmit()).collect()
    }

    /// The session was ended by us with this error, and holds nothing any more.
    #[track_caller]
    pub(crate) fn assert_aborted(&self, message: &str) {
        let closed = self.app.closed.as_ref().expect("the session has ended");
        assert_eq!((closed.by, closed.message.as_str()), (ClosedBy::Protocol, message));
        assert_eq!(self.app.objects(), 0, "objects outlived the session");
    }
}
