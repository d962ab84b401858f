//! Reads and writes of either side for 64 concurrent calls over TCP. Concurrent calls are cheap mostly because
//! many messages share a system call.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bowline::transport::SessionOptions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::join;

/// The limit of writes of one side for 64 calls. The client sends its calls, and the releases of earlier results,
/// in one write; the server answers in two.
const WRITES_MAX: usize = 2;
/// The limit of attempts to read of one side. Most attempts that find nothing do not reach the kernel, because
/// Tokio knows that the socket is not ready.
const READS_MAX: usize = 8;

/// The reads and writes of one side.
#[derive(Debug, Default)]
struct Asked {
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Asked {
    fn take(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::Relaxed), self.writes.swap(0, Ordering::Relaxed))
    }
}

/// A socket that counts attempts to read and to write.
struct Counted {
    stream: TcpStream,
    asked: Arc<Asked>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.asked.reads.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn counted_sockets() -> ([Counted; 2], [Arc<Asked>; 2]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (of_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let asked = [Arc::new(Asked::default()), Arc::new(Asked::default())];
    let streams = [of_client.unwrap(), accepted.unwrap().0];
    let mut of = asked.iter().cloned();
    let sockets = streams.map(|stream| {
        stream.set_nodelay(true).unwrap();
        Counted { stream, asked: of.next().unwrap() }
    });
    (sockets, asked)
}

#[tokio::test]
async fn concurrent_calls_share_reads_and_writes() {
    let ([of_client, of_server], asked) = counted_sockets().await;
    let joined = join(of_client, of_server, SessionOptions::default()).await;
    joined.calls_at_once().await;
    asked.iter().for_each(|side| {
        side.take();
    });
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..21 {
        joined.calls_at_once().await;
        taken.iter_mut().zip(&asked).for_each(|(taken, side)| taken.push(side.take()));
    }
    for (taken, name) in taken.into_iter().zip(["client", "server"]) {
        let (mut reads, mut writes): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        reads.sort_unstable();
        writes.sort_unstable();
        // The median counts, because acks are sent separately when the machine stalls for 100 ms.
        let (reads, writes) = (reads[reads.len() / 2], writes[writes.len() / 2]);
        println!("{name}: {reads} reads, {writes} writes");
        assert!(writes <= WRITES_MAX, "the {name} wrote {writes} times");
        assert!(reads <= READS_MAX, "the {name} read {reads} times");
    }
}
