//! Reading ahead into room that the connections of a thread share, so that one at rest has none.
//!
//! The WebSocket library asks for as little as its own buffer holds, which it keeps for as long as the
//! connection lasts. What is read at once is more, and lies here until the library has asked for it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// How much is read at once.
const ROOM_BYTES: usize = 16 << 10;

thread_local! {
    /// Room that no connection has anything in.
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// What was read from a connection and not asked for yet; `None` if that is nothing.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Option<Rest>);

/// What of the room is still to be handed out.
#[derive(Debug)]
struct Rest {
    room: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Ahead {
    /// Hands out these bytes before anything is read.
    pub(crate) fn with(read: Vec<u8>) -> Self {
        let end = read.len();
        Self((end > 0).then(|| Rest { room: read.into_boxed_slice(), begin: 0, end }))
    }

    /// Fills `buf` with what is there, or else from `stream`. Returns how many bytes came from that.
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
            SPARE.set(Some(rest.room));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use crate::Metered;

    #[tokio::test]
    async fn what_is_read_is_what_was_written_however_much_is_asked_for() {
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
    async fn connections_of_a_thread_do_not_mix() {
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
