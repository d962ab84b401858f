//! The Rust client and the package of js/ send the same frames and messages for the same history. A server follows a
//! script, and what each client sends is compared with `link.trace`. `BOWLINE_BLESS=1` writes that file anew from what the
//! Rust client sends.

use std::process::Stdio;
use std::time::Duration;

use bowline::auth::Credentials;
use bowline::{CallError, Func, Session};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::node;

/// How long a client may take for a step.
const WITHIN: Duration = Duration::from_secs(10);

/// After this time without a text, a client has sent what it had to send. Acks are due after 100 ms.
const QUIET: Duration = Duration::from_millis(400);

#[bowline::interface]
trait Traced {
    async fn counter(&self) -> CounterRef;
    async fn ask(&self, double: Func<u32, u32>) -> u32;
}

#[bowline::interface]
trait Counter {
    async fn next(&self) -> u32;
}

/// A client that is told what to do. Unanswered calls are awaited by the step `answers`.
#[expect(clippy::large_enum_variant, reason = "each test has one")]
enum Client {
    Rust { session: Session, counter: Option<CounterRef>, calls: Vec<JoinHandle<String>> },
    Script { stdin: ChildStdin, lines: Lines<BufReader<ChildStdout>>, _child: Child },
}

fn outcome(answer: Result<u32, CallError>) -> String {
    match answer {
        Ok(answer) => answer.to_string(),
        Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.to_string()),
    }
}

/// Polls a call once, so that it is pulled before the driver of its session runs, and leaves the rest to a task.
fn begun(call: impl Future<Output = String> + Send + 'static) -> JoinHandle<String> {
    let mut call = Box::pin(call);
    match call.as_mut().now_or_never() {
        Some(outcome) => tokio::spawn(async move { outcome }),
        None => tokio::spawn(call),
    }
}

impl Client {
    async fn rust(url: String) -> Self {
        let connect = Session::builder(url).credentials(|_challenge| async { Credentials::bearer("secret") });
        Self::Rust { session: connect.connect().await.unwrap(), counter: None, calls: Vec::new() }
    }

    fn script(url: &str) -> Option<Self> {
        let mut command = node("trace.mjs")?;
        command.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("node runs");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        Some(Self::Script { stdin: child.stdin.take().expect("stdin is piped"), lines, _child: child })
    }

    /// Begins a step. `answers` is the only one that returns something.
    async fn step(&mut self, step: &str) -> String {
        let (session, counter, calls) = match self {
            Self::Script { stdin, lines, .. } => {
                stdin.write_all(format!("{step}\n").as_bytes()).await.unwrap();
                return timeout(WITHIN, lines.next_line()).await.expect("the script answers in time").unwrap().unwrap();
            }
            Self::Rust { session, counter, calls } => (session, counter, calls),
        };
        let root: TracedRef = session.root();
        let held = || counter.clone().expect("`counter` comes first");
        match step {
            "counter" => {
                let promise = root.counter();
                *counter = Some((*promise).clone());
                calls.push(begun(
                    async move { promise.await.map_or_else(|error| error.to_string(), |_| "held".into()) },
                ));
            }
            "next" => {
                let call = held().next();
                calls.push(begun(async move { outcome(call.await) }));
            }
            "pipeline" => {
                let other = root.counter();
                let call = other.next();
                calls.push(begun(async move { outcome(call.await) }));
                drop(other);
            }
            "ask" => {
                let call = root.ask(Func::new(|n: u32| async move { n * 2 }));
                calls.push(begun(async move { outcome(call.await) }));
            }
            "answers" => {
                let mut answers = Vec::new();
                for call in calls.drain(..) {
                    answers.push(timeout(WITHIN, call).await.expect("it is answered").unwrap());
                }
                return answers.join(" ");
            }
            other => panic!("{other}"),
        }
        String::new()
    }
}

/// The connection of a client, and what it has sent.
struct Server {
    listener: TcpListener,
    socket: Option<WebSocketStream<TcpStream>>,
    trace: String,
}

impl Server {
    /// Accepts a connection, selects the link, and sends the challenge.
    #[expect(clippy::result_large_err, reason = "the type of the callback is that of the WebSocket library")]
    async fn accept(&mut self, challenge: &str) {
        let (stream, _) = timeout(WITHIN, self.listener.accept()).await.expect("the client dials").unwrap();
        let select = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", "bowline.v1".parse().unwrap());
            Ok(response)
        };
        self.socket = Some(tokio_tungstenite::accept_hdr_async(stream, select).await.unwrap());
        self.trace.push_str("--- connection\n");
        self.send(&json!({ "type": "session.challenge", "challenge": challenge }).to_string()).await;
    }

    async fn send(&mut self, text: &str) {
        text.lines().for_each(|line| self.trace.push_str(&format!("s> {line}\n")));
        self.socket.as_mut().unwrap().send(Message::text(text)).await.unwrap();
    }

    /// Notes what the client sends until it is quiet.
    async fn listen(&mut self) {
        let socket = self.socket.as_mut().unwrap();
        while let Ok(Some(Ok(message))) = timeout(QUIET, socket.next()).await {
            let Message::Text(text) = message else { continue };
            text.lines().for_each(|line| self.trace.push_str(&format!("c> {}\n", normal(line))));
        }
    }

    fn cut(&mut self) {
        self.socket = None;
    }
}

