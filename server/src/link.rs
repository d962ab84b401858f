//! Runs a session that has a link on one connection, from the handshake to the connection's end.

use std::sync::Arc;
use std::time::Duration;

use bowline_core::error::ErrorCode;
use bowline_core::link::{Drain, Refused};
use bowline_core::peer::{Transport, Turn};
use bowline_core::session::ClosedBy;
use bowline_transport::{Ending, Parting, WebSocket, deadline};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, interval_at, timeout, timeout_at};
use tracing::Instrument;

use crate::drain::{Deadlines, GOING_AWAY, Ticket};
use crate::early_messages::Preceded;
use crate::handshake::{Handshake, Opened};
use crate::leases::Attention;
use crate::peer_info::Peer;
use crate::registry::{Admitted, unix_now};
use crate::service::Service;
use crate::ws::Running;

/// How long a stream that the client writes to may continue after the client holds back new calls.
const UPLOAD_GRACE: Duration = Duration::from_millis(100);

/// The message of streams that a drain ends.
const STREAMS_END: &str = "the server is draining, and streams end with its process";

/// What a session on a connection needs besides its state.
pub(crate) struct Linked {
    pub(crate) service: Arc<Service>,
    /// The peer, if it has a lease and must authenticate again.
    pub(crate) peer: Option<Box<Peer>>,
    ticket: Ticket,
}

/// Runs the handshake. Returns a future that runs the session on this connection, or `None` if the
/// client was refused.
pub(crate) async fn begin<S>(
    handshake: Handshake,
    ticket: Ticket,
    transport: WebSocket<S>,
    ending: Ending<S>,
    parting: Parting,
) -> Option<Running>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, receiver) = transport.split();
    let mut receiver = Preceded::new(receiver);
    let service = Arc::clone(&handshake.service);
    let within = service.http.handshake;
    let opened = timeout(within, handshake.open(&mut sender, &mut receiver)).await.unwrap_or_else(|_elapsed| {
        Err(Refused::new(ErrorCode::HandshakeRequired, format!("no session was opened within {within:?}")).into())
    });
    let Opened { admitted, greeting, peer } = match opened {
        Ok(opened) => opened,
        Err(failure) => {
            failure.tell(&mut sender, &parting).await;
            end_socket(ending).await;
            return None;
        }
    };
    ending.admit();
    let span = tracing::debug_span!("session", id = admitted.entry.id, epoch = admitted.epoch);
    let turn =
        Box::pin(admitted.entry.connection.drive(admitted.attached.attachment, (sender, receiver), Some(greeting)));
    let linked = Linked { service, peer, ticket };
    let running = async move {
        linked.run(admitted, turn, &parting).await;
        Box::pin(end_socket(ending)).await;
    };
    Some(Box::pin(running.instrument(span)))
}

async fn end_socket<S: AsyncRead + AsyncWrite + Unpin>(ending: Ending<S>) {
    let traffic = ending.finish().await;
    tracing::debug!(?traffic, "connection closed");
}

impl Linked {
    /// Runs the session on this connection, until the session or the connection ends.
    async fn run(&self, admitted: Admitted, mut turn: impl Future<Output = Turn> + Unpin, parting: &Parting) {
        let registry = &self.service.registry;
        let entry = &admitted.entry;
        let half_life = (registry.resumption.tokens.token_lifetime / 2).max(Duration::from_secs(1));
        let mut renewal = interval_at(deadline(half_life), half_life);
        let mut attending = Box::pin(self.attend(&admitted));
        let ended = loop {
            tokio::select! {
                ended = &mut turn => break ended,
                _ = renewal.tick() => registry.renew(&admitted),
                attention = &mut attending => match attention {
                    Attention::Over => {
                        let (code, why) = Self::LEASE_OVER;
                        registry.evict(entry, &code, why);
                        break turn.await;
                    }
                    Attention::Closing => {
                        let mut finishing = Box::pin(self.finish(&admitted));
                        tokio::select! {
                            // The calls may run longer than the connection lasts.
                            ended = &mut turn => {
                                finishing.await;
                                break ended;
                            }
                            () = &mut finishing => break turn.await,
                        }
                    }
                },
                deadlines = self.ticket.draining() => {
                    // Dropped, because it would otherwise receive wake-ups of the drain without
                    // being polled.
                    drop(attending);
                    match Box::pin(self.drain(&admitted, &mut turn, deadlines, parting)).await {
                        Some(ended) => break ended,
                        None => return registry.ended(entry),
                    }
                }
            }
        };
        let session = &entry.id;
        if entry.connection.is_closing() {
            Box::pin(self.finish(&admitted)).await;
        }
        match ended {
            Turn::Ended(closed) => {
                tracing::debug!(
                    monotonic_counter.bowline_sessions_closed = 1_u64,
                    session, by = ?closed.by, message = closed.message, "session closed"
                );
                registry.ended(entry);
            }
            Turn::Detached(_) if entry.connection.is_closed() => registry.ended(entry),
            Turn::Detached(end) => {
                tracing::debug!(session, %end, "session detached");
                registry.park(&admitted);
                if let Some(deadlines) = self.ticket.drain() {
                    Box::pin(registry.drain_detached(entry, &self.ticket, deadlines)).await;
                }
            }
            Turn::Superseded => tracing::debug!(session, "session taken over"),
        }
    }

