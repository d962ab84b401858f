//! Slow, silent, and unresponsive peers of a WebSocket.

use std::time::Duration;

use bowline_core::limits::Limits;
use bowline_core::peer::{Receiving, Sending, Transport, TransportEnd};
use bowline_transport::{Ending, KeepAlive, Metered, Parting, WebSocket, config};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The capacity of the pipe between the two sides, which stands for the buffers of a socket.
const PIPE_BYTES: usize = 1 << 10;

async fn socket() -> (WebSocket<DuplexStream>, Ending<DuplexStream>, Parting, DuplexStream) {
    let (ours, theirs) = duplex(PIPE_BYTES);
    let config = Some(config(&Limits::default()));
    let stream = WebSocketStream::from_raw_socket(Metered::new(ours), Role::Server, config).await;
    let (transport, ending, parting) = WebSocket::new(stream, KeepAlive::default());
    (transport, ending, parting, theirs)
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_nothing_is_disconnected() {
    let (transport, ending, _parting, _deaf) = socket().await;
    let (mut sender, _receiver) = transport.split();
    sender.feed("x".repeat(PIPE_BYTES * 2)).await.unwrap();
    let began = Instant::now();
    let end = sender.flush().await.unwrap_err();
    assert_eq!(end, TransportEnd::Failed("The peer read nothing for 30s.".to_owned()));
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(ending.finish().await.messages_out, 1);
    assert_eq!(began.elapsed().as_secs(), 35);
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_slowly_stays_connected() {
    let (transport, _ending, _parting, mut slow) = socket().await;
    let (mut sender, _receiver) = transport.split();
    sender.feed("x".repeat(PIPE_BYTES * 8)).await.unwrap();
    let read = async {
        loop {
            sleep(Duration::from_secs(20)).await;
            slow.read_exact(&mut [0; PIPE_BYTES]).await.unwrap();
        }
    };
    tokio::select! {
        flushed = sender.flush() => flushed.unwrap(),
        () = read => {}
    }
}

/// Returns what happens to a peer that sends a frame of 1 MiB in pieces of `bytes`, one every second.
async fn trickle(bytes: usize) -> Option<TransportEnd> {
    let (transport, _ending, _parting, mut slow) = socket().await;
    let (_sender, mut receiver) = transport.split();
    slow.write_all(&[0x81, 0xFF, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let write = async {
        for _ in 0..600 {
            slow.write_all(&vec![b'x'; bytes]).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        received = receiver.receive() => Some(received.unwrap_err()),
        () = write => None,
    }
}

#[tokio::test(start_paused = true)]
async fn slow_long_frame_is_accepted_and_a_trickle_is_not() {
    assert_eq!(trickle(1000).await, None);
    assert_eq!(trickle(1).await, Some(TransportEnd::Failed("the peer answered no ping".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn silent_peer_is_pinged_after_25_s_and_disconnected_20_s_later() {
    let (transport, _ending, _parting, mut silent) = socket().await;
    let (_sender, mut receiver) = transport.split();
    let began = Instant::now();
    let ping = async {
        let mut ping = [0; 2];
        silent.read_exact(&mut ping).await.unwrap();
        (ping, began.elapsed().as_secs())
    };
    let (end, ping) = tokio::join!(receiver.receive(), ping);
    assert_eq!(ping, ([0x89, 0], 25));
    assert_eq!(end.unwrap_err(), TransportEnd::Failed("the peer answered no ping".to_owned()));
    assert_eq!(began.elapsed().as_secs(), 45);
}

#[tokio::test(start_paused = true)]
async fn first_close_reason_determines_the_close_frame() {
    let (transport, ending, parting, mut peer) = socket().await;
    let (mut sender, _receiver) = transport.split();
    parting.set(1001, &"é".repeat(100));
    sender.close(3000, "later").await;
    let read = async {
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).await.unwrap();
        drop(peer);
        rest
    };
    let (traffic, rest) = tokio::join!(ending.finish(), read);
    // At most 61 characters of two bytes fit into the frame besides the code.
    assert_eq!(&rest[..4], [0x88, 124, 3, 0xE9]);
    assert_eq!(String::from_utf8(rest[4..].to_vec()).unwrap(), "é".repeat(61));
    assert_eq!(traffic.bytes_out, 126);
}
