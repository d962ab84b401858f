//! Valid and nearly valid values that one client sends to another through a server: see relay.mjs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bowline::error::ErrorValue;
use bowline::{Service, Stub, Thrown, Value};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{WITHIN, node};

#[bowline::interface]
pub(crate) trait Relay {
    async fn join(&self, name: String, target: Stub) -> bool;
    async fn show(&self, name: String, what: Value) -> Result<Value, Thrown>;
    async fn ask(&self, name: String) -> Result<Value, Thrown>;
    /// Returns the target itself, so that the server forwards calls on it without decoding them.
    async fn peer(&self, name: String) -> Result<Stub, ErrorValue>;
    async fn ping(&self) -> bool;
}

#[derive(Clone, Default)]
struct Exchange(Arc<Mutex<HashMap<String, Stub>>>);

impl Exchange {
    fn of(&self, name: &str) -> Result<Stub, ErrorValue> {
        let found = self.0.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| ErrorValue::new("RangeError", "nothing has this name"))
    }
}

impl Relay for Exchange {
    async fn join(&self, name: String, target: Stub) -> bool {
        let before = self.0.lock().unwrap().insert(name, target);
        // Dropped after the lock is released, because dropping a reference sends a message.
        drop(before);
        true
    }

    async fn show(&self, name: String, what: Value) -> Result<Value, Thrown> {
        Ok(self.of(&name)?.call("see", (what,)).await?)
    }

    async fn ask(&self, name: String) -> Result<Value, Thrown> {
        Ok(self.of(&name)?.call("tell", ()).await?)
    }

    async fn peer(&self, name: String) -> Result<Stub, ErrorValue> {
        self.of(&name)
    }

    async fn ping(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_ends_the_session_of_another_client() {
    let Some(mut node) = node("relay.mjs") else { return };
    let exchange = Exchange::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(Service::new(move |_peer| RelayRef::new(exchange.clone())).serve(listener));
    let seed = std::env::var("BOWLINE_SEED").unwrap_or_else(|_| "20261130".to_owned());
    let run = node.arg(url).arg(seed).output();
    let output = timeout(WITHIN, run).await.expect("the values pass in time").expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