/// Returns a line without what differs from client to client and from run to run.
fn normal(line: &str) -> String {
    let Ok(Value::Object(mut frame)) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    for random in ["client", "hello_id", "received_at", "sent_at"] {
        if frame.contains_key(random) {
            frame.insert(random.to_owned(), "…".into());
        }
    }
    // A page has nothing to list objects with.
    if let Some(Value::Array(features)) = frame.get_mut("features") {
        features.retain(|feature| feature != "list");
    }
    Value::Object(frame).to_string()
}

const FEATURES: [&str; 7] = ["ack", "heartbeat", "durable", "refresh", "drain", "lines", "calls"];

/// Opens a session, calls in both directions, resumes, is recovered with losses, and is drained.
async fn history(client: impl AsyncFnOnce(String) -> Option<Client>) -> Option<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let mut server = Server { listener, socket: None, trace: String::new() };
    let welcome = json!({
        "type": "session.welcome", "session_id": "s_1", "protocol": 1, "features": FEATURES, "runtime": {}, "epoch": 1,
        "resume_token": "token-1", "resume_key": "key-1", "resume_window_sec": 300, "heartbeat_interval_sec": 20,
        "last_event_seq": 0,
    });
    let greeted = async {
        server.accept("challenge-1").await;
        let hello = server.socket.as_mut().unwrap().next().await.unwrap().unwrap();
        server.trace.push_str(&format!("c> {}\n", normal(hello.to_text().unwrap())));
        server.send(&welcome.to_string()).await;
    };
    let (client, ()) = tokio::join!(client(url), greeted);
    let mut client = client?;
    server.listen().await;

    // Calls, and a callback.
    client.step("counter").await;
    server.listen().await;
    server.send(r#"["resolve",1,["export",-1]]"#).await;
    server.listen().await;
    client.step("next").await;
    client.step("pipeline").await;
    server.listen().await;
    server.send("[\"resolve\",2,1]\n[\"resolve\",4,1]").await;
    server.listen().await;
    client.step("ask").await;
    server.listen().await;
    server.send("+[\"push\",[\"pipeline\",-1,[],[21]]]").await;
    server.listen().await;
    server.send("[\"release\",1,1]\n[\"resolve\",5,42]\n{\"type\":\"session.ack\",\"last_processed_seq\":7}").await;
    server.listen().await;
    let answers = client.step("answers").await;
    server.trace.push_str(&format!("= {answers}\n"));

    // Frames that are answered, and a token of a checkpoint.
    server.send(r#"{"type":"session.ping","nonce":"7"}"#).await;
    server.listen().await;
    server.send(r#"{"type":"session.refresh","deadline":1700000600}"#).await;
    server.listen().await;
    let covers = json!({ "checkpoint": 1, "next_positive": 6 });
    let token = json!({ "type": "session.token", "resume_token": "token-2", "covers": covers });
    server.send(&token.to_string()).await;
    server.listen().await;

    // The connection ends with a call that has not arrived; the session resumes.
    client.step("next").await;
    server.listen().await;
    server.cut();
    server.accept("challenge-2").await;
    server.listen().await;
    let resumed = json!({
        "type": "session.resumed", "session_id": "s_1", "mode": "warm", "epoch": 2, "resume_token": "token-3",
        "resume_key": "key-2", "last_event_seq": 9, "replayed_from": 6,
    });
    server.send(&resumed.to_string()).await;
    server.listen().await;

    // The server's process is replaced: it knows the counter, and not the last call.
    server.cut();
    server.accept("challenge-3").await;
    server.listen().await;
    let left = json!({ "next_positive": 6, "restored": [-1], "imports": [] });
    let recovered = json!({
        "type": "session.resumed", "session_id": "s_1", "mode": "cold", "epoch": 3, "resume_token": "token-4",
        "resume_key": "key-3", "last_event_seq": 0, "replayed_from": 0, "left": left,
    });
    server.send(&recovered.to_string()).await;
    server.listen().await;
    let answers = client.step("answers").await;
    server.trace.push_str(&format!("= {answers}\n"));
    client.step("next").await;
    server.listen().await;

    // Calls that are made during a drain are held back.
    server.send(r#"{"type":"session.drain","retry_after_ms":1}"#).await;
    server.listen().await;
    server.send(r#"["resolve",7,2]"#).await;
    server.listen().await;
    client.step("next").await;
    server.listen().await;
    Some(server.trace)
}

#[tokio::test]
async fn both_clients_send_what_the_trace_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/node/link.trace");
    let rust = history(async |url| Some(Client::rust(url).await)).await.expect("the Rust client is always there");
    if std::env::var_os("BOWLINE_BLESS").is_some() {
        std::fs::write(file, &rust).unwrap();
    }
    let golden = std::fs::read_to_string(file).unwrap();
    assert!(rust == golden, "the Rust client sent\n{rust}\nin place of\n{golden}");
    let Some(script) = history(async |url| Client::script(&url)).await else { return };
    assert!(script == golden, "the package of js/ sent\n{script}\nin place of\n{golden}");
}
