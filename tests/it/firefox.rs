//! Headless Firefox, driven over WebDriver BiDi. The Debian package is `firefox-esr`; where it is not installed, the tests
//! that need it say so and do nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
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
pub(crate) struct Firefox {
    socket: WebSocketStream<TcpStream>,
    /// The browsing contexts of all pages, and that of the page in use.
    pages: Vec<String>,
    context: String,
    commands: u64,
    process: Child,
    profile: PathBuf,
}

impl Firefox {
    /// Starts a browser with an empty profile, and opens `url`. Returns `None` if Firefox is not installed.
    pub(crate) async fn open(url: &str) -> Option<Self> {
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("firefox-{}", std::process::id()));
        std::fs::remove_dir_all(&profile).ok();
        std::fs::create_dir_all(&profile).expect("a folder");
        let mut command = Command::new("firefox-esr");
        command.args([
            "--headless",
            "--no-remote",
            "--remote-debugging-port=0",
            "--width=900",
            "--height=760",
            "--profile",
        ]);
        command.arg(&profile).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let Ok(mut process) = command.spawn() else {
            println!("firefox-esr is not installed, so this test does nothing");
            return None;
        };
        let errors = process.stderr.take().expect("stderr is piped");
        let socket = timeout(2 * PATIENCE, connect(errors)).await.expect("firefox starts in time");
        let mut browser = Self { socket, pages: Vec::new(), context: String::new(), commands: 0, process, profile };
        browser.command("session.new", json!({ "capabilities": {} })).await;
        browser.open_another(url).await;
        Some(browser)
    }

    async fn command(&mut self, method: &str, params: Value) -> Value {
        self.commands += 1;
        let command = json!({ "id": self.commands, "method": method, "params": params });
        self.socket.send(Message::text(command.to_string())).await.expect("firefox listens");
        timeout(PATIENCE, self.answer(self.commands)).await.expect("firefox answers")
    }

    async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.socket.next().await.expect("firefox keeps the connection open");
            let Message::Text(text) = message.expect("firefox speaks WebSocket") else { continue };
            let mut message: Value = serde_json::from_str(&text).expect("firefox speaks JSON");
            if message["id"] == json!(id) {
                return if message["type"] == "error" { message } else { message["result"].take() };
            }
        }
    }
}

impl Browser for Firefox {
    async fn evaluate(&mut self, script: &str) -> Option<Value> {
        let params = json!({ "expression": script, "target": { "context": self.context }, "awaitPromise": true });
        let mut result = self.command("script.evaluate", params).await;
        (result["type"] == "success").then(|| result["result"]["value"].take())
    }

    async fn picture(&mut self, file: &Path) {
        let taken = self.command("browsingContext.captureScreenshot", json!({ "context": self.context })).await;
        let png = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(file, png).expect("the picture can be written");
    }

    async fn open_another(&mut self, url: &str) {
        let created = self.command("browsingContext.create", json!({ "type": "window" })).await;
        self.context = created["context"].as_str().expect("a context").to_owned();
        self.pages.push(self.context.clone());
        let params = json!({ "context": self.context, "url": url, "wait": "complete" });
        self.command("browsingContext.navigate", params).await;
    }

    fn switch_to(&mut self, page: usize) {
        self.context.clone_from(&self.pages[page]);
    }

    async fn set_frozen(&mut self, _frozen: bool) {
        // WebDriver has no command for that.
    }

    async fn set_dark(&mut self, _dark: bool) {
        // Nor for that.
    }

    async fn close(mut self) {
        self.command("browser.close", json!({})).await;
        timeout(PATIENCE, self.process.wait()).await.expect("firefox ends").expect("its exit status is known");
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

/// Connects to the address that the browser prints to stderr. Its other output is discarded.
async fn connect(errors: ChildStderr) -> WebSocketStream<TcpStream> {
    let mut lines = BufReader::new(errors).lines();
    let url = loop {
        let line = lines.next_line().await.expect("stderr is readable").expect("firefox prints its address");
        if let Some(url) = line.strip_prefix("WebDriver BiDi listening on ") {
            break format!("{url}/session");
        }
    };
    tokio::spawn(async move { while let Ok(Some(_line)) = lines.next_line().await {} });
    let address = url.trim_start_matches("ws://").trim_end_matches("/session");
    let stream = TcpStream::connect(address).await.expect("firefox listens");
    tokio_tungstenite::client_async(&url, stream).await.expect("firefox accepts the connection").0
}
