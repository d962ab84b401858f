//! What the peer holds of ours, one by one.

use std::collections::HashMap;

use super::promise::{Found, PromiseState, Queued};
use super::{Ref, Session};
use crate::id::{ExportId, ImportId, PromiseId};

/// Something of ours that the peer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The number by which messages name it.
    pub id: i64,
    /// Of its recipe.
    pub name: Option<&'a str>,
    /// What it is, and how far it has come.
    pub state: EntryState,
    /// The result that a call waits for in order to be made on it.
    pub parent: Option<i64>,
    /// How often the peer was told of it.
    pub mentions: i64,
}

/// What an entry is, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// An object.
    Object,
    /// A result that is not there yet.
    Pending,
    /// A result that is there.
    Resolved,
    /// A call that failed.
    Rejected,
}

impl Session {
    /// Everything that the peer holds but the main object: first results of its calls, then what
    /// it was given, both in the order in which they were made; from behind `after` on.
    pub fn entries(&self, after: Option<i64>) -> impl Iterator<Item = Entry<'_>> {
        let parents = self.parents();
        let is_behind = move |id: i64| match after {
            None => true,
            Some(after) if after > 0 => id < 0 || id > after,
            Some(after) => id < after,
        };
        let exports = self.exports.iter().filter(move |(id, _)| *id != ExportId::MAIN && is_behind(id.0));
        exports.map(move |(id, export)| {
            let name = match export.what {
                Ref::Target(target) => self.recipes.get(target).map(|recipe| recipe.restorer.as_str()),
                _ => None,
            };
            let parent = match export.what {
                Ref::Promise(result) => parents.get(&result).copied(),
                _ => None,
            };
            let mentions = i64::try_from(export.mentions).unwrap_or(i64::MAX);
            Entry { id: id.0, name, state: self.entry_state(export.what), parent, mentions }
        })
    }

    /// Calls that were handed out and have not ended, or are about to be handed out.
    pub fn calls_running(&self) -> usize {
        self.running + self.ready.len()
    }

    /// Whether this side holds nothing of the peer's and waits for nothing. References that are kept
    /// by name do not count, nor does the peer's main object.
    pub fn is_unused(&self) -> bool {
        let by_name = |id| self.kept.values().filter(|of| **of == Ref::Import(id)).count();
        let is_held = |id, holds: u32| id != ImportId::MAIN && holds as usize > by_name(id);
        self.waits.is_empty() && !self.imports.iter().any(|(id, import)| is_held(id, import.holds))
    }

    /// Bytes of settled results, and of arguments of calls that have not begun.
    pub fn held_bytes(&self) -> usize {
        self.account.bytes() + self.indexes.bytes()
    }

    fn entry_state(&self, of: Ref) -> EntryState {
        if let Ref::Target(_) = of {
            return EntryState::Object;
        }
        match self.follow(of) {
            Found::Pending(_) | Found::Awaited(_) => EntryState::Pending,
            Found::Failed(_) | Found::Gone => EntryState::Rejected,
            Found::Target(_) | Found::Stub(_) | Found::Value(_) => EntryState::Resolved,
        }
    }

    /// Of each call that waits, the push on whose result it is made.
    fn parents(&self) -> HashMap<PromiseId, i64> {
        let pending = self.promises.iter().filter_map(|(_, promise)| match &promise.state {
            PromiseState::Pending { calls, .. } if promise.push.0 > 0 => Some((promise.push.0, calls)),
            _ => None,
        });
        let queued = pending.flat_map(|(parent, calls)| calls.iter().map(move |call| (call, parent)));
        queued
            .map(|(call, parent)| match call {
                Queued::Call(result, _) | Queued::Map(result) => (*result, parent),
            })
            .collect()
    }
}
