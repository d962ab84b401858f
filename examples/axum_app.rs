//! The point: an application that has a router already gets Bowline on one route of it.
//!
//! Run it with `cargo run --example axum_app`. It starts the application, uses both of its routes
//! as clients would, and ends. Read `app` first.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use bowline::{Peer, Service};
use tokio::net::TcpListener;

/// Counts.
#[bowline::interface]
pub trait Counter {
    /// Adds to the count and gives the new one.
    async fn add(&self, by: u64) -> u64;
}

struct Visits(AtomicU64);

impl Counter for Visits {
    async fn add(&self, by: u64) -> u64 {
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }
}

/// The application: a page of its own, and objects under `/rpc`, by WebSocket and by HTTP batch.
fn app() -> Router {
    // One counter for all; a closure that makes one each time would give every session its own.
    let visits = CounterRef::new(Visits(AtomicU64::new(0)));
    let rpc = Service::new(move |_peer: Peer| visits.clone());
    Router::new().route("/healthz", get(|| async { "ok" })).route_service("/rpc", rpc)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app()).await });

    let session = bowline::connect(format!("ws://{address}/rpc")).await?;
    let counter: CounterRef = session.root();
    let by_socket = counter.add(1).await?;

    let batch = bowline::batch(format!("http://{address}/rpc"))?;
    let counter: CounterRef = batch.root();
    let by_request = batch.send(async move { counter.add(10).await }).await?;

    println!("over a WebSocket: {by_socket}, in one HTTP request: {by_request}");
    assert_eq!((by_socket, by_request), (1, 11));
    Ok(())
}
