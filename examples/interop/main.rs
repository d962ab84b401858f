//! A server with a method for every feature of a session, for conformance tests against other
//! implementations: `cargo run --release --example interop -- --port 4100`.
//!
//! `contract` declares the methods, and `service` implements them.

mod contract;
mod counter;
mod data;
mod describe;
mod fetch;
mod made;
mod objects;
mod service;
mod streams;
mod tables;
mod text;

use bowline::{HttpLimits, Limits, Service};
use clap::Parser;
use contract::InteropRef;
use tokio::net::TcpListener;

/// Serves the interop interface on the loopback address.
#[derive(Parser)]
struct Options {
    /// The port to listen on; 0 chooses a free port.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// Limits as high as Cap'n Web allows, because a conformance test may reach them. A public server
/// should use `Limits::public`.
fn limits() -> Limits {
    Limits::default()
        // 32 Mi UTF-16 units, each of which can be three bytes.
        .message_bytes(96 << 20)
        .key_bytes(96 << 20)
        .message_nodes(64 << 20)
        .path_steps(10_000)
        .table_entries(1 << 20)
        .held_bytes(512 << 20)
        .running_calls(1 << 16)
        .outbound_bytes(512 << 20)
}

fn http_limits() -> HttpLimits {
    let limits = HttpLimits::default();
    // All test clients share one address.
    let connections = limits.connections;
    limits.connections_per_address(connections).batch_bytes(96 << 20).batch_messages(100_000)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let service = Service::new(|_peer| InteropRef::new(service::Main::new()));
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    service.limits(limits()).http_limits(http_limits()).serve(listener).await;
    Ok(())
}
