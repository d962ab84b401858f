//! HTTP batches: calls that are sent as one request and answered in one response.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bowline_core::error::ErrorChain;
use bowline_core::limits::Limits;
use bowline_core::peer::{Connection, Reference, Stub, TransportEnd};
use bowline_core::session::CloseReason;
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

/// The maximum size of a request or response body. A Bowline server answers with at most 25 MB.
const BYTES_MAX: usize = 32 << 20;
/// Texts of the official client. Applications match on `ENDED`, so it is kept to the letter.
const ENDED: &str = "Batch RPC request ended.";
const UNSENT: &str = "The batch was dropped before it was sent.";
/// The content type that official clients send.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Creates a batch for the server at an `http:` or `https:` URL. `ws:` and `wss:` URLs name the
/// same servers.
///
/// Nothing is sent before [`Batch::send`].
///
/// ```no_run
/// # mod bowline { pub use bowline_client::batch; }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let batch = bowline::batch("https://example.com/rpc")?;
/// let api = batch.root_dyn();
/// let (user, news) = batch.send(async { tokio::join!(api.call("me", ()), api.call("news", ())) }).await;
/// # drop((user?, news?));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returns [`ConnectError::Url`] if the URL is malformed.
pub fn batch(url: impl AsRef<str>) -> Result<Batch, ConnectError> {
    let address = Address::parse(url.as_ref())?;
    let (lines, control) = Lines::new(BYTES_MAX);
    let (connection, driver) = Connection::start(lines, None, Limits::default());
    // The driver waits for no resource of the runtime and is polled until it is idle, so Tokio's
    // cooperative budget must not interrupt it.
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

/// Calls that are sent as one HTTP request.
///
/// The calls fail if the batch is dropped before it is sent.
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
    /// `None` once the batch was sent.
    driver: Option<Driver>,
    #[cfg(feature = "tls")]
    tls: Arc<rustls::ClientConfig>,
}

type Driver = Pin<Box<dyn Future<Output = CloseReason> + Send>>;

impl Batch {
    /// Returns the root object of the server.
    pub fn root<R: Reference>(&self) -> R {
        self.connection.root()
    }

    /// Returns the root object of the server as a reference without a type.
    pub fn root_dyn(&self) -> Stub {
        self.connection.root_dyn()
    }

    /// Adds a header to the request. If the header is malformed, the calls fail.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.request = std::mem::take(&mut self.request).header(name, value);
        self
    }

    /// Allows `authorization` and `cookie` headers to be sent over `http:` to other machines, where
    /// everyone on the network path can read them. By default, the calls fail instead. The headers
    /// are always sent to loopback addresses.
    pub fn allow_unencrypted(mut self) -> Self {
        self.unencrypted = Unencrypted::Allowed;
        self
    }

    /// Sets the TLS configuration for `https:`. By default, the certificate authorities that
    /// browsers trust are trusted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = config;
        self
    }

    /// Sends the batch and runs `future` to its end.
    ///
    /// The request contains all calls that are made before `future` first waits. Calls that are
    /// made later, and calls that the response does not answer, fail with `Batch RPC request
    /// ended.`
    ///
    /// Returns when `future` has ended and the response was read. If no call was made, nothing is
    /// sent. There is no timeout. If the returned future is dropped early, the calls fail, although
    /// the server may have run them.
    pub async fn send<F: Future>(mut self, future: F) -> F::Output {
        let mut future = pin!(maybe_done(future));
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        let mut driver = self.driver.take().expect("only `send` takes the driver, and it consumes the batch");
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
        future.take_output().expect("the future has just completed")
    }
}

#[cfg(feature = "tls")]
type BatchConnector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type BatchConnector = HttpConnector;

impl Batch {
    /// Returns the request, or the error that the calls fail with.
    fn checked_request(&mut self) -> Result<request::Builder, ConnectError> {
        let request = std::mem::take(&mut self.request);
        if request.headers_ref().is_some_and(hold_credentials) && !self.unencrypted.allows(&self.address) {
            return Err(ConnectError::unencrypted(self.address.authority(), CREDENTIALS));
        }
        Ok(request)
    }

    #[cfg(feature = "tls")]
    fn connector(&self) -> BatchConnector {
        let mut tls = (*self.tls).clone();
        // The connector negotiates protocols itself, and panics if the configuration does, too.
        tls.alpn_protocols.clear();
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        https.enable_http1().wrap_connector(tcp())
    }

    #[cfg(not(feature = "tls"))]
    fn connector(&self) -> BatchConnector {
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

/// Polls the driver of a session until it is idle. Returns `true` if the session has ended.
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

/// Sends the queued messages, passes the response to the session, and ends its transport.
async fn exchange(request: Result<request::Builder, ConnectError>, connector: BatchConnector, control: LinesControl) {
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

/// Returns the text of the response, or the message that the calls fail with.
async fn post(
    request: Result<request::Builder, ConnectError>,
    connector: BatchConnector,
    body: String,
) -> Result<String, String> {
    let failed = |error: &dyn fmt::Display| format!("RPC request failed: {error}");
    let request = request.map_err(|error| failed(&ErrorChain(&error)))?;
    let mut request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed(&error))?;
    request.headers_mut().entry(CONTENT_TYPE).or_insert(TEXT);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.request(request).await.map_err(|error| failed(&ErrorChain(&error)))?;
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
    // The connector is also used below TLS, where the scheme is `https`.
    tcp.enforce_http(false);
    tcp
}
