//! A client process: what `bowline-client` does with its session and its connections, one dial
//! too many now and then.

use std::time::Duration;

use bowline_core::endpoint::{Attach, Endpoint};
use bowline_core::error::ErrorCode;
use bowline_core::limits::Limits;
use bowline_core::link::{Attachment, Features, Frame, Hello, LinkRules, Refused, Resume, Role, Secret};
use bowline_core::resume::prove;
use bowline_core::session::ClosedBy;
use bowline_core::time::Time;

use super::app::App;
use super::invariants as must;
use super::network::Way;
use super::server::{Around, gone};
use super::world::Flaw;

const DIAL: Duration = Duration::from_secs(1);

pub(crate) enum State {
    /// No connection, and none before.
    Waiting(Time),
    /// Perhaps more than one, each with whether it was answered to.
    Dialing(Vec<usize>, Time),
    Online(usize, Attachment),
    /// The session is over.
    Over,
    /// The process is gone without a word.
    Crashed,
}

/// What a client has to have its session back.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) token: Secret,
    pub(crate) key: Secret,
}

pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) server: usize,
    pub(crate) is_linked: bool,
    flaw: Flaw,
    pub(crate) endpoint: Endpoint,
    pub(crate) app: App,
    pub(crate) state: State,
    pub(crate) paused: Time,
    pub(crate) session: Option<String>,
    pub(crate) ticket: Option<Ticket>,
    /// Every ticket, in the order in which they came.
    pub(crate) tickets: Vec<Ticket>,
    /// How often it has changed its connection.
    pub(crate) turns: u64,
    /// When it stops to try.
    tries_until: Option<Time>,
    window: Duration,
    pub(crate) lost: Option<ErrorCode>,
}

