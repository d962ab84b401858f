//! Mounts Bowline on one route of an axum application, and shuts both down gracefully.
//!
//! Run it with `cargo run --example axum_app`. It starts the application, calls it over a WebSocket
//! and in an HTTP batch, stops it, and exits. Read `serve` first.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bowline::{Peer, Service};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A counter that all clients share.
#[bowline::interface]
pub trait Counter {
    /// Adds `by` to the count and returns the new count.
    async fn add(&self, by: u64) -> u64;
}

struct Visits(AtomicU64);

impl Counter for Visits {
    async fn add(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }
}

/// Serves a health check and, under `/rpc`, the counter, until `shutdown` completes.
async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    // The counter is created once, so all sessions share it. To give each session a counter of its
    // own, create it inside the closure.
    let visits = CounterRef::new(Visits(AtomicU64::new(0)));
    let rpc = Service::new(move |_peer: Peer| visits.clone());
    let app = Router::new().route("/healthz", get(|| async { "ok" })).route_service("/rpc", rpc.clone());
    let drained = async move {
        shutdown.await;
        // Running calls get five seconds to complete.
        let report = rpc.drain(Duration::from_secs(5)).await;
        println!("drained; {} calls were cut off", report.calls_cut);
    };
    axum::serve(listener, app).with_graceful_shutdown(drained).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // A real application would wait for SIGTERM instead of this channel.
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, async { drop(stopped.await) }));

    let session = bowline::connect(format!("ws://{address}/rpc")).await?;
    let counter: CounterRef = session.root();
    let over_websocket = counter.add(1).await?;

    let batch = bowline::batch(format!("http://{address}/rpc"))?;
    let counter: CounterRef = batch.root();
    let in_batch = batch.send(async move { counter.add(10).await }).await?;

    println!("over a WebSocket: {over_websocket}; in an HTTP batch: {in_batch}");
    assert_eq!((over_websocket, in_batch), (1, 11));

    stop.send(()).map_err(|()| "the server stopped by itself")?;
    server.await??;
    Ok(())
}
