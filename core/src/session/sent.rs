//! Calls of ours that are not answered, kept for the day on which the peer has lost its memory and
//! comes back from an earlier state: what it does not know of is sent again, or is owned up to.
//!
//! Kept only when asked for. What becomes of the calls then is decided in `replan`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::table::Table;
use super::{ImportState, Ref, Session};
use crate::id::{ExportId, ImportId};
use crate::wire::CALL;

/// A call that is not answered, or that nobody can say of whether the peer has seen it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sent {
    /// The message; `None` once it can not be sent again.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// What was called.
    #[serde(rename = "o")]
    pub(super) on: ImportId,
    /// What of the peer's is among the arguments.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) refs: Vec<ImportId>,
    /// What of ours was introduced by it, once for each mention.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) introduces: Vec<ExportId>,
    /// May be carried out twice.
    #[serde(rename = "i", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) idempotent: bool,
    /// The message is with the transport, or was.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) handed: bool,
}

/// What a message mentions, noted while it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mentioned {
    pub(super) refs: Vec<ImportId>,
    pub(super) introduces: Vec<ExportId>,
    /// A stream begins with it, which can not begin twice.
    pub(super) streams: bool,
}

/// The calls, by the import that each results in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SentLog {
    /// Bytes of messages that are kept; 0 keeps nothing.
    #[serde(rename = "max")]
    bytes_max: usize,
    #[serde(rename = "n")]
    bytes: usize,
    #[serde(rename = "c")]
    calls: Table<ImportId, Sent>,
    /// What the messages result in that wait for the transport.
    #[serde(rename = "w", default, skip_serializing_if = "VecDeque::is_empty")]
    waiting: VecDeque<ImportId>,
}

impl SentLog {
    pub(super) fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// Its count of bytes is that of its messages.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes == self.texts().map(str::len).sum::<usize>()
    }

    /// Returns the messages that are kept.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter_map(|(_, sent)| sent.text.as_deref())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ImportId, &Sent)> {
        self.calls.iter()
    }

    pub(super) fn remove(&mut self, id: ImportId) -> Option<Sent> {
        let sent = self.calls.remove(id)?;
        self.bytes -= sent.text.as_ref().map_or(0, String::len);
        Some(sent)
    }

    /// Whoever made the calls is gone.
    pub(super) fn clear(&mut self) {
        *self = Self { bytes_max: self.bytes_max, ..Self::default() };
    }

    fn insert(&mut self, id: ImportId, sent: Sent) {
        self.bytes += sent.text.as_ref().map_or(0, String::len);
        self.calls.insert(id, sent);
        if self.bytes > self.bytes_max {
            self.forget_texts();
        }
    }

    /// The transport takes a message.
    pub(super) fn note_handed(&mut self, text: &str) {
        if makes_import(text)
            && let Some(id) = self.waiting.pop_front()
            && let Some(sent) = self.calls.get_mut(id)
        {
            sent.handed = true;
        }
    }

    /// Drops the oldest messages, down to half of what may be kept: their calls will be unknown
    /// should the peer forget them, which is no less true.
    fn forget_texts(&mut self) {
        let ids: Vec<ImportId> = self.calls.iter().map(|(id, _)| id).collect();
        for id in ids {
            if self.bytes <= self.bytes_max / 2 {
                return;
            }
            let text = self.calls.get_mut(id).filter(|sent| sent.handed).and_then(|sent| sent.text.take());
            self.bytes -= text.map_or(0, |text| text.len());
        }
    }
}

impl Session {
    /// Keeps calls that are not answered, up to so many bytes of messages, from now on: the peer
    /// can be made again from an earlier state, and then they are needed by `replan`. Asked for
    /// before the first call.
    pub fn keep_sent(&mut self, bytes_max: usize) {
        self.sent.bytes_max = bytes_max;
    }

    /// The call that resulted in `of` may be carried out twice: it will be sent again where its
    /// fate is not known.
    pub fn mark_idempotent(&mut self, of: Ref) {
        if let Ref::Import(id) = of
            && let Some(sent) = self.sent.calls.get_mut(id)
        {
            sent.idempotent = true;
        }
    }

    /// The peer will know of all our pushes below `next_positive`, whatever befalls it.
    pub fn covered(&mut self, next_positive: i64) {
        let ids = self.sent.iter().map(|(id, _)| id);
        let covered: Vec<ImportId> = ids.take_while(|id| id.0 < next_positive).collect();
        for id in covered {
            let is_pending = self.is_pending_import(id);
            if let Some(mut sent) = self.sent.remove(id)
                && is_pending
            {
                sent.text = None;
                self.sent.insert(id, sent);
            }
        }
    }

    pub(super) fn is_pending_import(&self, id: ImportId) -> bool {
        self.imports.get(id).is_some_and(|import| matches!(import.state, ImportState::Pending { .. }))
    }

    /// Notes a call whose message is lined up now.
    pub(super) fn note_sent(&mut self, id: ImportId, on: ImportId, idempotent: bool, text: &str, with: Mentioned) {
        let Mentioned { refs, introduces, streams } = with;
        let text = (!streams).then(|| text.to_owned());
        self.sent.insert(id, Sent { text, on, refs, introduces, idempotent, handed: false });
        self.sent.waiting.push_back(id);
    }

    /// A message that makes an import is lined up that no peer is ever sent twice.
    pub(super) fn note_unkept(&mut self, id: ImportId) {
        if self.sent.is_on() {
            self.sent.waiting.push_back(id);
        }
    }

    /// What is lined up is not; `calls` are, in this order.
    pub(super) fn note_lined_up(&mut self, calls: impl Iterator<Item = ImportId>) {
        self.sent.waiting = calls.collect();
    }
}

fn makes_import(text: &str) -> bool {
    let text = text.strip_prefix(CALL).unwrap_or(text);
    ["[\"push\"", "[\"stream\"", "[\"pipe\""].iter().any(|head| text.starts_with(head))
}