impl Client {
    pub(crate) fn new(index: usize, server: usize, is_linked: bool, flaw: Flaw, rules: LinkRules) -> Self {
        let limits = Limits::default();
        let endpoint =
            if is_linked { Endpoint::linked(limits, true, Role::Client, rules) } else { Endpoint::plain(limits, true) };
        Self {
            index,
            server,
            is_linked,
            flaw,
            endpoint,
            app: App::default(),
            state: State::Waiting(Time::default()),
            paused: Time::default(),
            session: None,
            ticket: None,
            tickets: Vec::new(),
            turns: 0,
            tries_until: None,
            window: Duration::ZERO,
            lost: None,
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::Dialing(..))
    }

    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, State::Over | State::Crashed)
    }

    /// Begins `dials` connections at once, none of which waits for another.
    pub(crate) fn dial(&mut self, dials: usize, around: &mut Around<'_>) -> Vec<usize> {
        let hello = Hello {
            protocol: vec![1],
            features: Vec::new(),
            client: Default::default(),
            hello_id: Some(format!("hello of {}", self.index)),
            auth: Default::default(),
        };
        let dialled: Vec<usize> =
            (0..dials).map(|_| around.network.connect(around.dice, self.index, self.server, self.is_linked)).collect();
        if !self.is_linked {
            self.state = State::Online(dialled[0], Attachment::PLAIN);
            return dialled;
        }
        if self.ticket.is_none() {
            // The hello does not wait for the challenge.
            let hello = Frame::Hello(hello).write();
            dialled.iter().for_each(|&at| around.network.write(at, Way::ToServer, around.now, &hello));
        }
        self.state = State::Dialing(dialled.clone(), around.now + DIAL);
        dialled
    }

    pub(crate) fn hear(&mut self, connection: usize, text: &str, around: &mut Around<'_>) -> Result<(), String> {
        match &self.state {
            State::Online(of, at) if *of == connection => {
                let at = *at;
                self.hear_online(connection, at, text, around)
            }
            State::Dialing(dialled, _) if dialled.contains(&connection) => {
                match Frame::read(text).ok().flatten().ok_or_else(|| format!("{text} while dialling"))? {
                    Frame::Challenge { challenge } => self.prove(connection, &challenge, around),
                    Frame::Welcome(welcome) => {
                        self.session = Some(welcome.session_id);
                        self.window = Duration::from_secs(welcome.resume_window_sec);
                        let ticket = Ticket { token: welcome.resume_token, key: welcome.resume_key };
                        return self.goes_on(connection, ticket, welcome.last_event_seq, None, around);
                    }
                    Frame::Resumed(resumed) => {
                        let ticket = Ticket { token: resumed.resume_token, key: resumed.resume_key };
                        let after = Some(resumed.replayed_from);
                        return self.goes_on(connection, ticket, resumed.last_event_seq, after, around);
                    }
                    Frame::Rejected(refused) => self.lose(refused),
                    frame => return Err(format!("{frame:?} while dialling")),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn hear_online(
        &mut self,
        connection: usize,
        at: Attachment,
        text: &str,
        around: &mut Around<'_>,
    ) -> Result<(), String> {
        if !self.is_linked {
            must::i20_without_a_link_a_session_is_as_it_ever_was(&mut self.endpoint, around.now, text)?;
            self.app.react(&mut self.endpoint);
            return Ok(());
        }
        let before = self.endpoint.processed();
        self.endpoint.handle_text(at, around.now, text);
        let after = self.endpoint.processed();
        self.app.react(&mut self.endpoint);
        if self.endpoint.session().is_closed() {
            self.lost = self.endpoint.session().closed().map(|closed| closed.cause.to_code());
            self.state = State::Over;
            around.network.hang_up(connection, Way::ToClient);
            return Ok(());
        }
        let Some(id) = self.session.as_ref().filter(|_| !Frame::is_frame(text)) else { return Ok(()) };
        around.ledgers.entry(id.clone()).or_default().read(Way::ToClient, connection, text, (before, after))
    }

    fn prove(&mut self, connection: usize, challenge: &str, around: &mut Around<'_>) {
        if let Some(token) = self.endpoint.take_token()
            && let Some(ticket) = &mut self.ticket
        {
            ticket.token = token.resume_token;
            if let Some(key) = token.resume_key {
                ticket.key = key;
            }
            self.tickets.push(ticket.clone());
        }
        let Some(Ticket { token, key }) = &self.ticket else { return };
        let came = self.endpoint.processed();
        let resume = Resume {
            protocol: vec![1],
            features: Vec::new(),
            resume_token: token.clone(),
            last_event_seq: came,
            first_retained_seq: self.endpoint.first_retained(),
            proof: prove(key, challenge, token, came),
            auth: None,
            accept: Vec::new(),
            ids: None,
            left: None,
        };
        around.network.write(connection, Way::ToServer, around.now, &Frame::Resume(resume).write());
    }

    /// The session has a connection again.
    fn goes_on(
        &mut self,
        connection: usize,
        ticket: Ticket,
        peer_processed: u64,
        peer_sends_after: Option<u64>,
        around: &mut Around<'_>,
    ) -> Result<(), String> {
        self.tickets.push(ticket.clone());
        self.ticket = Some(ticket);
        self.turns += 1;
        self.tries_until = None;
        let counted = peer_sends_after.unwrap_or_else(|| self.endpoint.processed());
        let peer_sends_after = if self.flaw == Flaw::NoDuplicateCheck { None } else { peer_sends_after };
        let how = Attach::Resume { peer_processed, peer_sends_after };
        let attached =
            self.endpoint.attach(around.now, Features::ALL, how).map_err(|refused| format!("I8: {refused:?}"))?;
        if let Some(id) = &self.session {
            let ledger = around.ledgers.entry(id.clone()).or_default();
            ledger.begins(Way::ToServer, connection, peer_processed + 1, counted + 1);
            must::i8_both_ends_count_alike(ledger, &self.endpoint, peer_processed, counted)?;
        }
        let before = std::mem::replace(&mut self.state, State::Online(connection, attached.attachment));
        if let State::Dialing(dialled, _) = before {
            let others = dialled.into_iter().filter(|other| *other != connection);
            others.for_each(|other| around.network.hang_up(other, Way::ToClient));
        }
        Ok(())
    }

    pub(crate) fn hears_end(&mut self, connection: usize, around: &mut Around<'_>) {
        match &mut self.state {
            State::Online(of, _) if *of == connection => self.detach(around),
            State::Dialing(dialled, _) => {
                dialled.retain(|other| *other != connection);
                if dialled.is_empty() {
                    self.wait(around);
                }
            }
            _ => {}
        }
    }

    /// Its connection is gone, if it has one.
    pub(crate) fn detach(&mut self, around: &mut Around<'_>) {
        let State::Online(connection, at) = self.state else { return };
        around.network.hang_up(connection, Way::ToClient);
        self.endpoint.detach(at, gone());
        self.app.react(&mut self.endpoint);
        if self.is_linked {
            self.tries_until = Some(around.now + self.window);
            self.state = State::Waiting(around.now);
        } else {
            self.state = State::Over;
        }
    }

    /// Until the next try: anything up to a quarter of a second.
    fn wait(&mut self, around: &mut Around<'_>) {
        self.state = State::Waiting(around.now + Duration::from_millis(around.dice.below(250) as u64));
    }

    /// The session is not coming back.
    fn lose(&mut self, refused: Refused) {
        self.endpoint.end(ClosedBy::Transport, &refused.code, &refused.message);
        self.app.react(&mut self.endpoint);
        self.lost = Some(refused.code);
        self.state = State::Over;
    }

    /// Looks at the clock. True when it is time to dial.
    pub(crate) fn tick(&mut self, around: &mut Around<'_>) -> bool {
        if self.is_away() && self.tries_until.is_some_and(|until| until <= around.now) {
            if let State::Dialing(dialled, _) = &self.state {
                dialled.iter().for_each(|&at| around.network.hang_up(at, Way::ToClient));
            }
            self.lose(Refused::new(ErrorCode::ResumeWindowExpired, "no connection in time"));
        }
        match &self.state {
            State::Waiting(until) => return *until <= around.now,
            State::Dialing(dialled, until) if *until <= around.now => {
                // What was said on these may still arrive.
                dialled.iter().for_each(|&at| around.network.hang_up(at, Way::ToClient));
                self.wait(around);
            }
            State::Online(_, at) if !self.endpoint.handle_timeout(*at, around.now) => self.detach(around),
            _ => {}
        }
        false
    }

    /// Writes up to `texts` of what there is.
    pub(crate) fn write(&mut self, texts: usize, around: &mut Around<'_>) -> Result<(), String> {
        let State::Online(connection, at) = self.state else { return Ok(()) };
        for _ in 0..texts {
            let text = if self.is_linked {
                self.endpoint.poll_transmit(at)
            } else {
                must::i20_without_a_link_bytes_are_those_of_the_session(&mut self.endpoint)?
            };
            let Some(text) = text else { break };
            if let Some(id) = self.session.as_ref().filter(|_| !Frame::is_frame(&text)) {
                around.ledgers.entry(id.clone()).or_default().wrote(Way::ToServer, connection, &text)?;
            }
            around.network.write(connection, Way::ToServer, around.now, &text);
        }
        Ok(())
    }
}
