//! Read-ahead into a buffer that the connections of a thread share, so that an idle connection has
//! none.
//!
//! The WebSocket library reads at most the size of its own buffer at a time, and keeps that buffer
//! for as long as the connection lasts. Its buffer is therefore small. This module reads more at
//! once, and keeps what the library has not asked for yet.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The number of bytes that are read at once.
const ROOM_BYTES: usize = 16 << 10;

thread_local! {
    /// A buffer that no connection has unread bytes in.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Bytes that were read from a connection and not handed out yet, if there are any.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Option<Rest>);

/// A buffer of which `begin..end` is still to be handed out.
#[derive(Debug)]
struct Rest {
    room: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Ahead {
    /// Hands out these bytes before the stream is read.
    pub(crate) fn with(read: Vec<u8>) -> Self {
        let end = read.len();
        Self((end > 0).then(|| Rest { room: read.into_boxed_slice(), begin: 0, end }))
    }

    /// Fills `buf` with bytes that were read ahead, or else from `stream`. Returns how many bytes
    /// were read from `stream`.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(rest) = self.0.take() {
            self.hand_out(rest, buf);
            return Poll::Ready(Ok(0));
        }
        // A large `buf` is filled directly, without a copy.
        if buf.remaining() >= ROOM_BYTES {
            let before = buf.filled().len();
            ready!(Pin::new(stream).poll_read(cx, buf))?;
            return Poll::Ready(Ok(buf.filled().len() - before));
        }
        let mut room = SPARE.take().unwrap_or_else(|| vec![0; ROOM_BYTES].into_boxed_slice());
        let mut read = ReadBuf::new(&mut room);
        let polled = Pin::new(stream).poll_read(cx, &mut read);
        let end = read.filled().len();
        self.hand_out(Rest { room, begin: 0, end }, buf);
        ready!(polled)?;
        Poll::Ready(Ok(end))
    }

    fn hand_out(&mut self, mut rest: Rest, buf: &mut ReadBuf<'_>) {
        let len = buf.remaining().min(rest.end - rest.begin);
        buf.put_slice(&rest.room[rest.begin..rest.begin + len]);
        rest.begin += len;
        if rest.begin < rest.end {
            self.0 = Some(rest);
        } else if rest.room.len() == ROOM_BYTES {
            // Only buffers of the common size go back: that of `with` has the size of what was
            // read.
            SPARE.set(Some(rest.room));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use crate::Metered;

    #[tokio::test]
    async fn reads_of_any_size_return_what_was_written() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        for ask in [1, 7, 1024, 16 << 10, 100_000] {
            let (mut near, far) = duplex(40_000);
            let mut far = Metered::new(far);
            let written = bytes.clone();
            let write = async move { near.write_all(&written).await.unwrap() };
            let read = async {
                let (mut read, mut room) = (Vec::new(), vec![0; ask]);
                loop {
                    match far.read(&mut room).await.unwrap() {
                        0 => return read,
                        len => read.extend_from_slice(&room[..len]),
                    }
                }
            };
            let ((), read) = tokio::join!(write, read);
            assert!(read == bytes, "asking for {ask}");
            assert_eq!(far.bytes_in, bytes.len() as u64);
        }
    }

    #[tokio::test]
    async fn connections_on_one_thread_do_not_mix() {
        let (mut a, b) = duplex(64);
        let (mut c, d) = duplex(64);
        let (mut b, mut d) = (Metered::new(b), Metered::new(d));
        a.write_all(b"one two").await.unwrap();
        c.write_all(b"three four").await.unwrap();
        let mut room = [0; 4];
        b.read_exact(&mut room).await.unwrap();
        d.read_exact(&mut room).await.unwrap();
        let (mut rest, mut other) = ([0; 3], [0; 6]);
        b.read_exact(&mut rest).await.unwrap();
        d.read_exact(&mut other).await.unwrap();
        assert_eq!((&rest, &other), (b"two", b"e four"));
    }
}
