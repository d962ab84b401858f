//! The server under test, a hand-written object, and peers that speak raw WebSocket and HTTP.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::peer::{Args, Lifetime, Member, MemberKind, Object, Repeat, Reply, Stub, reply};
use bowline_server::Service;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The maximum time that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// `add(a, b)`; `repeat(text, times)`; `nap(ms)` returns `"rested"`; `hang()` never returns.
pub(crate) struct Api;

impl Object for Api {
    fn interface(&self) -> &'static str {
        "Api"
    }

    fn members(&self) -> &'static [Member] {
        const METHOD: MemberKind = MemberKind::Method;
        &[
            Member { name: "add", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
            Member { name: "repeat", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
            Member { name: "nap", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
            Member { name: "hang", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
        ]
    }

    fn call(self: Arc<Self>, method: &str, args: Args) -> Option<Reply> {
        Some(match method {
            "add" => Box::pin(async { reply(args.decode::<(i64, i64)>().map(|(a, b)| a + b)) }),
            "repeat" => {
                Box::pin(async { reply(args.decode::<(String, usize)>().map(|(text, times)| text.repeat(times))) })
            }
            "nap" => Box::pin(async {
                let ms = args.decode::<(u64,)>().unwrap().0;
                tokio::time::sleep(Duration::from_millis(ms)).await;
                reply::<_, bowline_core::peer::Never>(Ok("rested"))
            }),
            "hang" => Box::pin(pending()),
            _ => return None,
        })
    }

    fn get(self: Arc<Self>, _property: &str) -> Option<Reply> {
        None
    }
}

pub(crate) fn service() -> Service {
    Service::new(|_peer| Stub::new(Api))
}

/// Serves on a free port until the test ends.
pub(crate) async fn serve(service: Service) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(service.serve(listener));
    address
}

/// A peer on a WebSocket, and the unread lines of the last text that it received.
pub(crate) struct Socket(pub(crate) WebSocketStream<TcpStream>, VecDeque<String>);

impl Socket {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/rpc");
        let (socket, _answer) = within(tokio_tungstenite::client_async(url, stream)).await.unwrap();
        Self::of(socket)
    }

    pub(crate) fn of(socket: WebSocketStream<TcpStream>) -> Self {
        Self(socket, VecDeque::new())
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// Returns the next message or frame, `close CODE REASON`, or `end`.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            if let Some(line) = self.1.pop_front() {
                return line;
            }
            match within(self.0.next()).await {
                Some(Ok(Message::Text(text))) => self.1.extend(text.lines().map(str::to_owned)),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return format!("close {} {}", u16::from(frame.code), frame.reason);
                }
                Some(Ok(Message::Close(None)) | Err(_)) | None => return "end".to_owned(),
                Some(Ok(_)) => {}
            }
        }
    }
}

/// Connects from the given loopback address: all of 127.0.0.0/8 belongs to this machine.
pub(crate) async fn connect_from(from: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    within(socket.connect(address)).await.unwrap()
}

/// Opens a raw connection and completes the WebSocket handshake.
pub(crate) async fn raw_socket(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(!head.to_lowercase().contains("sec-websocket-extensions"), "{head}");
    stream
}

/// Reads frames up to the close frame and returns `close CODE REASON`, or `end` if there is none.
pub(crate) async fn read_close(stream: &mut TcpStream) -> String {
    loop {
        let Ok(head) = within(stream.read_u16()).await else { return "end".to_owned() };
        let mut length = usize::from(head & 0x7f);
        if length == 126 {
            length = usize::from(within(stream.read_u16()).await.unwrap());
        }
        let mut payload = vec![0; length];
        within(stream.read_exact(&mut payload)).await.unwrap();
        if head >> 8 == 0x88 {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            return format!("close {code} {}", String::from_utf8_lossy(&payload[2..]));
        }
    }
}

/// Returns a frame that is masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = announce(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// Returns the header of a masked frame, which may announce more bytes than follow.
pub(crate) fn announce(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(0x80 | length as u8),
        126..0x1_0000 => {
            head.push(0x80 | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

/// Sends a batch and returns status line, headers, and body as received.
pub(crate) async fn post(address: SocketAddr, body: &str) -> String {
    let length = body.len();
    request(address, &format!("POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")).await
}

/// Sends a request and reads everything until the server closes the connection.
pub(crate) async fn request(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// Returns status and body of a response that [`post`] returned.
pub(crate) fn body(answer: &str) -> (&str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (&head["HTTP/1.1 ".len()..][..3], body)
}

/// Returns the resident memory of this process.
pub(crate) fn rss_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}
