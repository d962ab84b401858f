//! The point: the network drops, and the application does not notice.
//!
//! A client calls and streams through a proxy that belongs to this example. The example pulls the
//! plug again and again, in the midst of whatever is under way. At the end both sides have counted
//! the same: no call is lost, none is carried out twice, and no chunk is missing. There is no code
//! for any of that in `Till` or in `shop`.
//!
//! Run it with `cargo run --example unplugged`. It takes a few seconds and needs nobody.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bowline::{LinkEvent, Peer, Reader, Service, connect};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

const CUTS: usize = 20;
const CHUNKS: u64 = 2_000;

/// A till that counts what is booked.
#[bowline::interface]
pub trait Till {
    /// Books one item; gives how many there are.
    async fn book(&self) -> u64;
    /// Counts aloud, from 1 up to `to`.
    async fn count(&self, to: u64) -> Reader<u64>;
}

#[derive(Default)]
struct Counting(Arc<AtomicU64>);

impl Till for Counting {
    async fn book(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn count(&self, to: u64) -> Reader<u64> {
        let (mut writer, reader) = bowline::stream::channel(8);
        tokio::spawn(async move {
            for n in 1..=to {
                sleep(Duration::from_millis(1)).await;
                if writer.write(n).await.is_err() {
                    return;
                }
            }
            // Whoever reads has gone, then.
            drop(writer.close().await);
        });
        reader
    }
}

/// Passes bytes on until the plug is pulled, which ends every connection at once.
async fn proxy(listener: TcpListener, server: SocketAddr, plug: watch::Sender<usize>) {
    while let Ok((mut client, _address)) = listener.accept().await {
        let mut pulled = plug.subscribe();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = pulled.changed() => {}
            }
        });
    }
}

/// Books until the shop closes; how many calls were made and answered, each with the next number.
async fn shop(till: TillRef, open: Arc<AtomicBool>) -> Result<u64, bowline::CallError> {
    let mut booked = 0;
    while open.load(Ordering::SeqCst) {
        booked += 1;
        let count = till.book().await?;
        assert_eq!(count, booked, "a call was lost or doubled");
    }
    Ok(booked)
}

async fn listen(mut numbers: Reader<u64>) -> u64 {
    let mut heard = 0;
    while let Some(Ok(number)) = numbers.next().await {
        heard += 1;
        assert_eq!(number, heard, "a chunk was lost or doubled");
    }
    heard
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let carried_out = Arc::new(AtomicU64::new(0));
    let counting = carried_out.clone();
    let service = Service::new(move |_peer: Peer| TillRef::new(Counting(counting.clone())));
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let entrance = TcpListener::bind("127.0.0.1:0").await?;
    let (at, via) = (server.local_addr()?, entrance.local_addr()?);
    let plug = watch::Sender::new(0);
    tokio::spawn(service.serve(server));
    tokio::spawn(proxy(entrance, at, plug.clone()));

    let session = connect(format!("ws://{via}")).await?;
    let till: TillRef = session.root();
    let listening = tokio::spawn(listen(till.count(CHUNKS).await?));
    let open = Arc::new(AtomicBool::new(true));
    let shopping = tokio::spawn(shop(till, open.clone()));

    let mut events = session.events();
    for cut in 1..=CUTS {
        sleep(Duration::from_millis(50 + 7 * cut as u64)).await;
        let pulled = Instant::now();
        plug.send_modify(|pulls| *pulls += 1);
        while !matches!(events.next().await, Some(LinkEvent::Resumed { .. })) {}
        println!("cut {cut:2}: back after {:>6.1?}", pulled.elapsed());
    }
    let heard = listening.await?;
    open.store(false, Ordering::SeqCst);
    let answered = shopping.await??;

    let (carried_out, lost) = (carried_out.load(Ordering::SeqCst), CHUNKS - heard);
    println!("{CUTS} cuts: {answered} calls answered, {carried_out} carried out, {lost} of {CHUNKS} chunks lost");
    assert_eq!((carried_out, lost), (answered, 0));
    Ok(())
}
