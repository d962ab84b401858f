//! HTTP batches: passes the lines of a request to a session, and returns what it sends as the
//! response. See docs/wire.md, "HTTP batch".

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bowline_core::peer::{Connection, Stub};
use bowline_core::session::CloseReason;
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

/// How many bytes beyond the limit are read and discarded. A peer that sends the whole request
/// before it reads would otherwise not see the refusal.
const DISCARDED_BYTES_MAX: usize = 32 << 20;

/// Runs a batch. Dropping the future, as servers do when the peer disconnects, drops the session.
pub(crate) async fn answer<B>(service: &Service, root: Stub, body: B, permits: &Permits, ticket: Ticket) -> Answer
where
    B: Body<Error: fmt::Display> + Send,
{
    let http = &service.http;
    let deadline = deadline(http.batch_time);
    let text = match timeout_at(deadline, read(body, http.batch_bytes)).await {
        Ok(Ok(text)) => text,
        Ok(Err(refused)) => return refused,
        Err(_elapsed) => return late(StatusCode::REQUEST_TIMEOUT, "the request was incomplete", http),
    };
    let count = text.lines().count();
    if count > http.batch_messages {
        let max = http.batch_messages;
        return reply::text(
            StatusCode::TOO_MANY_REQUESTS,
            format!("a batch of {count} messages exceeds the limit of {max} messages"),
        );
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
    let too_large =
        || reply::text(StatusCode::PAYLOAD_TOO_LARGE, format!("the batch exceeds the limit of {bytes_max} bytes"));
    let bad = |why: String| reply::text(StatusCode::BAD_REQUEST, why);
    if body.size_hint().lower() > (bytes_max + DISCARDED_BYTES_MAX) as u64 {
        return Err(too_large());
    }
    let mut body = std::pin::pin!(body);
    let mut text = BytesMut::new();
    let mut read_bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| bad(format!("cannot read the request: {error}")))?;
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
    String::from_utf8(text.into()).map_err(|_invalid| bad("the batch is not UTF-8".to_owned()))
}

fn late(status: StatusCode, what: &str, http: &HttpLimits) -> Answer {
    reply::text(status, format!("the batch exceeded the limit of {:?}: {what}", http.batch_time))
}

/// Runs the session and returns its messages in order. Calls whose results are not requested keep
/// running until `deadline`.
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

/// Waits until everything that the session has to send was written, and returns `None`. If the
/// session ends first, returns how.
async fn until_written(
    connection: &Connection,
    driver: &mut (impl Future<Output = CloseReason> + Unpin),
) -> Option<CloseReason> {
    poll_fn(|cx| match Pin::new(&mut *driver).poll(cx) {
        Poll::Ready(closed) => Poll::Ready(Some(closed)),
        Poll::Pending if connection.has_transmit() => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Waits for calls whose results were not requested, then ends the session.
async fn run_on(
    connection: Connection,
    mut driver: impl Future<Output = CloseReason> + Unpin,
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

fn log_closed(closed: &CloseReason) {
    tracing::debug!(by = ?closed.by, message = closed.message, "session closed");
}

/// Returns the text of the response. If not everything fitted, an abort takes the place of the
/// rest.
fn produced(control: &LinesControl, service: &Service) -> String {
    let bytes_max = service.http.batch_answer_bytes;
    let mut produced = control.take();
    if control.overflowed() {
        if !produced.is_empty() {
            produced.push('\n');
        }
        let abort =
            format!(r#"["abort",["error","RangeError","the batch response exceeds the limit of {bytes_max} bytes"]]"#);
        produced.push_str(&service.options.message_to_send(abort));
    }
    produced
}
