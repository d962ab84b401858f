//! A server process and its connections.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_core::endpoint::Endpoint;
use bowline_core::limits::Limits;
use bowline_core::link::{Attachment, Frame, LinkRules};
use bowline_core::resume::{Jti, Key, KeyRing, TokenPolicy};
use bowline_core::session::{CloseReason, ClosedBy};
use bowline_core::time::Time;

use super::app::App;
use super::dice::Dice;
use super::invariants as must;
use super::ledger::Ledger;
use super::network::{Network, Way};
use super::registry::Entry;
use super::world::Flaw;

/// How long a connection may be without a session.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a connection is to the server.
#[derive(Debug)]
pub(crate) enum Served {
    /// The challenge was sent.
    New { challenge: String, since: Time },
    /// A session has, or has had, its turn on it.
    Linked { id: String, at: Attachment },
    /// A session without a link.
    Plain { endpoint: Box<Endpoint>, app: App },
}

pub(crate) struct Server {
    pub(crate) flaw: Flaw,
    pub(crate) rules: LinkRules,
    pub(crate) window: Duration,
    /// The process does nothing before.
    pub(crate) paused: Time,
    pub(super) name: String,
    pub(super) keys: KeyRing,
    pub(super) policy: TokenPolicy,
    pub(crate) sessions: BTreeMap<String, Entry>,
    pub(super) hellos: BTreeMap<String, String>,
    pub(crate) served: BTreeMap<usize, Served>,
    /// Every token that was ever minted, with its name.
    pub(crate) minted: BTreeMap<String, Jti>,
    /// Tokens that were accepted since the last check.
    pub(crate) accepted: Vec<String>,
    /// Sessions that have ended, until it is checked what they have left.
    pub(crate) over: Vec<Entry>,
    pub(super) jtis: u64,
    /// Texts that came on connections whose turn was over.
    pub(crate) late: u64,
}

/// What a server needs of the world around it while it handles something.
pub(crate) struct Around<'a> {
    pub(crate) now: Time,
    pub(crate) dice: &'a mut Dice,
    pub(crate) network: &'a mut Network,
    pub(crate) ledgers: &'a mut BTreeMap<String, Ledger>,
}

pub(crate) fn gone() -> CloseReason {
    CloseReason::new(ClosedBy::Transport, "Error", "cut")
}

impl Server {
    pub(crate) fn new(index: usize, flaw: Flaw, rules: LinkRules, window: Duration) -> Self {
        let name = format!("server{index}");
        let key = Key::new(&name, &[index as u8 + 1; 32]).expect("32 bytes are enough");
        Self {
            flaw,
            rules,
            window,
            paused: Time::default(),
            name,
            keys: KeyRing::new(key),
            policy: TokenPolicy::default(),
            sessions: BTreeMap::new(),
            hellos: BTreeMap::new(),
            served: BTreeMap::new(),
            minted: BTreeMap::new(),
            accepted: Vec::new(),
            over: Vec::new(),
            jtis: 0,
            late: 0,
        }
    }

    /// A client has dialled.
    pub(crate) fn accept(&mut self, connection: usize, is_linked: bool, around: &mut Around<'_>) {
        let served = if is_linked {
            let challenge = format!("challenge {connection}");
            let frame = Frame::Challenge { challenge: challenge.clone() };
            around.network.write(connection, Way::ToClient, around.now, &frame.write());
            Served::New { challenge, since: around.now }
        } else {
            let endpoint = Box::new(Endpoint::plain(Limits::default(), true));
            Served::Plain { endpoint, app: App::default() }
        };
        self.served.insert(connection, served);
    }

