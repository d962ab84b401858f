//! Two sessions, and the messages that they exchange.

use bowline_core::endpoint::{Attach, Endpoint};
use bowline_core::limits::Limits;
use bowline_core::link::{Attachment, Features, LinkRules, Role};
use bowline_core::session::{Adjustment, ClosedBy, Session, SessionStats, Wanted};
use bowline_core::time::Time;

use super::app::App;
use super::half::Half;

/// A client, a server, and a log of `c> …` and `s> …` lines.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) client: App,
    pub(crate) server: App,
    log: Vec<String>,
    /// The links under both, whose connection is cut at every message.
    cuts: Option<Cuts>,
}

/// Whether this is the test binary in which the connection is cut before and after every message.
const CUTS: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"session_cut");

impl Pair {
    /// Creates a pair whose connection is never cut.
    pub(crate) fn uncut() -> Self {
        Self { cuts: None, ..Self::new() }
    }

    pub(crate) fn new() -> Self {
        let end = || App::new(Session::new(Limits::default(), true));
        Self { client: end(), server: end(), log: Vec::new(), cuts: CUTS.then(Cuts::new) }
    }

    /// Exchanges messages, those of the client first, until neither side has any.
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
        carry("c>", &mut self.client, &mut self.server, &mut self.cuts, &mut self.log);
    }

    pub(crate) fn carry_from_server(&mut self) {
        carry("s>", &mut self.server, &mut self.client, &mut self.cuts, &mut self.log);
    }

    /// Drops the queued messages and the log.
    pub(crate) fn lose(&mut self) {
        for app in [&mut self.client, &mut self.server] {
            app.react();
            while app.session.poll_transmit().is_some() {}
        }
        self.log.clear();
    }

    /// Exchanges all messages, and compares those since the last call.
    #[track_caller]
    pub(crate) fn crossed(&mut self, expected: &str) {
        self.settle();
        let lines: Vec<_> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(std::mem::take(&mut self.log), lines);
    }

    /// Asserts that nothing but the main objects is left on either side.
    #[track_caller]
    pub(crate) fn assert_idle(&mut self) {
        self.settle();
        for (name, app) in [("client", &self.client), ("server", &self.server)] {
            assert_idle(name, app);
        }
    }
}

/// Passes on the messages of one side until it has no more.
fn carry(mark: &str, from: &mut App, to: &mut App, cuts: &mut Option<Cuts>, log: &mut Vec<String>) {
    from.react();
    loop {
        let text = match cuts {
            None => from.session.poll_transmit().inspect(|text| take(&mut to.session, text)),
            Some(cuts) => cuts.carry(mark == "s>", &mut from.session, &mut to.session),
        };
        let Some(text) = text else { return };
        log.push(format!("{mark} {text}"));
        to.react();
    }
}

/// Handles a message, or an adjustment after a recovery.
pub(crate) fn take(session: &mut Session, text: &str) {
    if !text.starts_with('{') {
        return session.handle_message(text);
    }
    let adjustment: serde_json::Value = serde_json::from_str(text).expect("what was written can be read");
    let ids = |name: &str| serde_json::from_value(adjustment[name].clone()).expect("a list of ids");
    match adjustment["next"].as_i64() {
        Some(next) => session.skip(next),
        None => session.reconcile(&Wanted { hold: ids("hold"), pull: ids("pull") }),
    }
}

/// Writes an adjustment for `take`.
pub(crate) fn written(adjustment: Adjustment) -> String {
    match adjustment {
        Adjustment::Reconcile { hold, pull } => serde_json::json!({"hold": hold, "pull": pull}).to_string(),
        Adjustment::Skip { next_positive } => serde_json::json!({"next": next_positive}).to_string(),
    }
}

/// Both ends of a link, which borrow the sessions while they exchange messages.
#[derive(Debug)]
struct Cuts {
    client: Endpoint,
    server: Endpoint,
    transports: Option<(Attachment, Attachment)>,
}

