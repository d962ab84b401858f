//! The time from the cut of a connection to the next reply over a new one, compared with the time that a new
//! connection takes by itself. Client, server, and the proxy between them share a thread.

use std::time::{Duration, Instant};

use bowline::{Session, Service};
use common::{Out, accept, dial};
use tokio::sync::watch;

use crate::median;

const ROUNDS: usize = 101;

#[bowline::interface]
trait Adder {
    async fn add(&self, a: i64, b: i64) -> i64;
}

struct Adding;

impl Adder for Adding {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

pub async fn measure(out: &Out) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let server = listener.local_addr().expect("it is bound");
    tokio::spawn(Service::new(|_peer| AdderRef::new(Adding)).serve(listener));
    let (url, cuts) = carry(server).await;
    let session = Session::builder(&url).connect().await.expect("the server is there");
    let adder: AdderRef = session.root();
    let (mut resumed, mut dialed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        assert_eq!(adder.add(1, 2).await.expect("it answers"), 3);
        let began = Instant::now();
        cuts.send_modify(|cuts| *cuts += 1);
        // Wait until the client has noticed the cut, so that the call is sent once, after it.
        tokio::task::yield_now().await;
        assert_eq!(adder.add(3, 4).await.expect("it answers"), 7);
        resumed.push(began.elapsed());
        let began = Instant::now();
        let plain = Session::builder(&url).plain().connect().await.expect("the server is there");
        dialed.push(began.elapsed());
        plain.close().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(session.is_resumable());
    let (resumed, dialed) = (median(resumed), median(dialed));
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let fields = [("resume_us", us(resumed)), ("dial_us", us(dialed)), ("beyond_us", us(resumed) - us(dialed))];
    out.line("resume", &fields);
}

/// Forwards connections to `server`, and drops the open ones when the number changes.
async fn carry(server: std::net::SocketAddr) -> (String, watch::Sender<u64>) {
    let cuts = watch::Sender::new(0_u64);
    let (address, listener) = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        (listener.local_addr().expect("it is bound"), listener)
    };
    let of_connections = cuts.clone();
    tokio::task::spawn_local(async move {
        loop {
            let mut from = accept(&listener).await;
            let mut cut = of_connections.subscribe();
            tokio::task::spawn_local(async move {
                let mut to = dial(server).await;
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    _ = cut.changed() => {}
                }
            });
        }
    });
    (format!("ws://{address}"), cuts)
}
