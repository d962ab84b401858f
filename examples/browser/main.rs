//! Serves a web page whose script is a full peer of the server. One set of traits defines the server's
//! objects and the types of the page (`api.d.ts`). The page uses the official `capnweb` package.
//!
//! Run it with `npm ci --prefix tests/node && cargo run --example browser`, and open the printed address
//! in two windows. `cargo run --example browser -- --types` prints `api.d.ts`.
//!
//! Read `api.rs` first, then `app.js`, which shows what a front end does: it joins and gets an object,
//! calls that object before it has arrived, passes a callback, shows an error with properties, and
//! disposes the object. `board.rs` is the server's side.

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

/// The browser build of `capnweb`, where npm installs it.
pub(crate) const CAPNWEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/node_modules/capnweb/dist/index.js");

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--types") {
        print!("{}", bowline::typescript::declarations::<BoardRef>());
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

/// Routes the page, its script and style, `capnweb`, and the board under `/rpc`.
pub(crate) fn app(capnweb: String) -> Router {
    let board = Arc::new(board::SharedBoard::default());
    let rpc = Service::new(move |_peer: Peer| BoardRef::from_arc(Arc::clone(&board)));
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
