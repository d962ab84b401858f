//! Cuts the connection twenty times while a client calls and streams, and shows that nothing is lost.
//!
//! The client connects through a proxy that is part of this example. The example cuts the proxy's
//! connections again and again, whatever is in flight. In the end, client and server compare their
//! counts: no call was lost, none ran twice, and no stream item is missing. `Till` and `book_items`
//! contain no code for any of this.
//!
//! Run it with `cargo run --example unplugged`. It takes a few seconds and needs no input.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bowline::link::LinkEvent;
use bowline::{Peer, Reader, Service, connect};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

const CUTS: usize = 20;
const STREAM_ITEMS: u64 = 2_000;

/// A till that counts bookings.
#[bowline::interface]
pub trait Till {
    /// Books one item and returns the number of items booked so far.
    async fn book(&self) -> u64;
    /// Streams the numbers from 1 to `last`.
    async fn count(&self, last: u64) -> Reader<u64>;
}

#[derive(Default)]
struct ShopTill {
    booked: Arc<AtomicU64>,
}

impl Till for ShopTill {
    async fn book(&self) -> u64 {
        self.booked.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn count(&self, last: u64) -> Reader<u64> {
        let (mut writer, reader) = bowline::stream::channel(8);
        tokio::spawn(async move {
            for number in 1..=last {
                sleep(Duration::from_millis(1)).await;
                if writer.write(number).await.is_err() {
                    return;
                }
            }
            // Fails only if the reader is gone.
            drop(writer.close().await);
        });
        reader
    }
}

/// Forwards bytes in both directions. Each change of `cut` ends all connections at once.
async fn proxy(listener: TcpListener, server: SocketAddr, cut: watch::Sender<usize>) {
    while let Ok((mut client, _address)) = listener.accept().await {
        let mut cut = cut.subscribe();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

/// Books items one after the other until `open` is false, and returns how many calls were answered.
/// Each reply must be the next number.
async fn book_items(till: TillRef, open: Arc<AtomicBool>) -> Result<u64, bowline::CallError> {
    let mut answered = 0;
    while open.load(Ordering::SeqCst) {
        answered += 1;
        let count = till.book().await?;
        assert_eq!(count, answered, "a call was lost or ran twice");
    }
    Ok(answered)
}

/// Reads the stream to its end and returns the number of items. Each item must be the next number.
async fn read_stream(mut numbers: Reader<u64>) -> u64 {
    let mut received = 0;
    while let Some(Ok(number)) = numbers.next().await {
        received += 1;
        assert_eq!(number, received, "an item was lost or duplicated");
    }
    received
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let booked = Arc::new(AtomicU64::new(0));
    let shared = booked.clone();
    let service = Service::new(move |_peer: Peer| TillRef::new(ShopTill { booked: shared.clone() }));
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let entrance = TcpListener::bind("127.0.0.1:0").await?;
    let (server_address, proxy_address) = (server.local_addr()?, entrance.local_addr()?);
    let cut = watch::Sender::new(0);
    tokio::spawn(service.serve(server));
    tokio::spawn(proxy(entrance, server_address, cut.clone()));

    let session = connect(format!("ws://{proxy_address}")).await?;
    let till: TillRef = session.root();
    let reading = tokio::spawn(read_stream(till.count(STREAM_ITEMS).await?));
    let open = Arc::new(AtomicBool::new(true));
    let booking = tokio::spawn(book_items(till, open.clone()));

    let mut events = session.events();
    for number in 1..=CUTS {
        sleep(Duration::from_millis(50 + 7 * number as u64)).await;
        let started = Instant::now();
        cut.send_modify(|cuts| *cuts += 1);
        while !matches!(events.next().await, Some(LinkEvent::Resumed { .. })) {}
        println!("cut {number:2}: resumed after {:>6.1?}", started.elapsed());
    }
    let received = reading.await?;
    open.store(false, Ordering::SeqCst);
    let answered = booking.await??;

    let (booked, lost) = (booked.load(Ordering::SeqCst), STREAM_ITEMS - received);
    println!("{CUTS} cuts: {answered} calls answered, {booked} ran; {lost} of {STREAM_ITEMS} stream items lost");
    assert_eq!((booked, lost), (answered, 0));
    Ok(())
}
