//! Headless Chromium, driven over the DevTools protocol. The Debian package is `chromium`;
//! `BOWLINE_SKIP=chromium` skips the tests that need it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::browser::Browser;

/// How long the browser may take to start, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page, or with several, of which one is in use.
pub(crate) struct Page {
    socket: WebSocketStream<TcpStream>,
    /// The DevTools session of the page that is in use; empty for the browser itself.
    session: String,
    /// Those of all pages.
    pages: Vec<String>,
    commands: u64,
    process: Child,
    profile: PathBuf,
}

impl Page {
    /// Starts a browser with an empty profile, and opens `url`.
    pub(crate) async fn open(url: &str) -> Self {
        static BROWSERS: AtomicUsize = AtomicUsize::new(0);
        let browser = format!("chromium-{}-{}", std::process::id(), BROWSERS.fetch_add(1, Ordering::Relaxed));
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(browser);
        std::fs::remove_dir_all(&profile).ok();
        let mut process = start(&profile);
        let errors = process.stderr.take().expect("stderr is piped");
        let socket = timeout(PATIENCE, connect(errors)).await.expect("chromium starts in time");
        let mut page = Self { socket, session: String::new(), pages: Vec::new(), commands: 0, process, profile };
        page.open_another(url).await;
        page
    }

    async fn command(&mut self, method: &str, params: Value) -> Value {
        self.commands += 1;
        let id = self.commands;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(command.to_string())).await.expect("chromium listens");
        timeout(PATIENCE, self.answer(id)).await.expect("chromium answers")
    }

    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self
                .socket
                .next()
                .await
                .expect("chromium keeps the connection open")
                .expect("chromium speaks WebSocket");
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).expect("chromium speaks JSON");
            if message["id"] == json!(id) {
                return message["result"].take();
            }
        }
    }
}

impl Browser for Page {
    async fn evaluate(&mut self, script: &str) -> Option<Value> {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let mut result = self.command("Runtime.evaluate", params).await;
        result["exceptionDetails"].is_null().then(|| result["result"]["value"].take())
    }

    async fn picture(&mut self, file: &Path) {
        let taken = self.command("Page.captureScreenshot", json!({})).await;
        let png = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(file, png).expect("the picture can be written");
    }

    async fn open_another(&mut self, url: &str) {
        self.session.clear();
        let created = self.command("Target.createTarget", json!({ "url": url, "newWindow": true })).await;
        let target = json!({ "targetId": created["targetId"], "flatten": true });
        let attached = self.command("Target.attachToTarget", target).await;
        self.session = attached["sessionId"].as_str().expect("an attached target has a session").to_owned();
        self.pages.push(self.session.clone());
    }

    fn switch_to(&mut self, page: usize) {
        self.session.clone_from(&self.pages[page]);
    }

    async fn set_dark(&mut self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    async fn set_frozen(&mut self, frozen: bool) {
        let state = if frozen { "frozen" } else { "active" };
        self.command("Page.setWebLifecycleState", json!({ "state": state })).await;
    }

    async fn close(mut self) {
        self.session.clear();
        self.command("Browser.close", json!({})).await;
        timeout(PATIENCE, self.process.wait()).await.expect("chromium ends").expect("its exit status is known");
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

fn start(profile: &Path) -> Child {
    const SWITCHES: [&str; 10] = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=900,760",
        "--remote-debugging-port=0",
    ];
    let started = Command::new("chromium")
        .args(SWITCHES)
        .arg(format!("--user-data-dir={}", profile.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let Ok(process) = started else {
        panic!("chromium is missing: apt-get install chromium, or set BOWLINE_SKIP=chromium")
    };
    process
}

/// Connects to the address that the browser prints to stderr. Its other output is discarded.
async fn connect(errors: ChildStderr) -> WebSocketStream<TcpStream> {
    let mut lines = BufReader::new(errors).lines();
    let url = loop {
        let line = lines.next_line().await.expect("stderr is text").expect("chromium prints its address");
        if let Some(url) = line.strip_prefix("DevTools listening on ") {
            break url.to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let address = url.trim_start_matches("ws://").split('/').next().expect("a host");
    let stream = TcpStream::connect(address).await.expect("chromium listens");
    tokio_tungstenite::client_async(&url, stream).await.expect("chromium speaks WebSocket").0
}
