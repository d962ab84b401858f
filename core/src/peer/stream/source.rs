//! Sources of chunks: the reading end of a pipe, or a stream of the application.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::Serialize;

use super::pipe::{Exit, Taken};
use crate::peer::interface::error::RpcError;
use crate::peer::interface::object::{error_payload, rejection};
use crate::peer::reference::readable::Source;
use crate::value::{self, Cap, Payload};

impl Source for Exit {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        Poll::Ready(match ready!(self.poll(cx)) {
            Taken::Chunk(args, _) => Some(Ok(args)),
            Taken::Closed => None,
            Taken::Failed(error) => Some(Err(error)),
        })
    }

    fn cancel(&mut self, reason: &Payload<Cap>) {
        self.refuse(reason);
    }
}

/// A stream of the application.
pub(crate) struct OfStream<S>(Pin<Box<S>>);

impl<S> OfStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Box::pin(stream))
    }
}

impl<T, E, S> Source for OfStream<S>
where
    T: Serialize,
    E: RpcError,
    S: Stream<Item = Result<T, E>> + Send,
{
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload<Cap>, Payload<Cap>>>> {
        Poll::Ready(ready!(self.0.as_mut().poll_next(cx)).map(|item| match item {
            Ok(chunk) => value::encode_args(&(chunk,)).map_err(|error| error_payload("TypeError", &error.to_string())),
            Err(error) => Err(rejection(&error.to_value())),
        }))
    }

    fn cancel(&mut self, _: &Payload<Cap>) {}
}
