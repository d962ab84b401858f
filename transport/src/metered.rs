//! A byte stream that counts what is sent and received, so that a slow peer can be distinguished
//! from a dead one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ahead::Ahead;
use crate::opening::Opening;

/// The maximum number of bytes that are handed out at once before the peer is admitted.
const OPENING_ROOM_BYTES: usize = 512;

/// How much was sent and received on a connection since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received, framing included.
    pub bytes_in: u64,
    /// Bytes sent, framing included.
    pub bytes_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages queued for sending.
    pub messages_out: u64,
}

/// A stream that counts its bytes and reads ahead.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    ahead: Ahead,
    /// Present until the peer is admitted, if it has to be.
    opening: Option<Box<Opening>>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl<S> Metered<S> {
    /// Creates a stream that counts what passes through `stream` from now on.
    pub fn new(stream: S) -> Self {
        Self { stream, ahead: Ahead::default(), opening: None, bytes_in: 0, bytes_out: 0 }
    }

    /// Hands out bytes that were already read from the stream before the rest of it.
    #[must_use]
    pub fn after(mut self, read: Vec<u8>) -> Self {
        self.ahead = Ahead::with(read);
        self
    }

    /// Limits messages to `message_bytes_max` bytes until the peer is
    /// [admitted](crate::Ending::admit). A longer message is refused when the header of its frame
    /// arrives. This only works on a stream that is read from its first byte.
    #[must_use]
    pub fn opening(mut self, message_bytes_max: usize) -> Self {
        self.opening = Some(Box::new(Opening::new(message_bytes_max)));
        self
    }

    pub(crate) fn admit(&mut self) {
        self.opening = None;
    }
}

impl<S: AsyncRead + Unpin> Metered<S> {
    /// Reads at most to the end of the current frame.
    fn poll_read_opening(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(opening) = &mut self.opening else { return Poll::Ready(Ok(())) };
        let mut room = [0; OPENING_ROOM_BYTES];
        let most = opening.wanted().min(buf.remaining()).min(OPENING_ROOM_BYTES);
        let mut read = ReadBuf::new(&mut room[..most]);
        self.bytes_in += ready!(self.ahead.poll_read(&mut self.stream, cx, &mut read))? as u64;
        if let Err(too_long) = opening.pass(read.filled()) {
            // Whatever follows has no meaning; it is read only to be discarded.
            self.opening = None;
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, too_long)));
        }
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let metered = self.get_mut();
        if metered.opening.is_some() {
            return metered.poll_read_opening(cx, buf);
        }
        let Self { stream, ahead, bytes_in, .. } = metered;
        *bytes_in += ready!(ahead.poll_read(stream, cx, buf))? as u64;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.bytes_out += *written as u64;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
