//! Sessions and batches over TLS, with a certificate of the test. The server is bare hyper on a TLS stream,
//! which also tests upgrades of streams other than TCP sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use bowline_client::rustls::pki_types::PrivateKeyDer;
use bowline_client::rustls::{ClientConfig, RootCertStore, ServerConfig};
use bowline_client::{ConnectError, Session, batch, connect};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::harness::{service, within};

/// Starts a server on `localhost`. Returns its address and a client configuration that trusts it.
async fn serve_tls() -> (SocketAddr, Arc<ClientConfig>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![own.cert.der().clone()], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _peer) = listener.accept().await.unwrap();
            // Fails for clients that do not trust the certificate.
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let respond = service_fn(|request| service().call(request));
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), respond).with_upgrades());
        }
    });
    (address, Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

#[tokio::test]
async fn session_over_tls() {
    let (address, trust) = serve_tls().await;
    let url = format!("wss://localhost:{}/rpc", address.port());
    let session = within(Session::builder(url.clone()).tls(trust).connect()).await.unwrap();
    assert_eq!(session.root_dyn().call("add", (2, 3)).await.unwrap(), 5.into());
    let untrusted = within(connect(url)).await.unwrap_err();
    assert!(matches!(untrusted, ConnectError::Unreachable { .. }), "{untrusted}");
}

#[tokio::test]
async fn batch_over_tls() {
    let (address, trust) = serve_tls().await;
    let batch = batch(format!("https://localhost:{}/rpc", address.port())).unwrap().tls(trust);
    let api = batch.root_dyn();
    let five = within(batch.send(async move { api.call("add", (2, 3)).await })).await;
    assert_eq!(five.unwrap(), 5.into());
}