    /// Waits until the calls of a closed session have completed, at most for the grace period, then
    /// ends the session.
    async fn finish(&self, admitted: &Admitted) {
        let connection = &admitted.entry.connection;
        let grace = self.service.registry.resumption.rules.close_grace;
        if timeout(grace, connection.quiet()).await.is_err() {
            tracing::debug!(session = admitted.entry.id, "calls of the closed session exceed the grace period");
        }
        connection.finish_closing();
    }

    /// Waits for running calls, then ends the session or hands it over, all by the deadlines.
    /// Returns `None` if the session is still attached at the deadline.
    async fn drain(
        &self,
        admitted: &Admitted,
        turn: &mut (impl Future<Output = Turn> + Unpin),
        deadlines: Deadlines,
        parting: &Parting,
    ) -> Option<Turn> {
        let connection = &admitted.entry.connection;
        if admitted.entry.kept.is_some() {
            return self.hand_over(admitted, turn, deadlines, parting).await;
        }
        self.announce(admitted, deadlines);
        tokio::select! {
            ended = &mut *turn => return Some(ended),
            settled = timeout_at(deadlines.calls, connection.settled()) => if settled.is_err() {
                self.ticket.cut(connection.calls_running());
            },
        }
        parting.set(GOING_AWAY.0, GOING_AWAY.1);
        connection.end_with(ClosedBy::Local, &ErrorCode::Draining, GOING_AWAY.1);
        timeout_at(deadlines.all, turn).await.ok()
    }

    /// Tells the client that the server drains. Returns `false` if the client does not support
    /// drains or is detached.
    fn announce(&self, admitted: &Admitted, deadlines: Deadlines) -> bool {
        let left = deadlines.all.saturating_duration_since(Instant::now());
        let mut drain = Drain { deadline: Some(unix_now().0.saturating_add(left.as_secs())), ..Drain::default() };
        if admitted.entry.kept.is_some() {
            let successor = self.service.registry.successor();
            drain.retry_after_ms = successor.retry_after.map(|after| after.as_millis().try_into().unwrap_or(u64::MAX));
            drain.resume_url = successor.resume_url;
        }
        admitted.entry.connection.announce_drain(drain)
    }

    /// Waits for running calls, then lets another process take over the session.
    async fn hand_over(
        &self,
        admitted: &Admitted,
        turn: &mut (impl Future<Output = Turn> + Unpin),
        deadlines: Deadlines,
        parting: &Parting,
    ) -> Option<Turn> {
        let entry = &admitted.entry;
        parting.set(ErrorCode::Draining.close_code(), ErrorCode::Draining.as_str());
        let retire = async {
            if timeout_at(deadlines.calls, self.settle(admitted, deadlines)).await.is_err() {
                self.ticket.cut(entry.connection.calls_running());
            }
            // Streams may still be open although no call runs.
            entry.connection.interrupt_streams(STREAMS_END);
            drop(timeout_at(deadlines.all, self.service.registry.retire(entry, GOING_AWAY.1)).await);
        };
        let ((), ended) = tokio::join!(retire, timeout_at(deadlines.all, turn));
        ended.ok()
    }

    /// Waits until the calls of a session that another process takes over have completed. The
    /// client continues to make calls until those that are running now have completed, uploads
    /// included. Then it holds back new calls, so nothing that takes long may be left by then.
    async fn settle(&self, admitted: &Admitted, deadlines: Deadlines) {
        let connection = &admitted.entry.connection;
        // Calls that exceed this deadline have the rest of the drain's time, in which no new call
        // begins.
        let running = async {
            connection.running_calls_ended().await;
            if connection.has_streams() {
                // Waits again for uploads that were in transit or began meanwhile. Later ones are
                // interrupted: a client that uploads continuously would otherwise use up the time.
                connection.running_calls_ended().await;
            }
        };
        drop(timeout_at(deadlines.hold, running).await);
        let mut events = connection.events();
        if self.announce(admitted, deadlines) {
            while !connection.is_drained() && !connection.is_detached() {
                tokio::select! {
                    () = connection.asked() => {}
                    event = events.next() => if event.is_none() { return },
                }
            }
        }
        if timeout(UPLOAD_GRACE, connection.settled()).await.is_err() {
            // The chunks may be behind calls that the client holds back.
            connection.interrupt_streams(STREAMS_END);
            connection.settled().await;
        }
    }
}
