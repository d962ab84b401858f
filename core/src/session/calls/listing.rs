//! Listing what the peer holds of this side.

use std::collections::HashMap;

use crate::id::{ExportId, ImportId, PromiseId};
use crate::session::state::promises::{Found, PromiseState, Queued};
use crate::session::state::{Ref, Session};

/// An object or result of this side that the peer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The id in messages.
    pub id: i64,
    /// The name of the object's restorer, if it has a recipe.
    pub name: Option<&'a str>,
    /// The kind and state of the entry.
    pub state: EntryState,
    /// The id of the result that a pending call was made on.
    pub parent: Option<i64>,
    /// The reference count.
    pub mentions: i64,
}

/// The kind and state of an [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// An object.
    Object,
    /// A result that has not arrived.
    Pending,
    /// A result that has arrived.
    Resolved,
    /// A call that failed.
    Rejected,
}

impl Session {
    /// Returns everything that the peer holds except the main object: first the results of its
    /// calls, then exports, both in order of creation. Starts after the entry with id `after`.
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
                Ref::Target(target) => self.recovery.recipes.get(target).map(|recipe| recipe.restorer.as_str()),
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

    /// Returns the number of deliveries that were returned and not settled, or wait to be
    /// returned.
    pub fn calls_running(&self) -> usize {
        self.running + self.ready.len()
    }

    /// Returns `true` if this side holds nothing of the peer and waits for nothing. References kept
    /// by name and the peer's main object do not count.
    pub fn is_unused(&self) -> bool {
        let by_name = |id| self.recovery.kept.values().filter(|of| **of == Ref::Import(id)).count();
        let is_held = |id, holds: u32| id != ImportId::MAIN && holds as usize > by_name(id);
        self.waits.is_empty() && !self.imports.iter().any(|(id, import)| is_held(id, import.holds))
    }

    /// Returns the bytes that are held for the peer; see `Limits::held_bytes`.
    pub fn held_bytes(&self) -> usize {
        self.account.bytes() + self.indexes.bytes()
    }

    /// Counts bytes that are held for the peer outside of the session: `after` in the place of `before`. A
    /// session that has ended counts nothing.
    pub(crate) fn set_held_outside(&mut self, before: usize, after: usize) {
        if self.closed.is_none() {
            self.account.set_outside(before, after);
        }
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

    /// Returns the id of the push that each waiting call was made on.
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
