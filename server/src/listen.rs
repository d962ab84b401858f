//! A standalone server: accepts connections for a service and speaks HTTP/1.1 on them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_transport::FAR;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout, timeout_at};

use crate::error::ServerError;
use crate::peer_info::PeerAddress;
use crate::permits::ConnectionPermit;
use crate::reply::RETRY_AFTER_SECONDS;
use crate::service::Service;

/// Bounds of the pause after `accept` failed for lack of file descriptors or memory. It doubles
/// while `accept` keeps failing.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The number of refused connections that may read the refusal at the same time. Further ones are
/// closed at once.
const REFUSALS_MAX: usize = 64;
/// How long a refused connection may take to close.
pub(crate) const REFUSAL_MAX: Duration = Duration::from_secs(1);
/// The smallest buffer that hyper accepts.
const HEADER_BYTES_MIN: usize = 8 << 10;

impl Service {
    /// Listens on `address` and serves until the service is [drained](Self::drain).
    ///
    /// # Errors
    /// Returns a [`ServerError`] if the server cannot listen on the address. Later failures are
    /// logged.
    pub async fn listen(self, address: impl ToSocketAddrs + ToString) -> Result<(), ServerError> {
        let name = address.to_string();
        let listener =
            TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address: name, source })?;
        self.serve(listener).await;
        Ok(())
    }

    /// Serves the connections of `listener` on every path, until the service is
    /// [drained](Self::drain).
    ///
    /// During the drain, requests on new connections are answered with 503. Cancel-safe: if the
    /// future is dropped, no further connections are accepted, and open sessions continue.
    pub async fn serve(self, listener: TcpListener) {
        let service = self.hosts_of_listener(listener.local_addr().ok());
        service.run(&listener).await;
    }

    async fn run(&self, listener: &TcpListener) {
        let drained = async {
            let deadlines = self.sessions.draining().await;
            self.emptied(deadlines).await;
        };
        tokio::select! {
            () = drained => {}
            () = self.accept(listener) => {}
        }
    }

    /// Accepts connections forever. A failure of one connection does not affect others.
    async fn accept(&self, listener: &TcpListener) {
        // Shared by all connections, so that none has a copy.
        let service = Arc::new(self.clone());
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        let mut pause = ACCEPT_PAUSE_MIN;
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections");
                    sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                    continue;
                }
            };
            pause = ACCEPT_PAUSE_MIN;
            match self.connections.admit(self.address_group(address), &self.http) {
                Ok(permit) if self.has_proxy_header(address) => {
                    drop(tokio::spawn(Arc::clone(&service).connection_of_proxy(stream, address, permit)));
                }
                Ok(permit) => drop(tokio::spawn(Arc::clone(&service).connection(stream, address, permit))),
                Err(why) => {
                    tracing::debug!(%address, why, "connection refused");
                    if let Ok(permit) = refusals.clone().try_acquire_owned() {
                        tokio::spawn(async move {
                            // After the timeout, the connection is closed.
                            drop(timeout(REFUSAL_MAX, refuse(stream, why)).await);
                            drop(permit);
                        });
                    }
                }
            }
        }
    }

    fn has_proxy_header(&self, address: SocketAddr) -> bool {
        self.proxies.as_ref().is_some_and(|proxies| proxies.precede_connections_from(address.ip()))
    }

    pub(crate) async fn connection(self: Arc<Self>, stream: TcpStream, address: SocketAddr, permit: ConnectionPermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.http.handshake.min(FAR))
            .max_headers(self.http.headers)
            .max_buf_size(self.http.header_bytes.max(HEADER_BYTES_MIN));
        let service = Arc::clone(&self);
        let held = permit.clone();
        let respond = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddress(address));
            held.mark_used();
            request.extensions_mut().insert(held.clone());
            let service = Arc::clone(&service);
            async move { Ok::<_, Infallible>(service.respond(request).await) }
        });
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), respond).with_upgrades());
        // A connection that was opened during the drain is kept until its request was refused.
        let came_late = self.sessions.is_draining();
        let served = tokio::select! {
            served = &mut connection => served,
            () = permit.displaced() => {
                tracing::debug!(%address, "connection displaced by those of other addresses");
                return;
            }
            deadlines = self.sessions.draining() => {
                if !came_late {
                    connection.as_mut().graceful_shutdown();
                }
                timeout_at(deadlines.all, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = served {
            tracing::debug!(%address, %error, "connection failed");
        }
    }
}

/// Returns whether the error concerns a connection that ended before it was accepted. Other errors
/// concern the process.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers without reading the request, and waits until the peer has closed the connection: closing
/// a socket with unread bytes would reset the connection before the peer reads the answer.
pub(crate) async fn refuse(mut stream: TcpStream, why: &'static str) -> io::Result<()> {
    let length = why.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {RETRY_AFTER_SECONDS}\r\nconnection: close\r\n\
         content-type: text/plain;charset=UTF-8\r\ncontent-length: {length}\r\n\r\n{why}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}
