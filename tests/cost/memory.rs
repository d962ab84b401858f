//! What a session at rest holds on its server: socket, link and what a resume takes included.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use allocation_counter::measure;
use bowline::{Connect, Service};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::peers::{ApiRef, Served};

/// Sessions that are counted, and those before: tables that all of them share have grown by then.
const SESSIONS: usize = 100;

/// A session gives room back when it has paused for 200 ms.
const PAUSE: Duration = Duration::from_millis(600);

/// Bytes of a session, without what the allocator adds. What was counted, and a little more.
const SESSION_BYTES_MAX: i64 = 11_200;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens as many sessions as it is asked to, of one call each, and keeps them.
fn clients(address: SocketAddr, ask: &mpsc::Receiver<oneshot::Sender<()>>) {
    let mut sessions = Vec::new();
    let runtime = runtime();
    while let Ok(done) = ask.recv() {
        runtime.block_on(async {
            for _ in 0..SESSIONS {
                let session = Connect::new(format!("ws://{address}")).connect().await.unwrap();
                assert_eq!(session.root::<ApiRef>().add(1, 2).await.unwrap(), 3);
                sessions.push(session);
            }
            tokio::time::sleep(PAUSE).await;
        });
        done.send(()).unwrap();
    }
}

#[test]
fn a_session_at_rest_holds_little() {
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
    assert!(bytes > 1_000, "sessions are served on this thread, {bytes} bytes");
    assert!(bytes <= SESSION_BYTES_MAX, "a session holds {bytes} bytes, more than {SESSION_BYTES_MAX}");
    drop(ask);
    clients.join().unwrap();
}
