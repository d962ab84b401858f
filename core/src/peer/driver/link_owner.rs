//! What the owner of a session does with its link: the methods of a connection with which the client and
//! server crates exchange tokens, credentials, drains, and checkpoints.
//!
//! Each is a method of [`Endpoint`] under the session's lock. None runs user code. A method that has
//! something to send wakes the driver, and one that only reads does not.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::endpoint::{Attach, Attached, Checkpoint, Endpoint};
use crate::id::Ids;
use crate::limits::Limits;
use crate::link::{Covers, Drain, Features, Lease, LinkStats, Refresh, Refused, Secret, Ticket};
use crate::peer::driver::connection::Connection;

/// How often a checkpoint waits until every call has begun, before it is taken anyway.
const TRIES: usize = 64;

/// Connections.
impl Connection {
    /// Attaches a new transport. When this returns, input from the previous transport is ignored.
    ///
    /// # Errors
    /// Those of [`Endpoint::attach`].
    pub fn attach(&self, features: Features, how: Attach<'_>) -> Result<Attached, Refused> {
        self.shared().attach(features, how)
    }

    /// Detaches the current transport, if any, and tells the peer that another process serves the session.
    /// The session waits for another transport.
    pub fn supersede(&self, reason: &str) {
        self.shared().supersede(reason);
    }

    /// Returns `true` if the session has a link.
    pub fn is_linked(&self) -> bool {
        self.read(Endpoint::is_linked)
    }

    /// Returns `true` if the session has a link and no transport.
    pub fn is_detached(&self) -> bool {
        self.read(Endpoint::is_detached)
    }

    /// Returns `true` if the peer has sent something on the newest transport.
    pub fn has_heard(&self) -> bool {
        self.read(Endpoint::has_heard)
    }

    /// Returns `true` if the peer has sent a frame of the link on the newest transport.
    pub fn has_heard_frame(&self) -> bool {
        self.read(Endpoint::has_heard_frame)
    }

    /// Returns `true` if something waits to be sent over the attached transport.
    pub fn has_transmit(&self) -> bool {
        self.read(Endpoint::has_transmit)
    }

    /// Returns the number of the peer's last message that was handled.
    pub fn processed(&self) -> u64 {
        self.read(Endpoint::processed)
    }

    /// Returns the number of the first message that can be retransmitted.
    pub fn first_retained(&self) -> u64 {
        self.read(Endpoint::first_retained)
    }

    /// Returns the ids that both sides have assigned.
    pub fn ids(&self) -> Ids {
        self.read(|endpoint| endpoint.session.ids())
    }

    /// Returns `true` until both sides of a session that was recovered or reattached are reconciled.
    pub fn is_unreconciled(&self) -> bool {
        self.read(|endpoint| endpoint.session.is_unreconciled())
    }

    /// Returns statistics of the link.
    pub fn link_stats(&self) -> LinkStats {
        self.read(Endpoint::link_stats)
    }

    /// Returns the limits of the session.
    pub fn limits(&self) -> &Limits {
        &self.shared().settings().limits
    }

    /// Waits until the link needs the owner of the session: see [`Endpoint::asks`]. Cancel-safe.
    pub async fn asked(&self) {
        self.shared().asked.notified().await;
    }
}

/// Credentials, drains, and the end of a session.
impl Connection {
    /// Asks the client for new credentials. Returns `false` if the client does not support that or
    /// is not connected. `deadline` is in seconds since 1970.
    pub fn request_credentials(&self, deadline: u64, challenge: Option<String>) -> bool {
        self.command(|endpoint| endpoint.refresh(deadline, challenge))
    }

    /// Takes the server's request for new credentials.
    pub fn take_refresh(&self) -> Option<Refresh> {
        self.shared().lock().endpoint.take_refresh()
    }

    /// Sends new credentials to the server.
    pub fn authenticate(&self, response: Secret) {
        self.command(|endpoint| endpoint.authenticate(response));
    }

    /// Takes the credentials that the client has sent.
    pub fn take_response(&self) -> Option<Secret> {
        self.shared().lock().endpoint.take_response()
    }

    /// Returns the client's lease, as last sent by the server.
    pub fn lease(&self) -> Option<Lease> {
        self.read(Endpoint::lease)
    }

    /// Sets the client's lease, as sent by the server with the first frame.
    pub fn set_lease(&self, lease: Option<Lease>) {
        self.shared().lock().endpoint.set_lease(lease);
    }

    /// Returns statistics of the link, once each time that the peer becomes slow.
    pub fn take_slow(&self) -> Option<LinkStats> {
        let endpoint = &mut self.shared().lock().endpoint;
        endpoint.take_slow().then(|| endpoint.link_stats())
    }

    /// Announces that the server is about to stop. Returns `false` if the client does not support drains or
    /// is not connected.
    pub fn announce_drain(&self, drain: Drain) -> bool {
        self.command(|endpoint| endpoint.drain(drain))
    }

    /// Returns `true` if the client has confirmed a drain.
    pub fn is_drained(&self) -> bool {
        self.read(Endpoint::is_drained)
    }

    /// Takes the server's announcement that it is about to stop.
    pub fn take_drain(&self) -> Option<Drain> {
        self.shared().lock().endpoint.take_drain()
    }

    /// Returns `true` if there is an open stream from or to the peer.
    pub fn has_streams(&self) -> bool {
        self.read(|endpoint| endpoint.session.has_streams())
    }

    /// Returns `true` if the client has closed the session and some of its calls are still running.
    pub fn is_closing(&self) -> bool {
        self.read(Endpoint::is_closing)
    }

    /// Ends a session that the client has closed, including calls that are still running. Runs user code:
    /// everything that ends with the session is dropped.
    pub fn finish_closing(&self) {
        self.shared().input(Endpoint::finish_closing);
    }
}

