//! Dialing: from an address to a WebSocket, by TCP or the application's function, TLS, and the HTTP
//! handshake. Repeating and choosing addresses is up to the callers.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bowline_core::error::ErrorChain;
use bowline_core::limits::Limits;
use bowline_core::link::{Credentials, Features, SUBPROTOCOL};
use bowline_transport::{Ending, KeepAlive, Metered, WebSocket};
use http::header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::credentials::Who;
use crate::error::{CREDENTIALS, ConnectError, TOKENS};
use crate::hello::random_id;
use crate::url::Address;

/// A byte stream, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Opens a byte stream to a host and port in place of TCP.
pub(crate) type DialFn = dyn Fn(String, u16) -> Dialing + Send + Sync;

type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// A WebSocket after its handshake.
pub(crate) struct Socket {
    pub(crate) transport: WebSocket<Box<dyn Stream>>,
    pub(crate) ending: Ending<Box<dyn Stream>>,
}

/// The protocol that a handshake asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Cap'n Web messages only.
    Plain,
    /// The link protocol, if the server speaks it.
    Link,
}

/// The response to a handshake that offered the link protocol. See docs/link.md, "Negotiation".
pub(crate) enum Offered {
    /// The server selected the link protocol. Its challenge confirms that it knows what it selected.
    Link(Socket),
    /// The server selected the decoy, as it does with whatever comes first, and waits for messages
    /// of a plain session.
    Plain(Socket),
    /// The server selected neither. A session without the link needs another connection.
    Declined,
}

/// Whether secrets may be sent to other machines without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unencrypted {
    #[default]
    Refused,
    Allowed,
}

impl Unencrypted {
    /// Returns whether secrets may be sent to the server at this address.
    pub(crate) fn allows(self, address: &Address) -> bool {
        self == Self::Allowed || address.secure || address.is_loopback()
    }
}

/// Returns whether the headers contain credentials.
pub(crate) fn hold_credentials(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE)
}

