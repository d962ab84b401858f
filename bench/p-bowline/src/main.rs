//! Bowline with typed references and sessions over WebSocket. `bowline` uses the link, as Bowline peers
//! do by default; `bowline-plain` does not, like browsers.

use std::net::SocketAddr;
use std::rc::Rc;

use bowline::{Bytes, Func, HttpLimits, Limits, Service, Session};
use bowline::error::Never;
use common::{Conn, announce, peer_main};
use futures::future::join_all;

#[bowline::interface]
trait Bench {
    async fn echo(&self, text: String) -> String;
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn bytes(&self, bytes: Bytes) -> Bytes;
    async fn make(&self) -> CounterRef;
    async fn callback(&self, called: Func<u32, u32>, times: u32, at_once: bool) -> Result<u32, Never>;
}

#[bowline::interface]
trait Counter {
    async fn next(&self) -> i64;
}

struct Api;

struct Counting(std::sync::atomic::AtomicI64);

impl Counter for Counting {
    async fn next(&self) -> i64 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
    }
}

impl Bench for Api {
    async fn echo(&self, text: String) -> String {
        text
    }
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn bytes(&self, bytes: Bytes) -> Bytes {
        bytes
    }
    async fn make(&self) -> CounterRef {
        CounterRef::new(Counting(0.into()))
    }
    async fn callback(&self, called: Func<u32, u32>, times: u32, at_once: bool) -> Result<u32, Never> {
        let mut sum = 0;
        if at_once {
            let calls = (0..times).map(|n| called.call(n).into_future());
            sum = join_all(calls).await.into_iter().map(|answer| answer.expect("it answers")).sum();
        } else {
            for n in 0..times {
                sum += called.call(n).await.expect("it answers");
            }
        }
        Ok(sum)
    }
}

/// Raises the limits, because a million live objects exceed the default.
fn limits() -> Limits {
    Limits::default().table_entries(2_000_000)
}

async fn serve() {
    let http = HttpLimits::default().connections(20_000).connections_per_address(20_000);
    let service = Service::new(|_peer| BenchRef::new(Api)).limits(limits()).http_limits(http);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    announce(listener.local_addr().expect("it is bound").port());
    service.serve(listener).await;
}

struct Client {
    /// Held because the session ends with its last handle.
    _session: Session,
    api: BenchRef,
}

impl Conn for Client {
    type Obj = CounterRef;

    fn supports(_kind: &str, _work: &str) -> bool {
        true
    }

    async fn connect(kind: &str, address: SocketAddr) -> Rc<Self> {
        let connect = Session::builder(format!("ws://{address}")).limits(limits());
        let connect = if kind == "bowline-plain" { connect.plain() } else { connect };
        let session = connect.connect().await.expect("the server is there");
        let api = session.root();
        Rc::new(Self { _session: session, api })
    }

    async fn echo(&self, text: &str) -> usize {
        self.api.echo(text.to_owned()).await.expect("it answers").len()
    }

    async fn add(&self, a: i64, b: i64) -> i64 {
        self.api.add(a, b).await.expect("it answers")
    }

    async fn bytes(&self, bytes: &[u8]) -> usize {
        self.api.bytes(Bytes::new(bytes)).await.expect("it answers").as_slice().len()
    }

    /// Passes the promise of each call as the argument of the next: one round trip in all.
    async fn chain8(&self) -> i64 {
        let mut sum = self.api.add(1, 1);
        for _ in 0..7 {
            sum = self.api.add(sum, 1);
        }
        sum.await.expect("it answers")
    }

    async fn churn(&self) {
        let counter = self.api.make();
        let (one, two) = futures::join!(counter.next().into_future(), counter.next().into_future());
        assert_eq!((one.expect("it answers"), two.expect("it answers")), (1, 2));
    }

    async fn make(&self) -> CounterRef {
        self.api.make().await.expect("it answers")
    }

    async fn callback(&self, times: u32, at_once: bool) {
        let called = Func::new(|n: u32| async move { n });
        let sum = self.api.callback(called, times, at_once).await.expect("it answers");
        assert_eq!(sum, (0..times).sum::<u32>());
    }
}

fn main() {
    peer_main::<Client>(serve());
}
