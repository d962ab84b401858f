//! A client and a server in one process, as programs have them but for the dial: typed references,
//! sessions with the link, WebSocket frames. The caller chooses what carries the frames.

use std::sync::atomic::{AtomicU32, Ordering};

use bowline::error::Never;
use bowline::link::{Features, LinkRules};
use bowline::transport::Connection;
use bowline::transport::SessionOptions;
use bowline::{Bytes, Func, Reference};
use bowline_core::endpoint::Attach;
use bowline_core::link::Role as Side;
use bowline_transport::{KeepAlive, Metered, WebSocket, config};
use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// What the server has.
#[bowline::interface]
pub(crate) trait Api {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn bytes(&self, bytes: Bytes) -> Bytes;
    async fn counter(&self) -> CounterRef;
    /// Answers what `ask` does.
    async fn ask(&self, ask: Func<u32, u32>, of: u32) -> Result<u32, Never>;
}

/// An object that is made by a call.
#[bowline::interface]
pub(crate) trait Counter {
    async fn next(&self) -> u32;
}

/// The server's object.
pub(crate) struct Served;

struct Counting(AtomicU32);

impl Api for Served {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn bytes(&self, bytes: Bytes) -> Bytes {
        bytes
    }
    async fn counter(&self) -> CounterRef {
        CounterRef::new(Counting(AtomicU32::new(0)))
    }
    async fn ask(&self, ask: Func<u32, u32>, of: u32) -> Result<u32, Never> {
        Ok(ask.call(of).await.expect("the client answers"))
    }
}

impl Counter for Counting {
    async fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A session between two streams that are connected to each other.
pub(crate) struct Joined {
    pub(crate) client: Connection,
    pub(crate) server: Connection,
    pub(crate) api: ApiRef,
}

/// Begins a session over two ends of one carrier; both sides run as tasks.
pub(crate) async fn join<S>(of_client: S, of_server: S, options: SessionOptions) -> Joined
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let main = ApiRef::new(Served).stub().clone();
    let client = Connection::linked(None, options.clone(), Side::Client, LinkRules::default());
    let server = Connection::linked(Some(main), options, Side::Server, LinkRules::default());
    carry(&client, of_client, Role::Client).await;
    carry(&server, of_server, Role::Server).await;
    Joined { api: client.root(), client, server }
}

/// As [`join`], over a pipe in memory that holds what is under way at once.
pub(crate) async fn join_in_memory(options: SessionOptions) -> Joined {
    const PIPE_BYTES: usize = 1 << 20;
    let (of_client, of_server): (DuplexStream, DuplexStream) = tokio::io::duplex(PIPE_BYTES);
    join(of_client, of_server, options).await
}

async fn carry<S>(connection: &Connection, stream: S, role: Role)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // What the default server and client agree upon: nothing outlives the process.
    let features = Features { durable: false, ..Features::ALL };
    let attached = connection.attach(features, Attach::New).expect("a session that is new has no transport");
    let config = config(&bowline::Limits::default());
    let socket = WebSocketStream::from_raw_socket(Metered::new(stream), role, Some(config)).await;
    let (transport, ending, _parting) = WebSocket::new(socket, KeepAlive::default());
    let turn = connection.drive(attached.attachment, transport, None);
    tokio::spawn(async move {
        turn.await;
        ending.finish().await;
    });
}

impl Joined {
    /// One call.
    pub(crate) async fn call(&self) {
        assert_eq!(self.api.add(1, 2).await.expect("it answers"), 3);
    }

    /// 64 calls made before the first is answered.
    pub(crate) async fn calls_at_once(&self) {
        let answers = join_all((0..64).map(|n| self.api.add(n, 2).into_future())).await;
        assert!((0..64).zip(answers).all(|(n, answer)| answer.expect("it answers") == n + 2));
    }

    /// Eight calls, each on the answer of the one before, in one round trip.
    pub(crate) async fn chain(&self) {
        let mut sum = self.api.add(1, 1);
        for _ in 1..8 {
            sum = self.api.add(sum, 1);
        }
        assert_eq!(sum.await.expect("it answers"), 9);
    }

    /// An object is made, called twice and dropped, all before it has arrived.
    pub(crate) async fn object(&self) {
        let counter = self.api.counter();
        let (first, second) = (counter.next(), counter.next());
        assert_eq!((first.await.expect("it answers"), second.await.expect("it answers")), (1, 2));
    }

    /// The server calls a function that was passed to it.
    pub(crate) async fn callback(&self) {
        let ask = Func::new(|n: u32| async move { n + 1 });
        assert_eq!(self.api.ask(ask, 41).await.expect("it answers"), 42);
    }

    /// `bytes` there and back.
    pub(crate) async fn bytes(&self, bytes: &[u8]) {
        let answer = self.api.bytes(Bytes::new(bytes)).await.expect("it answers");
        assert_eq!(answer.as_slice().len(), bytes.len());
    }
}