/// Resume tokens.
impl Connection {
    /// Reports tokens to the server only after [`token_saved`](Self::token_saved).
    pub fn save_tokens(&self) {
        self.shared().lock().endpoint.save_tokens();
    }

    /// Returns `true` if there is a token that was not taken.
    pub fn has_token(&self) -> bool {
        self.read(Endpoint::has_token)
    }

    /// Takes the newest token of the server, and what it covers if that was not reported to the server.
    pub fn take_token(&self) -> (Option<Ticket>, Option<Covers>) {
        let endpoint = &mut self.shared().lock().endpoint;
        (endpoint.take_token(), endpoint.unsaved())
    }

    /// Records that a token covering `covers` has been saved, and reports it to the server.
    pub fn token_saved(&self, covers: Covers) {
        self.command(|endpoint| endpoint.token_saved(covers));
    }

    /// Sends a newer token to the client, and its new lease if that has changed.
    pub fn send_token(&self, ticket: Ticket, lease: Option<Lease>) {
        self.command(|endpoint| endpoint.send_token(ticket, lease));
    }

    /// Replaces the tokens of checkpoints that are not acknowledged; see [`Endpoint::replace_tokens`].
    pub fn replace_tokens(&self, tickets: BTreeMap<u64, Ticket>) {
        self.command(|endpoint| endpoint.replace_tokens(tickets));
    }

    /// Extends the lease on the session to `left` from now. After that, incoming messages are not
    /// processed until the lease is extended again, because another process may own the session.
    pub fn extend_lease(&self, left: Duration) {
        let until = self.shared().now() + left;
        self.shared().lock().endpoint.extend_lease(until);
    }

    /// Returns `true` if the lease has expired; see [`extend_lease`](Self::extend_lease). Incoming messages
    /// are not processed then, so an attached transport is closed with the first message that it receives.
    pub fn is_lease_over(&self) -> bool {
        let now = self.shared().now();
        self.read(|endpoint| endpoint.is_lease_over(now))
    }
}

/// Checkpoints.
impl Connection {
    /// Enables checkpoints of a server's session. Must be called before the first message.
    pub fn keep_checkpoints(&self) {
        self.shared().lock().endpoint.keep_checkpoints();
    }

    /// Keeps calls of a client, up to `bytes_max`, to retransmit them to a recovered server. Must be called
    /// before the first call.
    pub fn keep_sent(&self, bytes_max: usize) {
        self.shared().lock().endpoint.keep_sent(bytes_max);
    }

    /// Takes a checkpoint between two inputs, after every call that was taken from the session has begun: of
    /// a call that has not begun, a checkpoint does not record that it may be repeated. See
    /// [`Endpoint::checkpoint`].
    ///
    /// In a session that is never idle, the wait is bounded. Cancel-safe.
    pub async fn checkpoint(&self, beside: serde_json::Value) -> Option<Checkpoint> {
        self.between_calls(|endpoint| endpoint.checkpoint(beside)).await
    }

    /// Records that the checkpoint was stored; see [`Endpoint::stored`].
    pub fn checkpoint_stored(&self, ticket: Ticket, lease: Option<Lease>) {
        self.command(|endpoint| endpoint.stored(ticket, lease));
    }

    /// Records that the checkpoint could not be stored. Another one is due.
    pub fn checkpoint_failed(&self) {
        self.command(Endpoint::not_stored);
    }

    /// Records that the client presented a token of this checkpoint.
    pub fn confirm_checkpoint(&self, number: u64) {
        self.command(|endpoint| endpoint.confirm_checkpoint(number));
    }

    /// Returns the number of the newest checkpoint whose token the client has.
    pub fn confirmed_checkpoint(&self) -> u64 {
        self.read(Endpoint::confirmed_checkpoint)
    }

    /// Returns the numbers of the checkpoints whose tokens are not acknowledged, oldest first.
    pub fn unconfirmed_checkpoints(&self) -> Vec<u64> {
        self.read(Endpoint::unconfirmed_checkpoints)
    }

    /// Returns the number of the newest checkpoint that was taken.
    pub fn newest_checkpoint(&self) -> u64 {
        self.read(Endpoint::newest_checkpoint)
    }

    /// Returns `true` if a checkpoint is due.
    pub fn is_checkpoint_due(&self) -> bool {
        self.read(Endpoint::is_checkpoint_due)
    }

    /// Returns `true` if a checkpoint is due at once.
    pub fn is_checkpoint_urgent(&self) -> bool {
        self.read(Endpoint::is_checkpoint_urgent)
    }

    /// Returns how often the session was recovered.
    pub fn lineage(&self) -> u64 {
        self.read(Endpoint::lineage)
    }
}

impl Connection {
    /// Reads from the endpoint. Does not wake the driver: a task that is notified by the driver and only
    /// reads must not notify it in turn.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Endpoint) -> T) -> T {
        read(&self.shared().lock().endpoint)
    }

    /// Runs `look` on the endpoint when it has no pending outputs and every call that was taken from the
    /// session has begun.
    pub(super) async fn between_calls<T>(&self, look: impl FnOnce(&mut Endpoint) -> T) -> T {
        for _ in 0..TRIES {
            self.shared().until_begun().await;
            if let Some(state) = self.shared().lock_if_begun() {
                return self.shared().look(state, look);
            }
        }
        self.shared().between_inputs(look)
    }

    /// Passes a command to the endpoint, and wakes the driver, which carries out the outputs.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut Endpoint) -> T) -> T {
        let answer = command(&mut self.shared().lock().endpoint);
        self.shared().wake.notify_one();
        answer
    }
}
