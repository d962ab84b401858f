//! An object that accepts and returns streams.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_core::peer::stream::{Reader, Sink, Writer};
use bowline_core::peer::testing::{Pair, pair};
use bowline_core::peer::{Args, CallError, Member, Object, RemoteError, Reply, Stub};
use bowline_core::value::{ErrorValue, Value};
use futures_core::Stream;
use serde::de::DeserializeOwned;

pub(crate) use crate::objects::{assert_idle, settle};
use crate::objects::{later, method, now};

/// What the tests observe.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) readers: Mutex<Vec<Reader<Value>>>,
    pub(crate) writers: Mutex<Vec<Writer<Value>>>,
    /// What sinks received, in order.
    pub(crate) sink: Mutex<Vec<String>>,
    /// The number of live local sources.
    pub(crate) sources: AtomicUsize,
}

impl Seen {
    pub(crate) fn reader(&self) -> Reader<Value> {
        self.readers.lock().unwrap().pop().unwrap()
    }

    pub(crate) fn writer(&self) -> Writer<Value> {
        self.writers.lock().unwrap().pop().unwrap()
    }

    pub(crate) fn sources(&self) -> usize {
        self.sources.load(Ordering::SeqCst)
    }

    pub(crate) fn sink(&self) -> Vec<String> {
        self.sink.lock().unwrap().clone()
    }

    fn note(&self, what: String) {
        self.sink.lock().unwrap().push(what);
    }
}

/// Yields 0, 1, 2, … up to `n`, then ends, or fails with `error`.
pub(crate) struct Count {
    next: u32,
    n: u32,
    error: Option<ErrorValue>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    slowly: bool,
    seen: Arc<Seen>,
}

impl Count {
    pub(crate) fn new(n: u32, seen: &Arc<Seen>) -> Self {
        seen.sources.fetch_add(1, Ordering::SeqCst);
        Self { next: 0, n, error: None, pause: None, slowly: false, seen: Arc::clone(seen) }
    }

    pub(crate) fn failing(n: u32, error: ErrorValue, seen: &Arc<Seen>) -> Self {
        let mut count = Self::new(n, seen);
        count.error = Some(error);
        count
    }

    pub(crate) fn slowly(mut self) -> Self {
        self.slowly = true;
        self
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.seen.sources.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stream for Count {
    type Item = Result<u32, ErrorValue>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.next == self.n {
            return Poll::Ready(self.error.take().map(Err));
        }
        self.next += 1;
        if self.slowly {
            self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(5))));
        }
        Poll::Ready(Some(Ok(self.next - 1)))
    }
}

/// Records what it receives, and refuses the chunk `"bad"`.
pub(crate) struct Notes(pub(crate) Arc<Seen>);

impl Sink<Value> for Notes {
    type Error = ErrorValue;

    async fn write(&mut self, chunk: Value) -> Result<(), ErrorValue> {
        match chunk.as_str() {
            Some("bad") => return Err(ErrorValue::new("RangeError", "a bad chunk")),
            Some("slow") => tokio::time::sleep(Duration::from_millis(20)).await,
            Some("never") => std::future::pending().await,
            _ => {}
        }
        self.0.note(format!("{chunk:?}"));
        Ok(())
    }

    async fn close(self) -> Result<(), ErrorValue> {
        self.0.note("closed".to_owned());
        Ok(())
    }

    async fn abort(self, reason: RemoteError) {
        self.0.note(format!("aborted: {reason}"));
    }
}

pub(crate) struct Api(pub(crate) Arc<Seen>);

impl Object for Api {
    fn interface(&self) -> &'static str {
        "Api"
    }

    fn members(&self) -> &'static [Member] {
        const MEMBERS: &[Member] = &[
            method("collect"),
            method("keepReader"),
            method("keepWriter"),
            method("drop"),
            method("count"),
            method("failing"),
            method("endless"),
            method("sink"),
            method("echo"),
            method("add"),
        ];
        MEMBERS
    }

    fn call(self: Arc<Self>, name: &str, args: Args) -> Option<Reply> {
        let seen = Arc::clone(&self.0);
        match name {
            "collect" => {
                let mut reader: Reader<Value> = args.decode().unwrap();
                later(async move { collect(&mut reader).await })
            }
            "keepReader" => {
                seen.readers.lock().unwrap().push(args.decode().unwrap());
                now(())
            }
            "keepWriter" => {
                seen.writers.lock().unwrap().push(args.decode().unwrap());
                now(())
            }
            "drop" => now(()),
            "count" => now(Reader::<u32>::from_stream(Count::new(args.decode().unwrap(), &seen))),
            "failing" => {
                let error = ErrorValue::new("RangeError", "broke off");
                now(Reader::<u32>::from_stream(Count::failing(args.decode().unwrap(), error, &seen)))
            }
            "endless" => now(Reader::<u32>::from_stream(Count::new(u32::MAX, &seen).slowly())),
            "sink" => now(Writer::<Value>::to_sink(Notes(seen))),
            "echo" => now(args.decode::<Value>().unwrap()),
            "add" => {
                let (a, b): (u32, u32) = args.decode().unwrap();
                now(a + b)
            }
            _ => None,
        }
    }

    fn get(self: Arc<Self>, _: &str) -> Option<Reply> {
        None
    }
}

/// Returns everything that a reader yields.
pub(crate) async fn collect<T: DeserializeOwned>(reader: &mut Reader<T>) -> Result<Vec<T>, CallError> {
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next().await {
        chunks.push(chunk?);
    }
    Ok(chunks)
}

/// Creates a client on the left and an [`Api`] on the right.
pub(crate) fn client() -> (Stub, Pair, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let pair = pair(None, Some(Stub::new(Api(Arc::clone(&seen)))));
    (pair.left.root_dyn(), pair, seen)
}
