//! Serves a web page whose script is a full peer of the server, and whose session survives what happens to its
//! connection and to the server. One set of traits defines the server's objects and the types of the page (`api.d.ts`).
//!
//! Run it with `cargo run --example browser`, and open the printed address in two windows. Pull the plug of one, add
//! tasks in both, crash the server, reload: no task is lost or doubled, and no window has to join again.
//! `cargo run --example browser -- --types` prints `api.d.ts`.
//!
//! Read `api.rs` first, then `app.js`, which shows what a front end does: it joins and gets an object, calls that object
//! before it has arrived, passes a callback, shows an error with properties, shows the state of its session, and keeps
//! the object over a reload. `board.rs` is the server's side. This file starts the server as a process of its own, and
//! another one whenever that ends. `bowline-client.js` is the package of js/ together with `capnweb`.

pub(crate) mod api;
mod board;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use bowline::auth::{Key, KeyRing};
use bowline::{Peer, Recovery, Resumption, Service};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;

use self::api::BoardRef;
use self::board::SharedBoard;

const TO_TRY: &str = "
Open it in two windows, join under two names, and try:
  - Pull the plug in one window, and add tasks in both.
  - Crash the server. Another process takes its place.
  - Reload a window.
No task is lost, none is there twice, and no window has to join again.";

#[derive(Parser)]
struct Args {
    /// Prints the declarations of the page.
    #[arg(long)]
    types: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this process does. Without a role, it starts servers.
#[derive(Subcommand)]
enum Role {
    Serve { address: String, file: PathBuf },
}

fn main() -> Result<(), Box<dyn Error>> {
    let Args { types, role } = Args::parse();
    if types {
        print!("{}", bowline::typescript::declarations::<BoardRef>());
        return Ok(());
    }
    match role {
        Some(Role::Serve { address, file }) => tokio::runtime::Runtime::new()?.block_on(serve(&address, &file)),
        None => supervise(),
    }
}

/// Starts a server, and another one whenever it crashes.
fn supervise() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let address = format!("127.0.0.1:{port}");
    let file = std::env::temp_dir().join(format!("bowline-board-{}.json", std::process::id()));
    println!("http://{address}\n{TO_TRY}\n");
    loop {
        let ended = Command::new(std::env::current_exe()?).arg("serve").arg(&address).arg(&file).status()?;
        if ended.code().is_some() {
            return Err(format!("the server exited with {ended}").into());
        }
        println!("The server was ended by a signal ({ended}); starting another.");
    }
}

/// Serves the board until the process ends.
pub(crate) async fn serve(address: &str, file: &Path) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    axum::serve(listener, app(file.to_owned())?).await?;
    Ok(())
}

/// Routes the page, its scripts and style, and the board under `/rpc`.
pub(crate) fn app(file: PathBuf) -> Result<Router, Box<dyn Error>> {
    let board = SharedBoard::open(file);
    // Each client stores its own session, sealed, in its token. A store is not needed as long as there is one process at
    // a time.
    let recovery = Recovery::in_tokens_unfenced().restorers(board.restorers());
    let mut resumption = Resumption::default();
    // Every server process needs the same key. A real one is loaded from a secret store.
    resumption.keys = KeyRing::new(Key::new("example", &[7; 32])?).into();
    let rpc = Service::new(move |_peer: Peer| BoardRef::from_arc(board.clone()));
    let router = Router::new()
        .route("/", get(|| async { Html(include_str!("index.html")) }))
        .route("/app.js", get(|| async { script(include_str!("app.js")) }))
        .route("/bowline-client.js", get(|| async { script(include_str!("bowline-client.js")) }))
        .route("/style.css", get(|| async { ([(CONTENT_TYPE, "text/css")], include_str!("style.css")) }))
        .route_service("/rpc", rpc.resumption(resumption).recovery(recovery));
    Ok(router)
}

fn script(text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript")], text)
}
