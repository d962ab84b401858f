//! The log of calls to the peer that were not answered, for retransmission to a recovered server.
//! It is kept only if it was enabled; `reconcile` decides what happens to the calls.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::id::{ExportId, ImportId};
use crate::session::state::table::Table;
use crate::session::state::{ImportState, Ref, Session};

/// A call that was not answered, or that the peer may not have received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// The message; `None` if it can no longer be retransmitted.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// The target of the call.
    #[serde(rename = "o")]
    pub(crate) on: ImportId,
    /// The imports among its arguments.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refs: Vec<ImportId>,
    /// The exports that it mentions, once for each mention.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) introduces: Vec<ExportId>,
    /// The call may run twice.
    #[serde(rename = "i", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) idempotent: bool,
    /// The message was given to a connection.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) transmitted: bool,
}

/// What a message mentions, collected while it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mentioned {
    pub(crate) refs: Vec<ImportId>,
    pub(crate) introduces: Vec<ExportId>,
    /// The message opens a stream, so it cannot be retransmitted.
    pub(crate) streams: bool,
}

/// The calls, by the id of their result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SentLog {
    /// The maximum size of the messages that are kept, in bytes; 0 disables the log.
    #[serde(rename = "max")]
    bytes_max: usize,
    #[serde(rename = "n")]
    bytes: usize,
    #[serde(rename = "c")]
    calls: Table<ImportId, Sent>,
    /// The ids of the results of queued messages, in their order.
    #[serde(rename = "w", default, skip_serializing_if = "VecDeque::is_empty")]
    waiting: VecDeque<ImportId>,
}

impl SentLog {
    pub(crate) fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// Returns `true` if the count of bytes is correct.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes == self.texts().map(str::len).sum::<usize>()
    }

    /// Returns the messages that are kept.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter_map(|(_, sent)| sent.text.as_deref())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ImportId, &Sent)> {
        self.calls.iter()
    }

    pub(crate) fn remove(&mut self, id: ImportId) -> Option<Sent> {
        let sent = self.calls.remove(id)?;
        self.bytes -= sent.text.as_ref().map_or(0, String::len);
        Some(sent)
    }

    /// Removes all calls.
    pub(crate) fn clear(&mut self) {
        *self = Self { bytes_max: self.bytes_max, ..Self::default() };
    }

    fn insert(&mut self, id: ImportId, sent: Sent) {
        self.bytes += sent.text.as_ref().map_or(0, String::len);
        self.calls.insert(id, sent);
        if self.bytes > self.bytes_max {
            self.forget_texts();
        }
    }

    /// Records that the next message that creates an import was given to a connection.
    pub(crate) fn note_transmitted(&mut self) {
        if let Some(id) = self.waiting.pop_front()
            && let Some(sent) = self.calls.get_mut(id)
        {
            sent.transmitted = true;
        }
    }

    /// Drops the oldest messages that were given to a connection, until half of the limit is free.
    /// If the peer then loses their calls, those fail with an unknown outcome.
    fn forget_texts(&mut self) {
        let ids: Vec<ImportId> = self.calls.iter().map(|(id, _)| id).collect();
        for id in ids {
            if self.bytes <= self.bytes_max / 2 {
                return;
            }
            let text = self.calls.get_mut(id).filter(|sent| sent.transmitted).and_then(|sent| sent.text.take());
            self.bytes -= text.map_or(0, |text| text.len());
        }
    }
}

impl Session {
    /// Enables the log of unanswered calls, with up to `bytes_max` bytes of messages. `reconcile`
    /// retransmits them to a recovered server. Must be called before the first call.
    pub fn keep_sent(&mut self, bytes_max: usize) {
        self.recovery.sent.bytes_max = bytes_max;
    }

    /// Marks the call whose result is `of` as idempotent. It is retransmitted even if it may have
    /// run.
    pub fn mark_idempotent(&mut self, of: Ref) {
        if let Ref::Import(id) = of
            && let Some(sent) = self.recovery.sent.calls.get_mut(id)
        {
            sent.idempotent = true;
        }
    }

    /// Records that the peer has durably stored all pushes below `next_positive`.
    pub fn covered(&mut self, next_positive: i64) {
        let ids = self.recovery.sent.iter().map(|(id, _)| id);
        let covered: Vec<ImportId> = ids.take_while(|id| id.0 < next_positive).collect();
        for id in covered {
            let is_pending = self.is_pending_import(id);
            if let Some(mut sent) = self.recovery.sent.remove(id)
                && is_pending
            {
                sent.text = None;
                self.recovery.sent.insert(id, sent);
            }
        }
    }

    pub(in crate::session) fn is_pending_import(&self, id: ImportId) -> bool {
        self.imports.get(id).is_some_and(|import| matches!(import.state, ImportState::Pending { .. }))
    }

    /// Records a call whose message is being queued.
    pub(in crate::session) fn note_sent(
        &mut self,
        id: ImportId,
        on: ImportId,
        idempotent: bool,
        text: &str,
        with: Mentioned,
    ) {
        let Mentioned { refs, introduces, streams } = with;
        let text = (!streams).then(|| text.to_owned());
        self.recovery.sent.insert(id, Sent { text, on, refs, introduces, idempotent, transmitted: false });
        self.recovery.sent.waiting.push_back(id);
    }

    /// Records a queued message that adds an import but is never retransmitted.
    pub(in crate::session) fn note_unkept(&mut self, id: ImportId) {
        if self.recovery.sent.is_on() {
            self.recovery.sent.waiting.push_back(id);
        }
    }

    /// Replaces the list of queued messages by `calls`, in this order.
    pub(in crate::session) fn note_lined_up(&mut self, calls: impl Iterator<Item = ImportId>) {
        self.recovery.sent.waiting = calls.collect();
    }
}
