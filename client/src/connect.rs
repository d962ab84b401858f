//! Opening a session: with the link where the server speaks it, else plain.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::endpoint::Attached;
use bowline_core::limits::Limits;
use bowline_core::link::handshake::VERSIONS;
use bowline_core::link::{ClientIdentity, Credentials, Features, Hello, Joint, LinkRules, Role, Secret, Welcome};
use bowline_core::peer::{Connection, Options, Reference, Restorers, Stub};
use bowline_core::value::ErrorValue;
use bowline_transport::{Ending, KeepAlive, deadline};
use http::{HeaderName, HeaderValue, request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::Instrument;

use crate::dial::{Connector, Dialer, Socket, Spoken, Stream, Undialed, Unencrypted};
use crate::error::ConnectError;
use crate::hello::{self, Failure, Opening};
use crate::keeper::{Keeper, Ready};
use crate::plain;
use crate::reattach::{Reattached, Reattaching, durable, until_reconciled};
use crate::saved::{Papers, Writer};
use crate::session::{Server, Session};
use crate::url::Address;
use crate::who::Who;

/// The pause before a hello or a resume is repeated.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

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
    resumes: bool,
    rules: LinkRules,
    who: Who,
    restorers: Option<Arc<Restorers>>,
    writer: Option<Writer>,
    saved: Option<Vec<u8>>,
    identity: ClientIdentity,
    keep_alive: KeepAlive,
    within: Duration,
    unencrypted: Unencrypted,
    connector: Option<Arc<Connector>>,
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
            resumes: true,
            rules: LinkRules::default(),
            who: Who::Anybody,
            restorers: None,
            writer: None,
            saved: None,
            identity: hello::identity(),
            keep_alive: KeepAlive::default(),
            within: WITHIN,
            unencrypted: Unencrypted::default(),
            connector: None,
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
        self.options.limits = limits.into();
        self
    }

    /// Sets what is sent in place of each error; see [`Options::on_send_error`].
    pub fn on_send_error(mut self, hook: impl Fn(ErrorValue) -> ErrorValue + Send + Sync + 'static) -> Self {
        self.options = self.options.on_send_error(hook);
        self
    }

    /// Shows the server who we are: in the session's first frame, and where the server does not
    /// know of those, in a header `Authorization`.
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.who = Who::Bearer(Secret::new(token));
        self
    }

    /// Sets who is asked for credentials, each time that the server wants to see some: when the
    /// session begins, when it goes on over another connection, and before what we may do ends.
    /// Gets what the credentials are to answer to, where the server says so. Dropped with the
    /// connection for which it was asked.
    pub fn credentials<F, Fut>(mut self, ask: F) -> Self
    where
        F: Fn(Option<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Credentials> + Send + 'static,
    {
        self.who = Who::asked(ask);
        self
    }

    /// Sets what the server is told of this program. Nothing of it is proof of anything.
    pub fn identity(mut self, identity: ClientIdentity) -> Self {
        self.identity = identity;
        self
    }

    /// Speaks plain Cap'n Web at once: the session ends with its connection. Without, that is what
    /// happens with servers that do not know how to resume.
    pub fn plain(mut self) -> Self {
        self.resumes = false;
        self
    }

    /// Sets where the session is saved, so that this program, started anew, can go on with it by
    /// [`reattach`](Self::reattach). `write` gets all of it, and what it wrote before counts no more
    /// once it has ended well: to a file, write beside it and rename. The bytes are a secret as the
    /// credentials are.
    ///
    /// Called when the session begins, when it goes on over another connection, when the server
    /// has kept a newer state of it, and by [`Session::save`]; never twice at the same time. The
    /// server learns that the client has a newer token only when that is saved. A write that fails
    /// is tried again after a second. With a server that does not resume there is nothing to save.
    pub fn save<F, Fut>(mut self, write: F) -> Self
    where
        F: Fn(Vec<u8>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<()>> + Send + 'static,
    {
        self.writer = Some(Writer::new(write));
        self
    }

    /// Sets who makes our own objects again, in a program that goes on with the session of an
    /// earlier one: those that the server holds and that have a recipe.
    pub fn restorers(mut self, restorers: Restorers) -> Self {
        self.restorers = Some(Arc::new(restorers));
        self
    }

    /// Goes on with a session that an earlier process of this program has [saved](Self::save). The
    /// session is the same one to the server: its variables are there, and so are the references
    /// that were kept by [`Session::keep`], as far as the server still has what they refer to. All
    /// else that the earlier process held is released, its calls are nobody's, and what it had
    /// given to the server fails there with `CAPABILITY_LOST` unless [`restorers`](Self::restorers)
    /// can make it again.
    ///
    /// [`connect`](Self::connect) fails with `RESUME_WINDOW_EXPIRED` if the session is not there any
    /// more; then begin a new one.
    pub fn reattach(mut self, saved: impl Into<Vec<u8>>) -> Self {
        self.saved = Some(saved.into());
        self
    }

    /// Sets what is kept to be sent again. The server decides about heartbeats.
    pub fn link_rules(mut self, rules: LinkRules) -> Self {
        self.rules = rules;
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

    /// Sends credentials, and the tokens by which a session is resumed, over `ws:` to other machines,
    /// where everybody on the way can read them and take the session over. Without,
    /// [`connect`](Self::connect) fails with [`ConnectError::Unencrypted`] rather than do so. To this
    /// machine (`localhost`, 127.0.0.0/8, `[::1]`) they are always sent.
    pub fn allow_unencrypted(mut self) -> Self {
        self.unencrypted = Unencrypted::Allowed;
        self
    }

    /// Sets how a byte stream to a server is opened, in place of TCP: through a proxy, over a Unix
    /// socket, or in the memory of a test. `dial` gets the server's host and port, which are those of
    /// the URL or of the address that a server has redirected to. It is called for each connection,
    /// and its future is dropped when the connection is not needed any more. TLS for `wss:` is
    /// negotiated on top of the stream. Whether secrets may be sent without TLS is decided by the
    /// host alone; see [`allow_unencrypted`](Self::allow_unencrypted).
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let local = bowline_client::Connect::new("ws://localhost/rpc")
    ///     .connector(|_host, _port| tokio::net::UnixStream::connect("/run/shop.sock"));
    /// let session = local.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connector<F, Fut, S>(mut self, dial: F) -> Self
    where
        F: Fn(String, u16) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.connector = Some(Arc::new(move |host, port| {
            let dialing = dial(host, port);
            Box::pin(async move { dialing.await.map(|stream| Box::new(stream) as Box<dyn Stream>) })
        }));
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
            connector: self.connector,
            #[cfg(feature = "tls")]
            tls: self.tls,
        };
        if let Some(saved) = self.saved {
            let Self { main, options, rules, restorers, writer, .. } = self;
            let reattaching = Reattaching { saved, main, options, rules, restorers, writer };
            let Reattached { connection, papers, welcome, ready } = reattaching.go_on(&mut dialer).await?;
            let server = Server::of(&welcome);
            let keeper = Keeper::new(dialer, connection.clone(), &welcome, Arc::clone(&papers), self.within);
            let events = connection.events();
            let (session, handles) = Session::new(connection.clone(), Some((server, papers)));
            tokio::spawn(keeper.keep(ready, handles).instrument(span));
            until_reconciled(&connection, events).await?;
            return Ok(session);
        }
        if self.resumes && !plain::is_plain(&authority) {
            match linked(&dialer, self.identity, self.within).await? {
                Some((welcome, opening, ending)) => {
                    let options = durable(self.options, self.restorers, &welcome.session_id);
                    let (connection, attached) = begin(&welcome, self.main, options, self.rules)?;
                    let papers = Papers::new(welcome.clone(), self.writer);
                    if papers.saves() {
                        connection.link(|endpoint| endpoint.save_tokens());
                        papers.save(&connection).await.map_err(ConnectError::NotSaved)?;
                    }
                    let server = Server::of(&welcome);
                    let keeper = Keeper::new(dialer, connection.clone(), &welcome, Arc::clone(&papers), self.within);
                    let first = Ready { opening, ending, attached };
                    let (session, handles) = Session::new(connection, Some((server, papers)));
                    tokio::spawn(keeper.keep(first, handles).instrument(span));
                    return Ok(session);
                }
                None => plain::remember(&authority),
            }
        }
        let declined = || ConnectError::Handshake("the server speaks a protocol that was not asked for".to_owned());
        let repeated_until = repeated_until(self.within);
        let Socket { transport, ending } = dial(&dialer, Spoken::Plain, repeated_until).await?.ok_or_else(declined)?;
        let (connection, driver) = Connection::start(transport, self.main, self.options);
        let (session, handles) = Session::new(connection.clone(), None);
        let running = async move {
            let mut driver = pin!(driver);
            let closed = tokio::select! {
                closed = &mut driver => closed,
                () = handles.unused(&connection) => {
                    tracing::debug!("the last handle on the session was dropped");
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

/// A session's first socket; `None` when the server does not speak the link.
///
/// A hello whose answer was lost is repeated: the server knows it again.
async fn linked(
    dialer: &Dialer,
    client: ClientIdentity,
    within: Duration,
) -> Result<Option<(Welcome, Opening, Ending<Box<dyn Stream>>)>, ConnectError> {
    let hello = Hello {
        protocol: VERSIONS.to_vec(),
        features: dialer.features(),
        client,
        hello_id: Some(hello::random_id()),
        auth: dialer.who.credentials(None).await,
    };
    let repeated_until = repeated_until(within);
    loop {
        let Some(socket) = dial(dialer, Spoken::Link, repeated_until).await? else { return Ok(None) };
        let (mut opening, ending) = Opening::of(socket);
        match opening.hello(&hello, &dialer.who).await {
            Ok(welcome) => return Ok(Some((welcome, opening, ending))),
            Err(Failure::Plain) => return Ok(None),
            Err(Failure::Refused(refused)) => return Err(ConnectError::from_refused(refused)),
            Err(Failure::Gone(end)) => {
                tracing::debug!(%end, "no welcome");
                tokio::time::sleep(PAUSE.min(within)).await;
            }
        }
    }
}

/// Until when a handshake that is cut is repeated.
fn repeated_until(within: Duration) -> Instant {
    deadline(within / 2)
}

/// A new socket, as [`Dialer::dial`] makes it. A handshake that was cut is repeated: a proxy or a
/// server that restarts answers a moment later.
async fn dial(dialer: &Dialer, spoken: Spoken, repeated_until: Instant) -> Result<Option<Socket>, ConnectError> {
    loop {
        match dialer.dial(spoken).await {
            Err(Undialed::Cut(reason)) if Instant::now() < repeated_until => {
                tracing::debug!(reason, "the handshake was cut, and is repeated");
                tokio::time::sleep(rand::random_range(PAUSE / 2..=PAUSE)).await;
            }
            dialed => return Ok(dialed?),
        }
    }
}

/// The session that a server has welcomed, on its first socket.
fn begin(
    welcome: &Welcome,
    main: Option<Stub>,
    options: Options,
    rules: LinkRules,
) -> Result<(Connection, Attached), ConnectError> {
    let rules = rules_of(welcome, rules);
    let keeps_bytes = rules.retain_bytes;
    let connection = Connection::linked(main, options, Role::Client, rules);
    let features = Features::of(&welcome.features);
    if features.durable {
        connection.link(|endpoint| endpoint.keep_sent(keeps_bytes));
    }
    let joint = Joint { peer_processed: welcome.last_event_seq, peer_sends_after: None, features };
    connection.link(|endpoint| endpoint.set_lease(welcome.lease));
    let attached = connection.attach(joint).map_err(ConnectError::from_refused)?;
    Ok((connection, attached))
}

/// The server decides about heartbeats.
pub(crate) fn rules_of(welcome: &Welcome, mut rules: LinkRules) -> LinkRules {
    if welcome.heartbeat_interval_sec > 0 {
        rules.heartbeat = Duration::from_secs(welcome.heartbeat_interval_sec);
        rules.dead_after = rules.heartbeat.saturating_mul(2);
    }
    rules
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold credentials.
        f.debug_struct("Connect").field("url", &self.url).finish_non_exhaustive()
    }
}
