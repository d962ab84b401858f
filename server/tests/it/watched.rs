//! Counters, spans, and log events of sessions through `tracing`, as listed in docs/link.md.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bowline_core::error::ErrorCode;
use bowline_server::Credentials;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::harness::{serve, service, within};
use crate::link::{Linked, code, hello_of};

/// A subscriber that sums up counters and records all text.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    counters: Arc<Mutex<BTreeMap<String, u64>>>,
    said: Arc<Mutex<String>>,
    spans: Arc<AtomicU64>,
    infos: Arc<AtomicU64>,
}

impl Watch {
    pub(crate) fn of(&self, counter: &str) -> u64 {
        self.counters.lock().unwrap().get(counter).copied().unwrap_or(0)
    }

    pub(crate) async fn until(&self, counter: &str, count: u64) {
        let reached = async {
            while self.of(counter) < count {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        within(reached).await;
        assert_eq!(self.of(counter), count, "{counter}");
    }
}

impl Visit for &Watch {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.said.lock().unwrap().push_str(&format!("{}={value:?} ", field.name()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name().strip_prefix("monotonic_counter.bowline_") {
            Some(counter) => *self.counters.lock().unwrap().entry(counter.to_owned()).or_default() += value,
            None => self.record_debug(field, &value),
        }
    }
}

impl Subscriber for Watch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bowline")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.said.lock().unwrap().push_str(&format!("span {} ", span.metadata().name()));
        span.record(&mut &*self);
        Id::from_u64(self.spans.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        values.record(&mut &*self);
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if *event.metadata().level() == tracing::Level::INFO {
            self.infos.fetch_add(1, Ordering::SeqCst);
        }
        event.record(&mut &*self);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[tokio::test]
async fn session_events_are_counted_and_no_secret_is_logged() {
    let watch = Watch::default();
    let _watching = tracing::subscriber::set_default(watch.clone());
    // While there has been only one subscriber, tracing asks only the subscriber of the thread that first
    // reaches a call site, and caches the answer. If that is the thread of another test, which has no
    // subscriber, the events of that call site would never be seen. A second dispatcher prevents that.
    let _another = tracing::Dispatch::new(watch.clone());
    let service =
        service().authenticate(|token: &str| (token == "s3cret").then(|| bowline_server::Principal::new("ann")));
    let address = serve(service.clone()).await;
    let hello = hello_of(Credentials::bearer("s3cret"));
    let (first, greeting) = Linked::greet(address, &hello).await;
    let bowline_core::link::Frame::Welcome(welcome) = greeting else { panic!("{greeting:?}") };
    watch.until("sessions_opened", 1).await;
    drop(first);
    watch.until("sessions_detached", 1).await;
    let (token, key) = (&welcome.resume_token, &welcome.resume_key);
    let (mut second, resumed) = Linked::resume(address, token, key, 0).await;
    let resumed = resumed.unwrap();
    watch.until("sessions_resumed", 1).await;
    second.socket.send(r#"["push",["pipeline",0,["add"],[1,2]]]"#).await;
    second.socket.send(r#"["pull",1]"#).await;
    assert_eq!(second.message().await, r#"["resolve",1,3]"#);
    assert_eq!(code(Linked::resume(address, token, key, 0).await.1), "RESUME_TOKEN_REPLAYED");
    watch.until("tokens_replayed", 1).await;
    watch.until("sessions_refused", 1).await;
    assert!(service.evict(&welcome.session_id, &ErrorCode::from("MOVED_OUT"), "moved out"));
    watch.until("sessions_evicted", 1).await;
    let (mut third, _) = Linked::greet(address, &hello).await;
    third.socket.send(r#"{"type":"session.close"}"#).await;
    watch.until("sessions_opened", 2).await;
    watch.until("sessions_closed", 2).await;
    let said = watch.said.lock().unwrap().clone();
    assert!(said.contains(&format!("span session id=\"{}\" epoch=2", welcome.session_id)), "{said}");
    for secret in ["s3cret", token.expose(), key.expose(), resumed.resume_token.expose(), resumed.resume_key.expose()] {
        assert!(!said.contains(secret), "{said}");
    }
}

/// Refused credentials are counted and logged, whether they came over the link, a plain WebSocket, or a batch.
#[tokio::test]
async fn refused_credentials_are_counted_and_no_token_is_logged() {
    let watch = Watch::default();
    let _watching = tracing::subscriber::set_default(watch.clone());
    let _another = tracing::Dispatch::new(watch.clone());
    let service = service().authenticate(|_token: &str| None);
    let address = serve(service).await;
    let (mut linked, _refused) = Linked::greet(address, &hello_of(Credentials::bearer("wr0ng"))).await;
    watch.until("credentials_refused", 1).await;
    linked
        .socket
        .send(&bowline_core::link::Frame::Authenticate { response: bowline_core::link::Secret::new("wr0ng") }.write())
        .await;
    watch.until("credentials_refused", 2).await;
    let batch = "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wr0ng\r\nContent-Length: 0\r\n\r\n";
    let answer = crate::harness::request(address, batch).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    watch.until("credentials_refused", 3).await;
    let plain = "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wr0ng\r\nUpgrade: websocket\r\n\
                 Connection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(plain.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    within(stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 401");
    watch.until("credentials_refused", 4).await;
    let page = "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n";
    crate::harness::request(address, page).await;
    watch.until("requests_refused", 1).await;
    let said = watch.said.lock().unwrap().clone();
    for expected in
        ["scheme=\"bearer\"", "scheme=\"http-bearer\"", "via=Batch", "via=WebSocket", "Some(127.0.0.1:", "evil.example"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("wr0ng"), "{said}");
    assert_eq!(watch.infos.load(Ordering::SeqCst), 5, "refusals must be logged at INFO");
}

/// A subscriber that reads the number of parked sessions at every event, as one that exports a gauge does.
#[derive(Clone)]
struct Gauge {
    service: Arc<Mutex<Option<bowline_server::Service>>>,
    events: Arc<AtomicU64>,
}

impl Subscriber for Gauge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bowline")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {
        let service = self.service.lock().unwrap().clone();
        let _parked = service.as_ref().map(bowline_server::Service::parked_sessions);
        self.events.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// Runs on a separate thread, because a deadlock would block the thread of the test.
#[test]
fn log_subscriber_may_count_parked_sessions() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let gauge = Gauge { service: Arc::default(), events: Arc::default() };
        let _watching = tracing::subscriber::set_default(gauge.clone());
        let _another = tracing::Dispatch::new(gauge.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let service = service();
            *gauge.service.lock().unwrap() = Some(service.clone());
            let address = serve(service.clone()).await;
            let (first, greeting) = Linked::greet(address, &hello_of(Credentials::default())).await;
            let bowline_core::link::Frame::Welcome(welcome) = greeting else { panic!("{greeting:?}") };
            drop(first);
            while service.parked_sessions() == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let (token, key) = (&welcome.resume_token, &welcome.resume_key);
            let (_second, resumed) = Linked::resume(address, token, key, 0).await;
            assert_eq!(resumed.unwrap().epoch, 2);
            assert!(service.evict(&welcome.session_id, &ErrorCode::from("MOVED_OUT"), "moved out"));
        });
        tell.send(gauge.events.load(Ordering::SeqCst)).unwrap();
    });
    let events = told.recv_timeout(crate::harness::PATIENCE).expect("the service does not deadlock");
    assert!(events >= 4, "{events}");
}
