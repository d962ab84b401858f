//! HTTP batch: one request's lines into a session, what it produces out as the answer.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bowline_core::peer::{Connection, Stub};
use bowline_core::session::Closed;
use bowline_transport::{Lines, LinesControl, deadline};
use bytes::{Buf, BufMut, BytesMut};
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::Instrument;

use crate::drain::{GOING_AWAY, Ticket};
use crate::http_limits::HttpLimits;
use crate::permits::Permits;
use crate::reply::{self, Answer};
use crate::service::Service;

/// Bytes beyond the limit that are read and forgotten, because a peer that sends everything
/// before it reads gets to see the refusal only then.
const DISCARDED_BYTES_MAX: usize = 32 << 20;

/// Runs one batch. Dropping the future, as servers do when the peer hangs up, drops the session.
pub(crate) async fn answer<B>(service: &Service, root: Stub, body: B, permits: &Permits, ticket: Ticket) -> Answer
where
    B: Body<Error: fmt::Display> + Send,
{
    let http = &service.http;
    let deadline = deadline(http.batch_time);
    let text = match timeout_at(deadline, read(body, http.batch_bytes)).await {
        Ok(Ok(text)) => text,
        Ok(Err(refused)) => return refused,
        Err(_elapsed) => return late(StatusCode::REQUEST_TIMEOUT, "the request was not complete", http),
    };
    let count = text.lines().count();
    if count > http.batch_messages {
        let max = http.batch_messages;
        return reply::text(StatusCode::TOO_MANY_REQUESTS, format!("a batch may have {max} messages, not {count}"));
    }
    let _busy = permits.busy();
    let span = tracing::debug_span!("session", via = "batch");
    let session = run(service, root, &text, ticket, deadline).instrument(span);
    match timeout_at(deadline, session).await {
        Ok(produced) => reply::text(StatusCode::OK, produced),
        Err(_elapsed) => late(StatusCode::GATEWAY_TIMEOUT, "calls were still running", http),
    }
}

async fn read<B>(body: B, bytes_max: usize) -> Result<String, Answer>
where
    B: Body<Error: fmt::Display> + Send,
{
    let too_large = || reply::text(StatusCode::PAYLOAD_TOO_LARGE, format!("a batch may have {bytes_max} bytes"));
    let bad = |why: String| reply::text(StatusCode::BAD_REQUEST, why);
    if body.size_hint().lower() > (bytes_max + DISCARDED_BYTES_MAX) as u64 {
        return Err(too_large());
    }
    let mut body = std::pin::pin!(body);
    let mut text = BytesMut::new();
    let mut read_bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| bad(format!("the request could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        read_bytes += data.remaining();
        if read_bytes <= bytes_max {
            text.put(data);
        } else if read_bytes > bytes_max + DISCARDED_BYTES_MAX {
            break;
        }
    }
    if read_bytes > bytes_max {
        return Err(too_large());
    }
    String::from_utf8(text.into()).map_err(|_invalid| bad("a batch is UTF-8 text".to_owned()))
}

fn late(status: StatusCode, what: &str, http: &HttpLimits) -> Answer {
    reply::text(status, format!("a batch may take {:?}, and {what}", http.batch_time))
}

/// Returns every message of the session, in order. Calls whose results are not awaited run on until
/// `deadline`.
async fn run(service: &Service, root: Stub, text: &str, ticket: Ticket, deadline: Instant) -> String {
    let (lines, control) = Lines::new(service.http.batch_answer_bytes);
    for line in text.lines() {
        control.push(line.to_owned());
    }
    let (connection, driver) = Connection::start_batch(lines, Some(root), service.options.clone());
    let mut driver = Box::pin(driver);
    let complete = async {
        control.starved().await;
        connection.answered().await;
    };
    let cut_off = async { sleep_until(ticket.draining().await.calls).await };
    let closed = tokio::select! {
        closed = &mut driver => closed,
        () = complete => match until_written(&connection, &mut driver).await {
            Some(closed) => closed,
            None if connection.calls_running() > 0 => {
                let produced = produced(&control, service);
                tokio::spawn(run_on(connection, driver, ticket, deadline).in_current_span());
                return produced;
            }
            None => {
                connection.close();
                driver.await
            }
        },
        () = cut_off => {
            ticket.cut(connection.calls_running());
            connection.abort("Error", GOING_AWAY.1);
            driver.await
        }
    };
    log_closed(&closed);
    produced(&control, service)
}

/// Waits until all that the session has to say is written, or it has ended: then how.
async fn until_written(connection: &Connection, driver: &mut (impl Future<Output = Closed> + Unpin)) -> Option<Closed> {
    poll_fn(|cx| match Pin::new(&mut *driver).poll(cx) {
        Poll::Ready(closed) => Poll::Ready(Some(closed)),
        Poll::Pending if connection.link(|endpoint| endpoint.has_transmit()) => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Lets calls whose results are not awaited return, then ends the session.
async fn run_on(
    connection: Connection,
    mut driver: impl Future<Output = Closed> + Unpin,
    ticket: Ticket,
    deadline: Instant,
) {
    let cut_off = async { sleep_until(ticket.draining().await.calls).await };
    let over = async {
        tokio::select! {
            () = connection.settled() => {}
            () = sleep_until(deadline) => {}
            () = cut_off => ticket.cut(connection.calls_running()),
        }
    };
    tokio::select! {
        closed = &mut driver => return log_closed(&closed),
        () = over => {}
    }
    connection.close();
    log_closed(&driver.await);
}

fn log_closed(closed: &Closed) {
    tracing::debug!(by = ?closed.by, message = closed.message, "session closed");
}

/// The answer's text; when not all of it fitted, the session's end takes the place of the rest.
fn produced(control: &LinesControl, service: &Service) -> String {
    let bytes_max = service.http.batch_answer_bytes;
    let mut produced = control.take();
    if control.overflowed() {
        if !produced.is_empty() {
            produced.push('\n');
        }
        let abort = format!(r#"["abort",["error","RangeError","a batch answer may have {bytes_max} bytes"]]"#);
        produced.push_str(&service.options.message_to_send(abort));
    }
    produced
}
