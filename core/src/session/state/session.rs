//! The tables and counters of a session.

use std::collections::VecDeque;
use std::sync::Arc;

use super::account::Account;
use super::budget::Budget;
use super::gathers::{Gather, GatherId};
use super::index::Indexes;
use super::maps::Mapper;
use super::outbox::Outbox;
use super::promises::{Promise, Work};
use super::recovery::Recovery;
use super::{CloseReason, Counters, Delivery, Export, Import, ImportState, Kind, Output, Ref, Table, Target};
use crate::id::{ExportId, ImportId, PromiseId, TargetId, WaitId};
use crate::limits::Limits;

/// One end of a Cap'n Web session.
///
/// A `Session` does no I/O and reads no clock. Its caller moves messages and performs the outputs.
/// There are four kinds of methods:
///
/// - **Inputs** take what the connection brings: [`handle_message`](Self::handle_message),
///   [`handle_invalid`](Self::handle_invalid), and [`handle_disconnect`](Self::handle_disconnect).
/// - **Commands** do what the application wants, such as [`call`](Self::call),
///   [`pull`](Self::pull), [`settle`](Self::settle), and [`close`](Self::close).
/// - **Outputs** are polled: [`poll_output`](Self::poll_output) returns what the application is to
///   do, and [`poll_transmit`](Self::poll_transmit) returns messages to send.
/// - **Getters** such as [`stats`](Self::stats) change nothing.
///
/// After each input or command, poll `poll_output` until it returns `None`, then `poll_transmit`.
/// Performing an output may queue further outputs and messages, so repeat until both return `None`.
/// Outputs and messages must be handled in the order in which they are returned. A session that has
/// ended still returns its remaining outputs and messages, the `abort` for its peer included; its
/// last output is [`Output::Closed`].
///
/// References are counted. A [`Ref`] that a command returns, or that is in an output, counts once
/// and must be released with [`release`](Self::release). Commands do not take over the references
/// in their arguments.
///
/// ```
/// use bowline_core::limits::Limits;
/// use bowline_core::session::{Outcome, Output, Session, Step};
/// use bowline_core::value::Payload;
///
/// /// Performs the outputs of `session`, hands its messages to `peer`, and returns the result of its pull.
/// fn drain(session: &mut Session, peer: &mut Session) -> Option<String> {
///     let mut result = None;
///     loop {
///         while let Some(output) = session.poll_output() {
///             match output {
///                 // A call on the main object. Every delivery must be settled.
///                 Output::Deliver(delivery) => session.settle(delivery.call, Ok(Payload::plain(r#""hello""#))),
///                 Output::Settled { outcome: Outcome::Resolved(value), .. } => result = Some(value.text().to_owned()),
///                 _ => {}
///             }
///         }
///         let Some(message) = session.poll_transmit() else { return result };
///         peer.handle_message(&message);
///     }
/// }
///
/// let (mut client, mut server) = (Session::new(Limits::default(), false), Session::new(Limits::default(), true));
/// let greeting = client.call(client.main(), &[Step::Name("greet".into())], Some(Payload::plain("[]")));
/// client.pull(greeting, &[]);
/// client.release(greeting);
/// assert_eq!(drain(&mut client, &mut server), None);
/// assert_eq!(drain(&mut server, &mut client), None);
/// assert_eq!(drain(&mut client, &mut server).as_deref(), Some(r#""hello""#));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub(in crate::session) limits: Arc<Limits>,
    pub(in crate::session) exports: Table<ExportId, Export>,
    pub(in crate::session) imports: Table<ImportId, Import>,
    pub(in crate::session) promises: Table<PromiseId, Promise>,
    pub(in crate::session) targets: Table<TargetId, Target>,
    pub(in crate::session) gathers: Table<GatherId, Gather>,
    /// Maps whose input has not arrived, by the promise of their result.
    pub(in crate::session) maps: Table<PromiseId, Mapper>,
    /// Waits of the application. Each holds its result once.
    pub(in crate::session) waits: Table<WaitId, Ref>,
    pub(in crate::session) next: Counters,
    /// What another process needs to recover the session.
    pub(in crate::session) recovery: Recovery,
    /// Work that remains to be done. Empty between inputs, unless it exceeds a slice.
    pub(in crate::session) work: VecDeque<Work>,
    /// Work deferred to the next slice, in order. Empty between inputs.
    pub(in crate::session) later: Vec<Work>,
    /// The work done for the current input.
    pub(in crate::session) budget: Budget,
    /// A message is being evaluated; calls in it may be deferred.
    pub(in crate::session) is_evaluating: bool,
    /// Indexes into large values.
    pub(in crate::session) indexes: Indexes,
    /// References to release. Empty between inputs.
    pub(in crate::session) garbage: Vec<Ref>,
    /// Deliveries that wait because `limits.running_calls` are running.
    pub(in crate::session) ready: VecDeque<Delivery>,
    /// Deliveries that were returned and are not settled.
    pub(in crate::session) running: usize,
    /// Streams that the peer has open toward this side.
    pub(in crate::session) pipes: usize,
    /// Pulled results that have not been sent.
    pub(in crate::session) answers_owed: usize,
    /// Bytes held for the peer.
    pub(in crate::session) account: Account,
    pub(in crate::session) outputs: VecDeque<Output>,
    pub(in crate::session) transmit: Outbox,
    /// Boxed, because most sessions never have it.
    pub(in crate::session) closed: Option<Box<CloseReason>>,
}

impl Session {
    /// The main object of this side, if there is one.
    pub const MAIN: TargetId = TargetId(0);

    /// Creates a session. Without a main object, the peer's calls on it are rejected.
    pub fn new(limits: impl Into<Arc<Limits>>, has_main: bool) -> Self {
        let mut session = Self {
            limits: limits.into(),
            exports: Table::default(),
            imports: Table::default(),
            promises: Table::default(),
            targets: Table::default(),
            gathers: Table::default(),
            maps: Table::default(),
            waits: Table::default(),
            next: Counters {
                export: -1,
                answer: 1,
                import: 1,
                peer_export: 0,
                promise: 1,
                target: 1,
                gather: 1,
                wait: 1,
                answer_floor: 0,
            },
            recovery: Recovery::default(),
            work: VecDeque::new(),
            later: Vec::new(),
            budget: Budget::default(),
            is_evaluating: false,
            indexes: Indexes::default(),
            garbage: Vec::new(),
            ready: VecDeque::new(),
            running: 0,
            pipes: 0,
            answers_owed: 0,
            account: Account::default(),
            outputs: VecDeque::new(),
            transmit: Outbox::default(),
            closed: None,
        };
        let what = if has_main {
            session.targets.insert(Self::MAIN, Target { holds: 1, kind: Kind::Object });
            Ref::Target(Self::MAIN)
        } else {
            session.rejected("Error", "This connection has no main object.")
        };
        session.exports.insert(ExportId::MAIN, Export::new(what));
        session.imports.insert(ImportId::MAIN, Import::new(ImportState::Stub));
        session
    }
}
