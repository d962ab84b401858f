//! The part of a link's state that only one of the two roles has.

use std::collections::{BTreeMap, VecDeque};

use super::Role;
use super::control::Refresh;
use super::frame::Frame;
use super::greeting::{Covers, Drain, Lease, Ticket};
use super::list::{List, Objects};
use super::secret::Secret;
use super::tokens::Tokens;

/// The state of one role.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RoleState {
    /// Boxed, because a process has many more sessions as a server.
    Client(Box<ClientState>),
    Server(ServerState),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClientState {
    /// The newest token received, until it is taken.
    pub(crate) token: Option<Ticket>,
    pub(crate) token_ack: TokenAck,
    /// What the newest token covers, while it is not saved.
    pub(crate) unsaved: Option<Covers>,
    /// What the newest checkpoint covers whose token this client has.
    pub(crate) covers: Option<Covers>,
    pub(crate) lease: Option<Lease>,
    /// The server's request for new credentials.
    pub(crate) refresh: Option<Refresh>,
    /// The server's announcement of a drain, until it is taken.
    pub(crate) drain: Option<Drain>,
    /// The server has announced a drain on this connection.
    pub(super) is_draining: bool,
    /// List requests without an answer, by request id.
    pub(super) lists: BTreeMap<u64, List>,
    pub(super) lists_sent: u64,
    /// Answers to list requests that were not taken.
    pub(crate) objects: VecDeque<Objects>,
}

/// When a client acknowledges a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TokenAck {
    #[default]
    OnArrival,
    /// Once it is saved where it outlives the process.
    OnceSaved,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServerState {
    /// Tokens of checkpoints, each with its position among the messages.
    pub(crate) tokens: Tokens,
    pub(crate) drain: DrainState,
    /// Credentials that the client has sent.
    pub(crate) response: Option<Secret>,
    /// List requests to answer.
    pub(crate) lists: VecDeque<List>,
}

/// How far a drain has come on the current connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DrainState {
    #[default]
    None,
    Announced,
    /// The client holds new calls back.
    Confirmed,
}

impl RoleState {
    pub(super) fn new(role: Role) -> Self {
        match role {
            Role::Client => Self::Client(Box::default()),
            Role::Server => Self::Server(ServerState::default()),
        }
    }

    pub(crate) fn client(&self) -> Option<&ClientState> {
        if let Self::Client(client) = self { Some(client) } else { None }
    }

    pub(crate) fn client_mut(&mut self) -> Option<&mut ClientState> {
        if let Self::Client(client) = self { Some(client) } else { None }
    }

    pub(crate) fn server(&self) -> Option<&ServerState> {
        if let Self::Server(server) = self { Some(server) } else { None }
    }

    pub(crate) fn server_mut(&mut self) -> Option<&mut ServerState> {
        if let Self::Server(server) = self { Some(server) } else { None }
    }

    /// Drops what belongs to earlier connections. Tokens that arrived on one of them are older than
    /// the one in `resumed`.
    pub(super) fn attach(&mut self) {
        self.detach();
        match self {
            Self::Client(client) => {
                (client.token, client.unsaved) = (None, None);
                client.is_draining = false;
            }
            Self::Server(server) => server.tokens.rewind(),
        }
    }

    /// Drops requests of the connection that has ended.
    pub(super) fn detach(&mut self) {
        match self {
            Self::Client(client) => client.refresh = None,
            Self::Server(server) => {
                server.response = None;
                server.drain = DrainState::None;
                server.lists.clear();
            }
        }
    }

    /// Drops the tokens of a session that the peer has recovered or reattached.
    pub(super) fn reset_tokens(&mut self) {
        match self {
            Self::Client(client) => (client.covers, client.token, client.unsaved) = (None, None, None),
            Self::Server(server) => server.tokens.clear(),
        }
    }

    /// Returns the list requests to repeat on a new connection.
    pub(super) fn lists_to_repeat(&self) -> impl Iterator<Item = Frame> {
        let lists = self.client().map(|client| client.lists.values().cloned().map(Frame::List));
        lists.into_iter().flatten()
    }
}
