//! HTTP batch: calls that are sent as one request, and whose answers are one answer.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bowline_core::limits::Limits;
use bowline_core::peer::{Connection, Reference, Stub, TransportEnd};
use bowline_core::session::Closed;
use bowline_transport::{Lines, LinesControl};
use bytes::Bytes;
use futures_util::future::maybe_done;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::dial::{Unencrypted, hold_credentials};
use crate::error::{CREDENTIALS, ConnectError};
use crate::url::Address;

/// Bytes of a request or an answer. Servers of ours answer with 25 MB at most.
const BYTES_MAX: usize = 32 << 20;
/// The words of official clients, which applications match on.
const ENDED: &str = "Batch RPC request ended.";
const UNSENT: &str = "The batch was dropped before it was sent.";
/// The type official clients send.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Begins a batch for the server at an `http:` or `https:` URL; `ws:` and `wss:` mean the same.
/// Nothing is sent before [`Batch::send`].
///
/// # Errors
/// The URL is malformed.
pub fn batch(url: impl AsRef<str>) -> Result<Batch, ConnectError> {
    let address = Address::parse(url.as_ref())?;
    let (lines, control) = Lines::new(BYTES_MAX);
    let (connection, driver) = Connection::start(lines, None, Limits::default());
    // It waits for nothing of the runtime's, and is polled until it rests: it needs no budget.
    let driver = Box::pin(tokio::task::unconstrained(driver));
    Ok(Batch {
        request: Request::post(address.http()),
        address,
        unencrypted: Unencrypted::default(),
        connection,
        control,
        driver: Some(driver),
        #[cfg(feature = "tls")]
        tls: crate::tls::config(),
    })
}

/// Calls that will be sent as one HTTP request.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let batch = bowline_client::batch("https://example.com/rpc")?;
/// let api = batch.root_dyn();
/// let user = batch.send(async move { api.call("me", ()).get("name").await }).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the calls of a batch fail when it is dropped unsent"]
pub struct Batch {
    request: request::Builder,
    address: Address,
    unencrypted: Unencrypted,
    connection: Connection,
    control: LinesControl,
    /// `None` once it is sent.
    driver: Option<Driver>,
    #[cfg(feature = "tls")]
    tls: Arc<rustls::ClientConfig>,
}

type Driver = Pin<Box<dyn Future<Output = Closed> + Send>>;

impl Batch {
    /// The server's root object.
    pub fn root<R: Reference>(&self) -> R {
        self.connection.root()
    }

    /// The server's root object, untyped.
    pub fn root_dyn(&self) -> Stub {
        self.connection.root_dyn()
    }

    /// Sends a header with the request. One that is malformed fails the calls.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.request = std::mem::take(&mut self.request).header(name, value);
        self
    }

    /// Sends `authorization` and `cookie` headers over `http:` to other machines, where everybody on
    /// the way can read them. Without, the calls fail rather than do so. To this machine they are
    /// always sent.
    pub fn allow_unencrypted(mut self) -> Self {
        self.unencrypted = Unencrypted::Allowed;
        self
    }

    /// Sets whom to trust on `https:`. Without, the certificate authorities that browsers trust.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = config;
        self
    }

    /// Sends the batch and runs `future` to its end. Everything that was asked for until
    /// `future` waits for the first time is one request; what it asks for later, and what the
    /// answer leaves open, fails with `Batch RPC request ended.`
    ///
    /// Returns when `future` has ended and the answer is read, and sends nothing when there was
    /// nothing to send. There is no time limit. Dropped early, the open calls fail; the server
    /// may have run them.
    pub async fn send<F: Future>(mut self, future: F) -> F::Output {
        let mut future = pin!(maybe_done(future));
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        let mut driver = self.driver.take().expect("only `send` takes it, and takes the batch");
        let mut over = run_until_idle(&mut driver);
        let request = self.checked_request();
        let mut exchange = pin!(maybe_done(exchange(request, self.connector(), self.control.clone())));
        poll_fn(|cx| {
            let exchanged = exchange.as_mut().poll(cx).is_ready();
            over = over || driver.as_mut().poll(cx).is_ready();
            let done = future.as_mut().poll(cx).is_ready();
            if exchanged && done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        future.take_output().expect("it has just ended")
    }
}

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

impl Batch {
    /// The request, or what the calls fail with.
    fn checked_request(&mut self) -> Result<request::Builder, ConnectError> {
        let request = std::mem::take(&mut self.request);
        if request.headers_ref().is_some_and(hold_credentials) && !self.unencrypted.allows(&self.address) {
            return Err(ConnectError::unencrypted(self.address.authority(), CREDENTIALS));
        }
        Ok(request)
    }

    #[cfg(feature = "tls")]
    fn connector(&self) -> Connector {
        let mut tls = (*self.tls).clone();
        // The connector negotiates protocols itself, and refuses a config that does, too.
        tls.alpn_protocols.clear();
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        https.enable_http1().wrap_connector(tcp())
    }

    #[cfg(not(feature = "tls"))]
    fn connector(&self) -> Connector {
        tcp()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(mut driver) = self.driver.take() {
            self.control.end(TransportEnd::Failed(UNSENT.to_owned()));
            run_until_idle(&mut driver);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers hold credentials.
        f.debug_struct("Batch").field("url", &self.request.uri_ref()).finish_non_exhaustive()
    }
}

/// Lets a session write down all it was asked for; true when that was its end.
fn run_until_idle(driver: &mut Driver) -> bool {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    while woken.0.swap(false, Ordering::SeqCst) {
        if driver.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
    }
    false
}

/// Sends what the session has written and hands it the answer, then its end.
async fn exchange(request: Result<request::Builder, ConnectError>, connector: Connector, control: LinesControl) {
    let body = control.take();
    let mut end = ENDED.to_owned();
    if !body.is_empty() {
        match post(request, connector, body).await {
            Ok(answer) => answer.lines().for_each(|line| control.push(line.to_owned())),
            Err(error) => end = error,
        }
    }
    control.end(TransportEnd::Failed(end));
}

/// The text of the answer, or what the calls fail with.
async fn post(
    request: Result<request::Builder, ConnectError>,
    connector: Connector,
    body: String,
) -> Result<String, String> {
    let failed = |error: &dyn fmt::Display| format!("RPC request failed: {error}");
    let request = request.map_err(|error| failed(&error))?;
    let mut request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed(&error))?;
    request.headers_mut().entry(CONTENT_TYPE).or_insert(TEXT);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.request(request).await.map_err(|error| failed(&Chain(&error)))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(failed(&status));
    }
    let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await.map_err(|error| failed(&error))?;
    String::from_utf8(body.to_bytes().into()).map_err(|_invalid| failed(&"the answer is not UTF-8"))
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_MAX));
    // Plain HTTP is not all it is asked for: TLS goes on top.
    tcp.enforce_http(false);
    tcp
}

/// An error with its causes, which hyper keeps out of its own text.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.source().map_or(Ok(()), |cause| write!(f, ": {}", Chain(cause)))
    }
}