impl Cuts {
    fn new() -> Self {
        let end = |role| Endpoint::linked(Limits::default(), true, role, LinkRules::default());
        Self { client: end(Role::Client), server: end(Role::Server), transports: None }
    }

    /// Passes on one message, if there is one. The first attempt is lost, and the connection is cut
    /// after the second arrived and before it is acknowledged.
    fn carry(&mut self, from_server: bool, from: &mut Session, to: &mut Session) -> Option<String> {
        let (client, server) = if from_server { (to, from) } else { (from, to) };
        std::mem::swap(self.client.session_mut(), client);
        std::mem::swap(self.server.session_mut(), server);
        let lost = self.written(from_server);
        if lost.is_some() {
            self.cut();
        }
        let text = self.written(from_server).or_else(|| lost.clone());
        assert_eq!(lost, text, "the retransmitted message");
        if let (Some(text), Some((client, server))) = (&text, self.transports) {
            let (to, at) = if from_server { (&mut self.client, client) } else { (&mut self.server, server) };
            to.handle_text(at, Time::default(), text);
            self.cut();
        }
        std::mem::swap(self.client.session_mut(), client);
        std::mem::swap(self.server.session_mut(), server);
        text
    }

    /// Returns the next message that one side writes.
    fn written(&mut self, by_server: bool) -> Option<String> {
        let (client, server) = *self.transports.get_or_insert_with(|| attach(&mut self.client, &mut self.server));
        let (from, at) = if by_server { (&mut self.server, server) } else { (&mut self.client, client) };
        std::iter::from_fn(|| from.poll_transmit(at)).find(|text| !text.starts_with('{'))
    }

    /// Attaches a new connection, unless the session has ended.
    fn cut(&mut self) {
        if !self.client.session().is_closed() && !self.server.session().is_closed() {
            self.transports = Some(attach(&mut self.client, &mut self.server));
        }
    }
}

fn attach(client: &mut Endpoint, server: &mut Endpoint) -> (Attachment, Attachment) {
    // The messages must equal those without a link, so they are not joined.
    let features = Features { calls: false, ..Features::ALL };
    let resume = |peer: &Endpoint| Attach::Resume { peer_processed: peer.processed(), peer_sends_after: None };
    let (of_client, of_server) = (resume(server), resume(client));
    let attach = |endpoint: &mut Endpoint, how| {
        endpoint.attach(Time::default(), features, how).expect("the message numbers match").attachment
    };
    (attach(client, of_client), attach(server, of_server))
}

#[track_caller]
pub(crate) fn assert_idle(name: &str, app: &App) {
    assert_eq!(app.session.stats(), SessionStats { imports: 1, exports: 1 }, "{name}");
    assert_eq!(app.objects(), 0, "objects of the {name}");
    assert!(app.session.is_idle(), "{name}: {:#?}", app.session);
}

/// A session whose peer is the test.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) app: App,
    half: Option<Half>,
}

impl Scripted {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { app: App::new(Session::new(limits, true)), half: CUTS.then(Half::new) }
    }

    /// Runs a conversation: `c>` lines are sent, and `s>` lines must be exactly the answer.
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
                _ => panic!("a line must start with c> or s>: {line}"),
            }
        }
        assert_eq!(answers, expected, "at the end of {conversation}");
    }

    /// Sends one message and returns the answers.
    pub(crate) fn send(&mut self, text: &str) -> Vec<String> {
        match &mut self.half {
            None => self.app.session.handle_message(text),
            Some(half) => half.hear(&mut self.app.session, text),
        }
        self.app.react();
        match &mut self.half {
            None => std::iter::from_fn(|| self.app.session.poll_transmit()).collect(),
            Some(half) => half.written(&mut self.app.session),
        }
    }

    /// Asserts that this side ended the session with this error, and that it holds nothing.
    #[track_caller]
    pub(crate) fn assert_aborted(&self, message: &str) {
        let closed = self.app.closed.as_ref().expect("the session has ended");
        assert_eq!((closed.by, closed.message.as_str()), (ClosedBy::Protocol, message));
        assert_eq!(self.app.objects(), 0, "objects outlived the session");
    }
}
