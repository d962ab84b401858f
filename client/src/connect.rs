//! Opening a session: TCP, TLS, the WebSocket handshake.

use std::fmt;
use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use bowline_core::limits::Limits;
use bowline_core::peer::{Connection, Options, Reference, Stub};
use bowline_core::value::ErrorValue;
use bowline_transport::{KeepAlive, Metered, WebSocket};
use http::{HeaderName, HeaderValue, Request, request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tracing::Instrument;

use crate::error::ConnectError;
use crate::session::Session;
use crate::url::Address;

/// How long everything before the session may take, unless set otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Opens a session with the server at a `ws:` or `wss:` URL; `http:` and `https:` mean the same.
///
/// # Errors
/// As [`Connect::connect`].
pub async fn connect(url: impl Into<String>) -> Result<Session, ConnectError> {
    Connect::new(url).connect().await
}

/// A session to be opened.
#[must_use = "nothing is opened before `connect`"]
pub struct Connect {
    url: String,
    headers: request::Builder,
    main: Option<Stub>,
    options: Options,
    keep_alive: KeepAlive,
    within: Duration,
    #[cfg(feature = "tls")]
    tls: Arc<rustls::ClientConfig>,
}

impl Connect {
    /// The session that [`connect`] opens, until something is set otherwise.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: request::Builder::new(),
            main: None,
            options: Options::default(),
            keep_alive: KeepAlive::default(),
            within: WITHIN,
            #[cfg(feature = "tls")]
            tls: crate::tls::config(),
        }
    }

    /// Sends a header with the handshake. One that is malformed fails [`connect`](Self::connect).
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.headers = self.headers.header(name, value);
        self
    }

    /// Gives the server an object of ours as its peer's root; without, it has none.
    pub fn main(mut self, main: impl Reference) -> Self {
        self.main = Some(main.stub().clone());
        self
    }

    /// Sets the bounds of the session.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Sets what is sent in place of each error; see [`Options::on_send_error`].
    pub fn on_send_error(mut self, hook: impl Fn(ErrorValue) -> ErrorValue + Send + Sync + 'static) -> Self {
        self.options = self.options.on_send_error(hook);
        self
    }

    /// Sets how silence is treated.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets how long everything before the session may take. Default 10 s.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Sets whom to trust on `wss:`. Without, the certificate authorities that browsers trust.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = config;
        self
    }

    /// Opens the session. Dropping the future closes the connection.
    ///
    /// # Errors
    /// The URL or a header is malformed, the server cannot be reached in time, or it refuses.
    pub async fn connect(self) -> Result<Session, ConnectError> {
        let within = self.within;
        tokio::time::timeout(within, self.open()).await.map_err(|_elapsed| ConnectError::TimedOut(within))?
    }

    async fn open(self) -> Result<Session, ConnectError> {
        let address = Address::parse(&self.url)?;
        let unreachable = |source| ConnectError::Unreachable { authority: address.authority().to_owned(), source };
        let tcp = dial(&address).await.map_err(unreachable)?;
        #[cfg(feature = "tls")]
        if address.secure {
            let tls = secure(&self.tls, &address, tcp).await.map_err(unreachable)?;
            return self.shake_hands(&address, tls).await;
        }
        self.shake_hands(&address, tcp).await
    }

    async fn shake_hands<S>(mut self, address: &Address, stream: S) -> Result<Session, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = self.request(address)?;
        let config = bowline_transport::config(&self.options.limits);
        let (stream, _answer) =
            tokio_tungstenite::client_async_with_config(request, Metered::new(stream), Some(config))
                .await
                .map_err(refused)?;
        let (transport, ending, _parting) = WebSocket::new(stream, self.keep_alive);
        let (connection, driver) = Connection::start(transport, self.main, self.options);
        let span = tracing::debug_span!("session", server = address.authority());
        let session = async move {
            let closed = driver.await;
            let traffic = ending.finish().await;
            tracing::debug!(by = ?closed.by, message = closed.message, ?traffic, "session closed");
        };
        tokio::spawn(session.instrument(span));
        Ok(Session::new(connection))
    }

    /// The handshake's own headers first, so that a caller may replace them.
    fn request(&mut self, address: &Address) -> Result<Request<()>, ConnectError> {
        let mut request = address.websocket().into_client_request().map_err(refused)?;
        let (asked_for, ()) = std::mem::take(&mut self.headers).body(())?.into_parts();
        request.headers_mut().extend(asked_for.headers);
        Ok(request)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold credentials.
        f.debug_struct("Connect").field("url", &self.url).finish_non_exhaustive()
    }
}

async fn dial(address: &Address) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((address.host(), address.port())).await?;
    // Messages are written when there are no more to join them.
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

#[cfg(feature = "tls")]
async fn secure(
    config: &Arc<rustls::ClientConfig>,
    address: &Address,
    tcp: TcpStream,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    let name = address.host().to_owned().try_into().map_err(io::Error::other)?;
    tokio_rustls::TlsConnector::from(config.clone()).connect(name, tcp).await
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
