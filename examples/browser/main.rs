//! The point: a browser is a peer like any other. One trait gives the server's objects, the page's
//! types (`api.d.ts`), and what the page may do; the page uses the official `capnweb` package.
//!
//! Run it with `npm ci --prefix tests/node && cargo run --example browser`, and open the
//! address it prints in two windows. `cargo run --example browser -- --types` prints `api.d.ts`.
//!
//! Read `api.rs` first, then `app.js`, which is what a front end looks like: a sign-in that gives an
//! object, a call on it before it has arrived, a callback that the server calls, an error with
//! properties, and an object given back. `board.rs` is the server's side of each.

pub(crate) mod api;
mod board;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use bowline::{Peer, Service};
use tokio::net::TcpListener;

use self::api::BoardRef;

/// The package for browsers, as npm installs it.
pub(crate) const CAPNWEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/node_modules/capnweb/dist/index.js");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--types") {
        print!("{}", bowline::typescript::<BoardRef>());
        return Ok(());
    }
    let capnweb = std::fs::read_to_string(Path::new(CAPNWEB))
        .map_err(|error| format!("{CAPNWEB}: {error}; run `npm ci` in tests/node"))?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app(capnweb)).await?;
    Ok(())
}

/// The page and its parts, and the board under `/rpc`.
pub(crate) fn app(capnweb: String) -> Router {
    let hall = Arc::new(board::Hall::default());
    let rpc = Service::new(move |_peer: Peer| BoardRef::from_arc(Arc::clone(&hall)));
    Router::new()
        .route("/", get(|| async { Html(include_str!("index.html")) }))
        .route("/app.js", get(|| async { script(include_str!("app.js")) }))
        .route("/style.css", get(|| async { ([(CONTENT_TYPE, "text/css")], include_str!("style.css")) }))
        .route("/capnweb.js", get(|| async { script(capnweb) }))
        .route_service("/rpc", rpc)
}

fn script(text: impl Into<String>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript")], text.into())
}