    /// A connection has brought a text.
    pub(crate) fn hear(&mut self, connection: usize, text: &str, around: &mut Around<'_>) -> Result<(), String> {
        match self.served.get_mut(&connection) {
            Some(Served::New { challenge, .. }) => {
                let challenge = std::mem::take(challenge);
                self.hear_opening(connection, &challenge, text, around)
            }
            Some(Served::Linked { id, at }) => {
                let (id, at) = (id.clone(), *at);
                self.hear_linked(connection, &id, at, text, around)
            }
            Some(Served::Plain { endpoint, app }) => {
                must::i20_without_a_link_a_session_is_as_it_ever_was(endpoint, around.now, text)?;
                app.react(endpoint);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn hear_opening(&mut self, at: usize, challenge: &str, text: &str, around: &mut Around<'_>) -> Result<(), String> {
        match self.open(challenge, around.now, text, around.dice) {
            Ok(begun) => {
                let ledger = around.ledgers.entry(begun.id.clone()).or_default();
                ledger.epoch(begun.epoch, at)?;
                ledger.begins(Way::ToClient, at, begun.from + 1, begun.attached.processed + 1);
                around.network.write(at, Way::ToClient, around.now, &begun.answer.write());
                self.served.insert(at, Served::Linked { id: begun.id, at: begun.attached.attachment });
            }
            Err(refused) => {
                around.network.write(at, Way::ToClient, around.now, &Frame::Rejected(refused).write());
                self.served.remove(&at);
                around.network.hang_up(at, Way::ToServer);
            }
        }
        Ok(())
    }

    fn hear_linked(
        &mut self,
        connection: usize,
        id: &str,
        at: Attachment,
        text: &str,
        around: &mut Around<'_>,
    ) -> Result<(), String> {
        let newest = self.newest(id).unwrap_or(at);
        let Some(entry) = self.sessions.get_mut(id) else { return Ok(()) };
        if !entry.endpoint.is_attached(at) {
            self.late += 1;
            let before = entry.endpoint.clone();
            let taken_for = if self.flaw == Flaw::NoFencing { newest } else { at };
            entry.endpoint.handle_text(taken_for, around.now, text);
            return must::i4_an_old_transport_changes_nothing(&before, &entry.endpoint);
        }
        let before = entry.endpoint.processed();
        entry.endpoint.handle_text(at, around.now, text);
        let after = entry.endpoint.processed();
        entry.app.react(&mut entry.endpoint);
        if Frame::is_frame(text) || entry.endpoint.session().is_closed() {
            return Ok(());
        }
        around.ledgers.entry(id.to_owned()).or_default().read(Way::ToServer, connection, text, (before, after))
    }

    /// The newest transport of a session that has not ended.
    fn newest(&self, id: &str) -> Option<Attachment> {
        let of = self.served.values().filter_map(|served| match served {
            Served::Linked { id: other, at } if other == id => Some(*at),
            _ => None,
        });
        of.max()
    }

    /// A connection has ended, or has been given up.
    pub(crate) fn hears_end(&mut self, connection: usize, now: Time) {
        match self.served.remove(&connection) {
            Some(Served::Linked { id, at }) => {
                let Some(entry) = self.sessions.get_mut(&id) else { return };
                if entry.endpoint.is_attached(at) && !entry.endpoint.session().is_closed() {
                    entry.parked = Some(now);
                }
                entry.endpoint.detach(at, gone());
                entry.app.react(&mut entry.endpoint);
            }
            Some(Served::Plain { mut endpoint, mut app }) => {
                let at = Attachment::PLAIN;
                endpoint.detach(at, gone());
                app.react(&mut endpoint);
            }
            Some(Served::New { .. }) | None => {}
        }
    }

    /// Writes up to `texts` of what there is on a connection, and hangs up if its turn is over.
    pub(crate) fn write(&mut self, connection: usize, texts: usize, around: &mut Around<'_>) -> Result<(), String> {
        match self.served.get_mut(&connection) {
            Some(Served::Linked { id, at }) => {
                let (id, at) = (id.clone(), *at);
                self.write_linked(connection, &id, at, texts, around)
            }
            Some(Served::Plain { endpoint, .. }) => {
                for _ in 0..texts {
                    let text = must::i20_without_a_link_bytes_are_those_of_the_session(endpoint)?;
                    let Some(text) = text else { break };
                    around.network.write(connection, Way::ToClient, around.now, &text);
                }
                Ok(())
            }
            Some(Served::New { .. }) | None => Ok(()),
        }
    }

    fn write_linked(
        &mut self,
        connection: usize,
        id: &str,
        at: Attachment,
        texts: usize,
        around: &mut Around<'_>,
    ) -> Result<(), String> {
        let Some(entry) = self.sessions.get_mut(id).filter(|entry| entry.endpoint.is_attached(at)) else {
            // Taken over, or over; noticed sooner or later.
            if around.dice.one_in(2) {
                return Ok(());
            }
            self.served.remove(&connection);
            around.network.hang_up(connection, Way::ToServer);
            return Ok(());
        };
        for _ in 0..texts {
            let Some(text) = entry.endpoint.poll_transmit(at) else { break };
            if !Frame::is_frame(&text) {
                around.ledgers.entry(id.to_owned()).or_default().wrote(Way::ToClient, connection, &text)?;
                if self.flaw == Flaw::EarlyFree {
                    let written = Frame::Ack { last_processed_seq: entry.endpoint.first_retained(), checkpoint: None };
                    entry.endpoint.handle_text(at, around.now, &written.write());
                }
            }
            around.network.write(connection, Way::ToClient, around.now, &text);
        }
        Ok(())
    }

    /// Looks at the clock.
    pub(crate) fn tick(&mut self, around: &mut Around<'_>) {
        let connections: Vec<usize> = self.served.keys().copied().collect();
        for connection in connections {
            let is_dead = match &self.served[&connection] {
                Served::New { since, .. } => around.now.since(*since) > HANDSHAKE,
                Served::Linked { id, at } => {
                    let entry = self.sessions.get_mut(id);
                    entry.is_none_or(|entry| !entry.endpoint.handle_timeout(*at, around.now))
                }
                Served::Plain { .. } => false,
            };
            if is_dead {
                around.network.hang_up(connection, Way::ToServer);
                self.hears_end(connection, around.now);
            }
        }
        for entry in self.sessions.values_mut() {
            entry.endpoint.bound_retained();
            entry.app.react(&mut entry.endpoint);
        }
        self.sweep(around.now);
    }
}