/// Everything that is needed to reach a server.
pub(crate) struct Dialer {
    /// The address that is dialed next.
    pub(crate) address: Address,
    /// The address that the application named.
    pub(crate) home: Address,
    /// The alternative address, if a server has named one.
    pub(crate) other: Option<Address>,
    pub(crate) headers: HeaderMap,
    pub(crate) limits: Arc<Limits>,
    pub(crate) keep_alive: KeepAlive,
    /// A bearer token is sent in a header if the connection begins without a hello.
    pub(crate) who: Who,
    pub(crate) unencrypted: Unencrypted,
    pub(crate) dial: Option<Arc<DialFn>>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Dialer {
    /// Returns the names of the features that this client supports.
    pub(crate) fn features(&self) -> Vec<String> {
        Features::within(&self.limits).names()
    }

    /// Dials `url` from now on, as the server requested. An encrypted connection is never replaced
    /// by an unencrypted one.
    pub(crate) fn go_to(&mut self, url: &str) {
        match Address::parse(url) {
            Ok(address) if address.secure || !self.address.secure && self.unencrypted.allows(&address) => {
                self.other = Some(self.home.clone()).filter(|home| *home != address);
                self.address = address;
            }
            Ok(_) => tracing::warn!(url, "the resume URL of the server is not encrypted, ignoring it"),
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "the resume URL of the server is invalid, ignoring it")
            }
        }
    }

    /// Switches to the alternative address, if there is one, because the current one does not
    /// answer.
    pub(crate) fn turn_away(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.address, other);
        }
    }

    /// Opens a connection, and offers the link protocol. Dropping the future closes the connection.
    ///
    /// The server sees two subprotocols: a random one that no server knows, then that of the link.
    /// A server that reads the whole list selects the link; one that echoes the first selects the
    /// decoy.
    pub(crate) async fn offer_link(&self) -> Result<Offered, Undialed> {
        let decoy = random_id();
        match self.shake(Spoken::Link, Some(&decoy)).await {
            Ok((socket, selected)) if selected.as_deref() == Some(SUBPROTOCOL) => Ok(Offered::Link(socket)),
            // A plain session has its credentials in a header, which this handshake did not send.
            Ok(_) if self.who.says_something() => Ok(Offered::Declined),
            Ok((socket, _decoy)) => Ok(Offered::Plain(socket)),
            Err(Unshaken::Subprotocol) => Ok(Offered::Declined),
            Err(Unshaken::Undialed(undialed)) => Err(undialed),
        }
    }

    /// Opens a connection for a session to resume on. Returns `None` if the server does not speak
    /// the link protocol. Dropping the future closes the connection.
    pub(crate) async fn dial_link(&self) -> Result<Option<Socket>, Undialed> {
        match self.offer_link().await? {
            Offered::Link(socket) => Ok(Some(socket)),
            Offered::Plain(_) | Offered::Declined => Ok(None),
        }
    }

    /// Opens a connection for a plain session. Dropping the future closes the connection.
    pub(crate) async fn dial_plain(&self) -> Result<Socket, Undialed> {
        match self.shake(Spoken::Plain, None).await {
            Ok((socket, _)) => Ok(socket),
            Err(Unshaken::Undialed(undialed)) => Err(undialed),
            Err(Unshaken::Subprotocol) => {
                let message = "the server answered with a subprotocol that was not offered";
                Err(Undialed::Never(ConnectError::Handshake(message.to_owned())))
            }
        }
    }

    /// Opens a connection, and returns it with the subprotocol that the server selected.
    async fn shake(&self, spoken: Spoken, decoy: Option<&str>) -> Result<(Socket, Option<String>), Unshaken> {
        self.check_secrets(spoken).map_err(Undialed::from)?;
        let request = self.request(decoy).await.map_err(Undialed::from)?;
        let stream = self.stream().await?;
        let config = bowline_transport::config(&self.limits);
        let shaken = tokio_tungstenite::client_async_with_config(request, Metered::new(stream), Some(config)).await;
        let (stream, answer) = match shaken {
            Ok(shaken) => shaken,
            Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => return Err(Unshaken::Subprotocol),
            Err(error) => return Err(undialed(error).into()),
        };
        let selected = answer.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let selected = selected.map(str::to_owned);
        let (transport, ending, _parting) = WebSocket::new(stream, self.keep_alive);
        Ok((Socket { transport, ending }, selected))
    }

    /// Checks that no secret is sent unencrypted. With the link protocol, resume tokens are
    /// secrets, too.
    fn check_secrets(&self, spoken: Spoken) -> Result<(), ConnectError> {
        if self.unencrypted.allows(&self.address) {
            return Ok(());
        }
        let authority = self.address.authority();
        if hold_credentials(&self.headers) || self.who.says_something() {
            return Err(ConnectError::unencrypted(authority, CREDENTIALS));
        }
        if spoken == Spoken::Link { Err(ConnectError::unencrypted(authority, TOKENS)) } else { Ok(()) }
    }

    async fn stream(&self) -> Result<Box<dyn Stream>, Undialed> {
        let (host, port) = (self.address.host(), self.address.port());
        if let Some(dial) = &self.dial {
            let stream = dial(host.to_owned(), port).await.map_err(|source| self.unreachable(source))?;
            return self.encrypted(stream).await;
        }
        let tcp = TcpStream::connect((host, port)).await.map_err(|source| self.unreachable(source))?;
        // The driver batches writes itself.
        tcp.set_nodelay(true).map_err(|source| self.unreachable(source))?;
        self.encrypted(tcp).await
    }

    /// Negotiates TLS on a stream if the address requires it.
    async fn encrypted(&self, stream: impl Stream) -> Result<Box<dyn Stream>, Undialed> {
        #[cfg(feature = "tls")]
        if self.address.secure {
            let name = self.address.host().to_owned().try_into();
            let name = name.map_err(|error| self.unreachable(io::Error::other(error)))?;
            let connecting = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream);
            let cut = |error: &io::Error| is_cut(error).then(|| Undialed::Cut(error.to_string()));
            let tls = connecting.await.map_err(|error| cut(&error).unwrap_or_else(|| self.unreachable(error)))?;
            return Ok(Box::new(tls));
        }
        Ok(Box::new(stream))
    }

    fn unreachable(&self, source: io::Error) -> Undialed {
        let authority = self.address.authority().to_owned();
        Undialed::Never(ConnectError::Unreachable { authority, source })
    }

    /// Builds the handshake. Its own headers come first, so that the application can replace them.
    ///
    /// With a decoy, the link protocol is offered, and credentials are left to its frames.
    async fn request(&self, decoy: Option<&str>) -> Result<Request<()>, ConnectError> {
        let mut request = self.address.websocket().into_client_request().map_err(refused)?;
        let headers = request.headers_mut();
        if let Some(decoy) = decoy {
            let offered = HeaderValue::try_from(format!("{decoy}, {SUBPROTOCOL}")).map_err(http::Error::from)?;
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
        } else if let Credentials { scheme, token: Some(token), .. } = self.who.credentials(None).await
            && scheme == Credentials::BEARER
        {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(http::Error::from)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers.extend(self.headers.clone());
        Ok(request)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Undialed {
    /// The connection was closed during the handshake. Another attempt may succeed.
    Cut(String),
    Never(ConnectError),
}

/// Why a handshake failed.
enum Unshaken {
    /// The server selected none of the subprotocols that were offered, or more than one.
    Subprotocol,
    Undialed(Undialed),
}

impl From<Undialed> for Unshaken {
    fn from(undialed: Undialed) -> Self {
        Self::Undialed(undialed)
    }
}

impl From<ConnectError> for Undialed {
    fn from(error: ConnectError) -> Self {
        Self::Never(error)
    }
}

impl From<Undialed> for ConnectError {
    fn from(undialed: Undialed) -> Self {
        match undialed {
            Undialed::Cut(reason) => Self::Handshake(reason),
            Undialed::Never(error) => error,
        }
    }
}

impl fmt::Display for Undialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(reason) => f.write_str(reason),
            Self::Never(error) => ErrorChain(error).fmt(f),
        }
    }
}

/// Returns whether a connection was closed before the handshake was complete.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn undialed(error: Error) -> Undialed {
    let is_cut = match &error {
        Error::Io(error) => is_cut(error),
        Error::ConnectionClosed | Error::Protocol(ProtocolError::HandshakeIncomplete) => true,
        _ => false,
    };
    if is_cut { Undialed::Cut(error.to_string()) } else { Undialed::Never(refused(error)) }
}

fn refused(error: Error) -> ConnectError {
    match error {
        Error::Http(answer) => {
            let (answer, body) = answer.into_parts();
            let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
            ConnectError::Refused { status: answer.status, body }
        }
        error => ConnectError::Handshake(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_sent_unencrypted_only_to_loopback_addresses() {
        let address = |url: &str| Address::parse(url).expect("an address");
        let elsewhere = address("ws://192.0.2.1/rpc");
        assert!(!Unencrypted::Refused.allows(&elsewhere));
        assert!(Unencrypted::Allowed.allows(&elsewhere));
        assert!(Unencrypted::Refused.allows(&address("ws://localhost:8080/rpc")));
        #[cfg(feature = "tls")]
        assert!(Unencrypted::Refused.allows(&address("wss://192.0.2.1/rpc")));
    }
}
