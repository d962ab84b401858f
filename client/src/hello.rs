//! The client's side of the link protocol's handshake, on one connection. See docs/link.md,
//! "Frames".

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_core::error::ErrorCode;
use bowline_core::id::Ids;
use bowline_core::link::handshake::VERSIONS;
use bowline_core::link::{
    ClientIdentity, Credentials, Frame, Hello, Left, Mode, Refused, Resume, Resumed, Secret, Welcome,
};
use bowline_core::peer::{Receiving, Sending, Transport, TransportEnd};
use bowline_core::resume::prove;
use bowline_transport::{WebSocketReceiver, WebSocketSender};
use tokio::time::timeout;

use crate::credentials::Who;
use crate::dial::{Socket, Stream};

/// How long a client waits for the challenge of a server that selected the link protocol. Without
/// one, the server echoes subprotocols that it does not know.
const CHALLENGE_WAIT: Duration = Duration::from_secs(4);

/// A connection during its handshake.
pub(crate) struct Opening {
    pub(crate) sender: WebSocketSender<Box<dyn Stream>>,
    pub(crate) receiver: WebSocketReceiver<Box<dyn Stream>>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server does not speak the link protocol.
    Plain,
    /// The server refused.
    Refused(Refused),
    /// The connection ended.
    Gone(TransportEnd),
}

impl From<TransportEnd> for Failure {
    fn from(end: TransportEnd) -> Self {
        Self::Gone(end)
    }
}

/// What a client needs to resume its session.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) token: Secret,
    pub(crate) key: Secret,
    /// Whether another process of the server can recover the session.
    pub(crate) is_durable: bool,
}

/// The state of this side of a session, as a resume reports it.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The features that this client supports.
    pub(crate) features: Vec<String>,
    pub(crate) came: u64,
    pub(crate) first_retained: u64,
    pub(crate) ids: Ids,
    pub(crate) auth: Credentials,
    /// What this side still holds, if its process was replaced.
    pub(crate) left: Option<Left>,
}

impl Opening {
    /// Splits a connection. The returned [`Ending`](bowline_transport::Ending) closes it.
    pub(crate) fn of(socket: Socket) -> (Self, bowline_transport::Ending<Box<dyn Stream>>) {
        let (sender, receiver) = socket.transport.split();
        (Self { sender, receiver }, socket.ending)
    }

    /// Requests a new session, once the server's challenge has confirmed that it speaks the link
    /// protocol.
    pub(crate) async fn hello(&mut self, hello: &Hello, who: &Who) -> Result<Welcome, Failure> {
        let mut answers_to = Some(self.challenge().await?);
        self.say(&Frame::Hello(hello.clone())).await?;
        loop {
            match self.listen().await? {
                Frame::Welcome(welcome) => return Ok(welcome),
                Frame::Unauthenticated(refused) => {
                    let another = if who.may_change() { who.credentials(answers_to.take()).await.token } else { None };
                    let Some(response) = another else { return Err(Failure::Refused(refused)) };
                    self.say(&Frame::Authenticate { response }).await?;
                }
                Frame::Rejected(refused) => return Err(Failure::Refused(refused)),
                _ => return Err(out_of_place()),
            }
        }
    }

    /// Requests to resume the session of `ticket`, whose state is `stands`.
    pub(crate) async fn resume(&mut self, ticket: &Held, stands: &Standing) -> Result<Resumed, Failure> {
        let challenge = self.challenge().await?;
        let Standing { features, came, first_retained, ids, auth, left } = stands.clone();
        let is_durable = ticket.is_durable || left.is_some();
        let accept = match (&left, ticket.is_durable) {
            (Some(_), _) => vec![Mode::Reattach],
            (None, true) => vec![Mode::Warm, Mode::Cold],
            (None, false) => Vec::new(),
        };
        let resume = Resume {
            protocol: VERSIONS.to_vec(),
            features,
            resume_token: ticket.token.clone(),
            last_event_seq: came,
            first_retained_seq: first_retained,
            proof: prove(&ticket.key, &challenge, &ticket.token, came),
            auth: Some(auth).filter(|auth| auth.scheme != Credentials::NONE),
            accept,
            ids: Some(ids).filter(|_| is_durable),
            left,
        };
        self.say(&Frame::Resume(resume)).await?;
        match self.listen().await? {
            Frame::Resumed(resumed) => Ok(resumed),
            Frame::Rejected(refused) => Err(Failure::Refused(refused)),
            _ => Err(out_of_place()),
        }
    }

    /// Waits for the challenge, which a server that speaks the link protocol sends at once. No frame
    /// is sent before.
    async fn challenge(&mut self) -> Result<String, Failure> {
        let first = timeout(CHALLENGE_WAIT, self.listen()).await;
        match first.map_err(|_elapsed| Failure::Plain)?? {
            Frame::Challenge { challenge } => Ok(challenge),
            _ => Err(out_of_place()),
        }
    }

    async fn say(&mut self, frame: &Frame) -> Result<(), TransportEnd> {
        self.sender.feed(frame.write()).await?;
        self.sender.flush().await
    }

    async fn listen(&mut self) -> Result<Frame, Failure> {
        loop {
            let text = self.receiver.receive().await?;
            if !Frame::is_frame(text.as_ref()) {
                return Err(Failure::Plain);
            }
            if let Some(frame) = Frame::read(text.as_ref()).map_err(Failure::Refused)? {
                return Ok(frame);
            }
        }
    }
}

/// Returns the default description of this program for servers.
pub(crate) fn identity() -> ClientIdentity {
    /// The random id of this process.
    static INSTANCE: LazyLock<String> = LazyLock::new(random_id);
    ClientIdentity::default().kind("bowline-rs").version(env!("CARGO_PKG_VERSION")).instance(INSTANCE.as_str())
}

/// Returns 16 random bytes in base64url.
pub(crate) fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

fn out_of_place() -> Failure {
    let message = "the server sent a frame that is not allowed during the handshake";
    Failure::Refused(Refused::new(ErrorCode::InvalidRequest, message))
}
