//! The objects under test, and a server for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_core::peer::{Args, Lifetime, Member, MemberKind, Never, Object, Repeat, Reply, Stub, reply};
use bowline_server::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// `add(a, b)`; `hang()` never returns; `counter()` returns an object with `next()`; `ask(f)` returns the
/// result of `f(20)`.
pub(crate) struct Api;

struct Counter(std::sync::atomic::AtomicU32);

const METHOD: MemberKind = MemberKind::Method;

impl Object for Api {
    fn interface(&self) -> &'static str {
        "Api"
    }

    fn members(&self) -> &'static [Member] {
        &[
            Member { name: "add", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
            Member { name: "hang", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
            Member { name: "counter", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
            Member { name: "ask", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session },
        ]
    }

    fn call(self: Arc<Self>, method: &str, args: Args) -> Option<Reply> {
        Some(match method {
            "add" => Box::pin(async { reply(args.decode::<(i64, i64)>().map(|(a, b)| a + b)) }),
            "hang" => Box::pin(std::future::pending()),
            "counter" => Box::pin(async { reply::<_, Never>(Ok(Stub::new(Counter(0.into())))) }),
            "ask" => Box::pin(async {
                let (ask,) = args.decode::<(Stub,)>().unwrap();
                let answer = ask.call("", (20,)).await;
                reply::<_, Never>(Ok(answer.unwrap()))
            }),
            _ => return None,
        })
    }

    fn get(self: Arc<Self>, _property: &str) -> Option<Reply> {
        None
    }
}

impl Object for Counter {
    fn interface(&self) -> &'static str {
        "Counter"
    }

    fn members(&self) -> &'static [Member] {
        &[Member { name: "next", kind: METHOD, args: &[], repeat: Repeat::Never, lifetime: Lifetime::Session }]
    }

    fn call(self: Arc<Self>, method: &str, _args: Args) -> Option<Reply> {
        let next = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        (method == "next").then(|| Box::pin(async move { reply::<_, Never>(Ok(next)) }) as Reply)
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

/// Answers every request with the same bytes, and records the requests.
pub(crate) async fn canned(answer: &'static str) -> (SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = requests.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _peer) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 << 10];
            let mut length = 0;
            loop {
                // Requests in these tests are small, so they arrive completely within 50 ms.
                let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut request[length..])).await;
                match read {
                    Ok(Ok(1..)) => length += read.unwrap().unwrap(),
                    _ => break,
                }
            }
            seen.lock().unwrap().push(String::from_utf8(request[..length].to_vec()).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it takes too long")
}
