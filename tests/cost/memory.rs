//! Memory of an idle session on its server, including its connection and its link.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use allocation_counter::measure;
use bowline::{Service, Session};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::peers::{ApiRef, Served};

/// The number of sessions that are counted, and of those opened before, which let shared tables grow.
const SESSIONS: usize = 100;

/// A session shrinks its buffers after it has been idle for up to 200 ms.
const PAUSE: Duration = Duration::from_millis(600);

/// The limit of bytes per session, without the overhead of the allocator. Slightly above the measured number.
const SESSION_BYTES_MAX: i64 = 11_350;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens the requested number of sessions, makes a call in each, and keeps them open.
fn clients(address: SocketAddr, ask: &mpsc::Receiver<oneshot::Sender<()>>) {
    let mut sessions = Vec::new();
    let runtime = runtime();
    while let Ok(done) = ask.recv() {
        runtime.block_on(async {
            for _ in 0..SESSIONS {
                let session = Session::builder(format!("ws://{address}")).connect().await.unwrap();
                assert_eq!(session.root::<ApiRef>().add(1, 2).await.unwrap(), 3);
                sessions.push(session);
            }
            tokio::time::sleep(PAUSE).await;
        });
        done.send(()).unwrap();
    }
}

#[test]
fn idle_session_stays_within_its_memory_limit() {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let service = Service::new(|_peer| ApiRef::new(Served));
    let local = tokio::task::LocalSet::new();
    local.spawn_local(service.serve(listener));
    let (ask, asked) = mpsc::channel();
    let clients = std::thread::spawn(move || clients(address, &asked));
    let open_sessions = || {
        let (done, is_done) = oneshot::channel();
        ask.send(done).unwrap();
        local.block_on(&runtime, is_done).unwrap();
    };
    open_sessions();
    let bytes = measure(open_sessions).bytes_current / SESSIONS as i64;
    println!("{bytes} bytes");
    assert!(bytes > 1_000, "the sessions must be served on this thread; {bytes} bytes per session");
    assert!(bytes <= SESSION_BYTES_MAX, "a session holds {bytes} bytes; the limit is {SESSION_BYTES_MAX}");
    drop(ask);
    clients.join().unwrap();
}
