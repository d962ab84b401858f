//! Opening a session: over the link protocol if the server speaks it, otherwise plain.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::endpoint::{Attach, Attached};
use bowline_core::limits::Limits;
use bowline_core::link::handshake::VERSIONS;
use bowline_core::link::{ClientIdentity, Credentials, Features, Hello, LinkRules, Role, Secret, Welcome};
use bowline_core::peer::{Connection, Reference, Restorers, SessionOptions, Stub};
use bowline_core::value::ErrorValue;
use bowline_transport::{Ending, KeepAlive, deadline};
use http::{HeaderName, HeaderValue, request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::Instrument;

use crate::credentials::Who;
use crate::dial::{DialFn, Dialer, Offered, Socket, Stream, Undialed, Unencrypted};
use crate::error::ConnectError;
use crate::hello::{self, Failure, Opening};
use crate::keeper::{Keeper, Ready};
use crate::plain_servers;
use crate::reattach::{Reattached, Reattaching, durable, until_reconciled};
use crate::saved_session::{SavedSession, Writer};
use crate::session::{ServerInfo, Session};
use crate::url::Address;

/// The pause before a hello or a resume is repeated.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// The default of [`SessionBuilder::connect_timeout`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a session with the server at a `ws:` or `wss:` URL, with default settings. `http:` and
/// `https:` URLs name the same servers.
///
/// Dropping the future closes the connection.
///
/// ```no_run
/// # mod bowline { pub use bowline_client::connect; }
/// use bowline::connect;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let session = connect("wss://example.com/rpc").await?;
/// let greeting = session.root_dyn().call("hello", "Ann").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returns a [`ConnectError`] if the URL is malformed, if the server cannot be reached within 10
/// seconds, or if it refuses the session.
pub async fn connect(url: impl Into<String>) -> Result<Session, ConnectError> {
    Session::builder(url).connect().await
}

/// A builder of a [`Session`]. [`Session::builder`] creates one with the settings that [`connect`] uses.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let session = bowline_client::Session::builder("wss://example.com/rpc").bearer("secret").connect().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is opened before `connect`"]
pub struct SessionBuilder {
    url: String,
    headers: request::Builder,
    main: Option<Stub>,
    options: SessionOptions,
    resumes: bool,
    rules: LinkRules,
    who: Who,
    restorers: Option<Arc<Restorers>>,
    writer: Option<Writer>,
    saved: Option<Vec<u8>>,
    identity: ClientIdentity,
    keep_alive: KeepAlive,
    connect_timeout: Duration,
    unencrypted: Unencrypted,
    dialer: Option<Arc<DialFn>>,
    #[cfg(feature = "tls")]
    tls: Arc<rustls::ClientConfig>,
}

impl SessionBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            headers: request::Builder::new(),
            main: None,
            options: SessionOptions::default(),
            resumes: true,
            rules: LinkRules::default(),
            who: Who::Anonymous,
            restorers: None,
            writer: None,
            saved: None,
            identity: hello::identity(),
            keep_alive: KeepAlive::default(),
            connect_timeout: CONNECT_TIMEOUT,
            unencrypted: Unencrypted::default(),
            dialer: None,
            #[cfg(feature = "tls")]
            tls: crate::tls::config(),
        }
    }

    /// Adds a header to the WebSocket handshake. If the header is malformed,
    /// [`connect`](Self::connect) fails.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.headers = self.headers.header(name, value);
        self
    }

    /// Sets the root object that this side offers to the server. By default, there is none.
    pub fn main(mut self, main: impl Reference) -> Self {
        self.main = Some(main.stub().clone());
        self
    }

    /// Sets the limits of the session.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits.into();
        self
    }

    /// Sets a function that sees each error before it is sent, and returns what is sent in its
    /// place. See [`SessionOptions::on_send_error`].
    pub fn on_send_error(mut self, hook: impl Fn(ErrorValue) -> ErrorValue + Send + Sync + 'static) -> Self {
        self.options = self.options.on_send_error(hook);
        self
    }

    /// Sets a bearer token as credentials. It is sent in the first frame of the session, or in an
    /// `Authorization` header if the server does not speak the link protocol.
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.who = Who::Bearer(Secret::new(token));
        self
    }

    /// Sets a function that returns credentials. It is called each time the server requires them:
    /// when the session begins, when it resumes, and before the current credentials expire. Its
    /// argument is the challenge that the credentials must answer, if the server sent one.
    ///
    /// The future is dropped when the connection that needs the credentials ends.
    pub fn credentials<F, Fut>(mut self, ask: F) -> Self
    where
        F: Fn(Option<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Credentials> + Send + 'static,
    {
        self.who = Who::asked(ask);
        self
    }

    /// Sets what this program tells the server about itself. The server does not verify it.
    pub fn identity(mut self, identity: ClientIdentity) -> Self {
        self.identity = identity;
        self
    }

    /// Opens a plain Cap'n Web session, which ends with its connection. By default, this happens
    /// only if the server does not speak the link protocol.
    pub fn plain(mut self) -> Self {
        self.resumes = false;
        self
    }

    /// Sets a function that saves the session, so that a later process of this program can
    /// [reattach](Self::reattach) to it.
    ///
    /// `write` receives the whole state and replaces what it wrote before. The replacement must be
    /// atomic: with files, write to another file and rename it. The bytes are as secret as the
    /// credentials.
    ///
    /// The function is called when the session begins, when it resumes, when the server has stored
    /// a newer checkpoint, and by [`Session::save`]. Calls never overlap. A newer token is
    /// acknowledged to the server only after it was saved. A session with a server that does not
    /// resume sessions is never saved.
    ///
    /// If the first write fails, [`connect`](Self::connect) fails with [`ConnectError::NotSaved`]. A
    /// later write that fails is retried after one second.
    pub fn save<F, Fut>(mut self, write: F) -> Self
    where
        F: Fn(Vec<u8>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<()>> + Send + 'static,
    {
        self.writer = Some(Writer::new(write));
        self
    }

    /// Sets the restorers for objects of this client. After [`reattach`](Self::reattach), they
    /// restore the durable objects that the server holds.
    pub fn restorers(mut self, restorers: Restorers) -> Self {
        self.restorers = Some(Arc::new(restorers));
        self
    }

    /// Reattaches to a session that an earlier process of this program [saved](Self::save).
    ///
    /// To the server, it is the same session: its variables are kept, and so are the references
    /// that were kept with [`Session::keep`], as far as the server still holds their objects. All
    /// other references of the earlier process are released, and the results of its calls are
    /// discarded. Calls by the server on objects of the earlier process fail with
    /// `CAPABILITY_LOST`, unless [`restorers`](Self::restorers) can restore them.
    ///
    /// [`connect`](Self::connect) fails with [`ConnectError::Rejected`] and the code
    /// `RESUME_WINDOW_EXPIRED` if the session no longer exists, and with [`ConnectError::Saved`] if
    /// the saved state cannot be read. Open a new session then.
    pub fn reattach(mut self, saved: impl Into<Vec<u8>>) -> Self {
        self.saved = Some(saved.into());
        self
    }

    /// Sets the bounds on messages that are kept for retransmission. The server determines the
    /// heartbeats.
    pub fn link_rules(mut self, rules: LinkRules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets when a silent connection is probed and closed.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets the timeout for opening the session. Default 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Allows credentials and resume tokens to be sent over `ws:` to other machines, where everyone
    /// on the network path can read them and take over the session. By default,
    /// [`connect`](Self::connect) fails with [`ConnectError::Unencrypted`] instead. Loopback
    /// addresses (`localhost`, 127.0.0.0/8, `[::1]`) are always allowed.
    pub fn allow_unencrypted(mut self) -> Self {
        self.unencrypted = Unencrypted::Allowed;
        self
    }

    /// Sets a function that opens the byte streams to servers, in place of TCP: through a proxy, over
    /// a Unix socket, or in the memory of a test.
    ///
    /// `dial` receives the host and port of the URL, or of the URL that a server has redirected the
    /// client to. It is called for each connection, and its future is dropped when the connection is
    /// no longer needed. TLS for `wss:` is negotiated on top of the stream. Only the host decides
    /// whether secrets may be sent without TLS; see [`allow_unencrypted`](Self::allow_unencrypted).
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let local = bowline_client::Session::builder("ws://localhost/rpc")
    ///     .dialer(|_host, _port| tokio::net::UnixStream::connect("/run/shop.sock"));
    /// let session = local.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dialer<F, Fut, S>(mut self, dial: F) -> Self
    where
        F: Fn(String, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.dialer = Some(Arc::new(move |host, port| {
            let dialing = dial(host, port);
            Box::pin(async move { dialing.await.map(|stream| Box::new(stream) as Box<dyn Stream>) })
        }));
        self
    }

    /// Sets the TLS configuration for `wss:`. By default, the certificate authorities that browsers
    /// trust are trusted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = config;
        self
    }

    /// Opens the session. Dropping the future closes the connection.
    ///
    /// # Errors
    /// Returns a [`ConnectError`] if the URL or a header is malformed, if the server cannot be
    /// reached in time, or if it refuses the session.
    pub async fn connect(self) -> Result<Session, ConnectError> {
        let connect_timeout = self.connect_timeout;
        tokio::time::timeout(connect_timeout, self.open())
            .await
            .map_err(|_elapsed| ConnectError::TimedOut(connect_timeout))?
    }

    async fn open(self) -> Result<Session, ConnectError> {
        let address = Address::parse(&self.url)?;
        let authority = address.authority().to_owned();
        let span = tracing::debug_span!("session", server = authority);
        let (asked_for, ()) = self.headers.body(())?.into_parts();
        let mut dialer = Dialer {
            home: address.clone(),
            other: None,
            address,
            headers: asked_for.headers,
            limits: self.options.limits.clone(),
            keep_alive: self.keep_alive,
            who: self.who,
            unencrypted: self.unencrypted,
            dial: self.dialer,
            #[cfg(feature = "tls")]
            tls: self.tls,
        };
        if let Some(saved) = self.saved {
            let Self { main, options, rules, restorers, writer, .. } = self;
            let reattaching = Reattaching { saved, main, options, rules, restorers, writer };
            let Reattached { connection, saved_session, welcome, ready } = reattaching.run(&mut dialer).await?;
            let server = ServerInfo::of(&welcome);
            let keeper =
                Keeper::new(dialer, connection.clone(), &welcome, Arc::clone(&saved_session), self.connect_timeout);
            let events = connection.events();
            let (session, handles) = Session::new(connection.clone(), Some((server, saved_session)));
            tokio::spawn(keeper.keep(ready, handles).instrument(span));
            until_reconciled(&connection, events).await?;
            return Ok(session);
        }
        let repeated_until = repeated_until(self.connect_timeout);
        let mut plain = None;
        if self.resumes && !plain_servers::is_plain(&authority) {
            match linked(&dialer, self.identity, self.connect_timeout).await? {
                Hailed::Link(welcome, opening, ending) => {
                    let options = durable(self.options, self.restorers, &welcome.session_id);
                    let (connection, attached) = begin(&welcome, self.main, options, self.rules)?;
                    let saved_session = SavedSession::new(Welcome::clone(&welcome), self.writer);
                    if saved_session.saves() {
                        connection.save_tokens();
                        saved_session.save(&connection).await.map_err(ConnectError::NotSaved)?;
                    }
                    let server = ServerInfo::of(&welcome);
                    let keeper = Keeper::new(
                        dialer,
                        connection.clone(),
                        &welcome,
                        Arc::clone(&saved_session),
                        self.connect_timeout,
                    );
                    let first = Ready { opening, ending, attached };
                    let (session, handles) = Session::new(connection, Some((server, saved_session)));
                    tokio::spawn(keeper.keep(first, handles).instrument(span));
                    return Ok(session);
                }
                Hailed::Plain(socket) => plain = Some(*socket),
                Hailed::Declined => plain_servers::remember(&authority),
            }
        }
        let Socket { transport, ending } = match plain {
            Some(socket) => socket,
            None => repeated(repeated_until, || dialer.dial_plain()).await?,
        };
        let (connection, driver) = Connection::start(transport, self.main, self.options);
        let (session, handles) = Session::new(connection.clone(), None);
        let running = async move {
            let mut driver = pin!(driver);
            let closed = tokio::select! {
                closed = &mut driver => closed,
                () = handles.unused(&connection) => {
                    tracing::debug!("last handle of the session dropped");
                    connection.close();
                    driver.await
                }
            };
            let traffic = ending.finish().await;
            tracing::debug!(by = ?closed.by, message = closed.message, ?traffic, "session closed");
        };
        tokio::spawn(running.instrument(span));
        Ok(session)
    }
}

/// The first connection of a session.
enum Hailed {
    /// The server has opened a session with the link.
    Link(Box<Welcome>, Opening, Ending<Box<dyn Stream>>),
    /// The connection is that of a plain session.
    Plain(Box<Socket>),
    /// The server does not speak the link protocol, and the connection is of no use.
    Declined,
}

/// Opens the first connection of a session.
///
/// A hello whose answer was lost is repeated; the server recognizes it by its `hello_id`.
async fn linked(dialer: &Dialer, client: ClientIdentity, connect_timeout: Duration) -> Result<Hailed, ConnectError> {
    let hello = Hello {
        protocol: VERSIONS.to_vec(),
        features: dialer.features(),
        client,
        hello_id: Some(hello::random_id()),
        auth: dialer.who.credentials(None).await,
    };
    let repeated_until = repeated_until(connect_timeout);
    loop {
        let socket = match repeated(repeated_until, || dialer.offer_link()).await? {
            Offered::Link(socket) => socket,
            Offered::Plain(socket) => return Ok(Hailed::Plain(Box::new(socket))),
            Offered::Declined => return Ok(Hailed::Declined),
        };
        let (mut opening, ending) = Opening::of(socket);
        match opening.hello(&hello, &dialer.who).await {
            Ok(welcome) => return Ok(Hailed::Link(Box::new(welcome), opening, ending)),
            Err(Failure::Plain) => return Ok(Hailed::Declined),
            Err(Failure::Refused(refused)) => return Err(ConnectError::from_refused(refused)),
            Err(Failure::Gone(end)) => {
                tracing::debug!(%end, "connection ended before the welcome");
                tokio::time::sleep(PAUSE.min(connect_timeout)).await;
            }
        }
    }
}

/// Returns until when an interrupted handshake is repeated.
fn repeated_until(connect_timeout: Duration) -> Instant {
    deadline(connect_timeout / 2)
}

/// Dials, and repeats a handshake that was interrupted: a proxy or a restarting server may answer a
/// moment later.
async fn repeated<T, Fut>(repeated_until: Instant, dial: impl Fn() -> Fut) -> Result<T, ConnectError>
where
    Fut: Future<Output = Result<T, Undialed>>,
{
    loop {
        match dial().await {
            Err(Undialed::Cut(reason)) if Instant::now() < repeated_until => {
                tracing::debug!(reason, "handshake interrupted, repeating it");
                tokio::time::sleep(rand::random_range(PAUSE / 2..=PAUSE)).await;
            }
            dialed => return Ok(dialed?),
        }
    }
}

/// Creates the session that the server has welcomed, and attaches it to its first connection.
fn begin(
    welcome: &Welcome,
    main: Option<Stub>,
    options: SessionOptions,
    rules: LinkRules,
) -> Result<(Connection, Attached), ConnectError> {
    let rules = rules_of(welcome, rules);
    let keeps_bytes = rules.retain_bytes;
    let connection = Connection::linked(main, options, Role::Client, rules);
    let features = Features::of(&welcome.features);
    if features.durable {
        connection.keep_sent(keeps_bytes);
    }
    connection.set_lease(welcome.lease);
    let how = Attach::Resume { peer_processed: welcome.last_event_seq, peer_sends_after: None };
    let attached = connection.attach(features, how).map_err(ConnectError::from_refused)?;
    Ok((connection, attached))
}

/// Returns the rules with the heartbeats that the server determined.
pub(crate) fn rules_of(welcome: &Welcome, mut rules: LinkRules) -> LinkRules {
    if welcome.heartbeat_interval_sec > 0 {
        rules.heartbeat = Duration::from_secs(welcome.heartbeat_interval_sec);
        rules.dead_after = rules.heartbeat.saturating_mul(2);
    }
    rules
}

impl fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers contain credentials.
        f.debug_struct("SessionBuilder").field("url", &self.url).finish_non_exhaustive()
    }
}
