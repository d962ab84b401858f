//! Tables indexed by id.
//!
//! Because ids are counters, a table is a ring over a range of ids, and a lookup is one index. An
//! entry that outlives its neighbors would keep the range from shrinking, so it moves to a tree. So
//! do ids of a peer that does not count consecutively.

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::marker::PhantomData;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{ExportId, ID_MAX, ImportId, PromiseId, TargetId, WaitId};

/// An id that is a key of a table.
pub(crate) trait Key: Copy {
    fn number(self) -> i64;
    fn of(number: i64) -> Self;
}

macro_rules! keys {
    ($($name:ident),*) => {$(
        impl Key for $name {
            fn number(self) -> i64 {
                self.0
            }
            fn of(number: i64) -> Self {
                Self(number)
            }
        }
    )*};
}

keys!(ImportId, ExportId, TargetId, PromiseId, WaitId);

/// A map from ids of both signs to entries. Tables are equal if their entries are, regardless of
/// where they are stored.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, T> {
    /// Ids from 0 up.
    up: Side<T>,
    /// Negative ids, by magnitude. Most tables have none.
    down: Option<Box<Side<T>>>,
    key: PhantomData<K>,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { up: Side::default(), down: None, key: PhantomData }
    }
}

impl<K: Key, T> Table<K, T> {
    pub(crate) fn insert(&mut self, id: K, entry: T) {
        let side = if id.number() < 0 { self.down.get_or_insert_default() } else { &mut self.up };
        side.insert(id.number().unsigned_abs(), entry);
    }

    pub(crate) fn get(&self, id: K) -> Option<&T> {
        let side = if id.number() < 0 { self.down.as_deref()? } else { &self.up };
        side.get(id.number().unsigned_abs())
    }

    pub(crate) fn get_mut(&mut self, id: K) -> Option<&mut T> {
        self.side_mut(id)?.get_mut(id.number().unsigned_abs())
    }

    pub(crate) fn remove(&mut self, id: K) -> Option<T> {
        self.side_mut(id)?.remove(id.number().unsigned_abs())
    }

    pub(crate) fn len(&self) -> usize {
        self.up.len + self.down.as_ref().map_or(0, |down| down.len)
    }

    /// Iterates over the entries in the order of their ids: first those from 0 up, then the
    /// negative ones from -1 down.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        let down = self
            .down
            .iter()
            .flat_map(|down| down.iter())
            .map(|(key, entry)| (K::of(0i64.wrapping_sub_unsigned(key)), entry));
        self.up.iter().map(|(key, entry)| (K::of(0i64.wrapping_add_unsigned(key)), entry)).chain(down)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the entries in arbitrary order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = T> {
        [Some(self.up), self.down.map(|down| *down)].into_iter().flatten().flat_map(Side::into_entries)
    }

    /// Returns the ids in ascending order.
    pub(crate) fn ids(&self) -> Vec<K> {
        let mut ids: Vec<i64> = self.iter().map(|(id, _)| id.number()).collect();
        ids.sort_unstable();
        ids.into_iter().map(K::of).collect()
    }

    /// Frees unused capacity of a table with few entries.
    pub(crate) fn shrink(&mut self) {
        self.up.shrink();
        if let Some(down) = &mut self.down {
            down.shrink();
        }
    }

    fn side_mut(&mut self, id: K) -> Option<&mut Side<T>> {
        if id.number() < 0 { self.down.as_deref_mut() } else { Some(&mut self.up) }
    }
}

impl<K: Key, T> FromIterator<(K, T)> for Table<K, T> {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(entries: I) -> Self {
        let mut table = Self::default();
        entries.into_iter().for_each(|(id, entry)| table.insert(id, entry));
        table
    }
}

impl<K: Key, T: PartialEq> PartialEq for Table<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(id, entry)| other.get(id) == Some(entry))
    }
}

/// Serializes a table as a list of pairs, sorted by id.
impl<K: Key, T: Serialize> Serialize for Table<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.ids().into_iter().filter_map(|id| Some((id.number(), self.get(id)?)));
        serializer.collect_seq(entries)
    }
}

impl<'de, K: Key, T: Deserialize<'de>> Deserialize<'de> for Table<K, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Self::default();
        for (id, entry) in Vec::<(i64, T)>::deserialize(deserializer)? {
            if !(-ID_MAX..=ID_MAX).contains(&id) || table.get(K::of(id)).is_some() {
                return Err(D::Error::custom(format!("id {id} is out of range or duplicate")));
            }
            table.insert(K::of(id), entry);
        }
        Ok(table)
    }
}

/// Makes nearly every entry take the rare paths. `BOWLINE_SPARSE_TABLES` is read when the crate is
/// compiled, and `./check` repeats the tests of sessions with it.
const IS_SPARSE: bool = option_env!("BOWLINE_SPARSE_TABLES").is_some();

/// Gaps of at most this many ids are kept in the ring. Entries beyond a longer gap go to the tree.
const GAP_MAX: u64 = if IS_SPARSE { 1 } else { 64 };

/// Rings up to this length are not thinned out or shrunk.
const RING_MIN: usize = if IS_SPARSE { 1 } else { 64 };

/// Rings below this length are shrunk to fit, since the copy costs next to nothing.
const RING_SHRINKS: usize = 4;

#[derive(Clone, Debug)]
struct Side<T> {
    /// The id of `ring[0]`.
    base: u64,
    ring: VecDeque<Option<T>>,
    /// Entries below `base`, and those far beyond the ring. `None` if there are none.
    #[expect(clippy::box_collection, reason = "a session has a dozen tables, and an empty map takes 24 bytes in each")]
    stray: Option<Box<BTreeMap<u64, T>>>,
    /// The number of entries in both.
    len: usize,
}

impl<T> Default for Side<T> {
    fn default() -> Self {
        Self { base: 0, ring: VecDeque::new(), stray: None, len: 0 }
    }
}

impl<T> Side<T> {
    fn insert(&mut self, key: u64, entry: T) {
        // The common case: ids are assigned consecutively.
        if self.stray.is_none() {
            if self.ring.is_empty() {
                self.base = key;
            }
            if key == self.base + self.ring.len() as u64 {
                self.ring.push_back(Some(entry));
                self.len += 1;
                return self.make_room();
            }
        }
        if let Some(place) = self.get_mut(key) {
            *place = entry;
            return;
        }
        if self.ring.is_empty() {
            self.base = key;
        }
        let end = self.base + self.ring.len() as u64;
        if (self.base..end).contains(&key) {
            self.ring[(key - self.base) as usize] = Some(entry);
        } else if key >= end && key - end <= GAP_MAX {
            self.ring.extend((end..key).map(|_| None));
            self.ring.push_back(Some(entry));
        } else {
            self.stray.get_or_insert_default().insert(key, entry);
        }
        self.len += 1;
        self.make_room();
    }

    fn get(&self, key: u64) -> Option<&T> {
        match key.checked_sub(self.base).and_then(|at| self.ring.get(at as usize)) {
            Some(Some(entry)) => Some(entry),
            _ => self.stray.as_ref()?.get(&key),
        }
    }

    fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        match key.checked_sub(self.base).and_then(|at| self.ring.get_mut(at as usize)) {
            Some(Some(entry)) => Some(entry),
            _ => self.stray.as_mut()?.get_mut(&key),
        }
    }

    fn remove(&mut self, key: u64) -> Option<T> {
        let place = key.checked_sub(self.base).and_then(|at| self.ring.get_mut(at as usize));
        let entry = match place.and_then(Option::take) {
            Some(entry) => entry,
            None => self.remove_stray(key)?,
        };
        self.len -= 1;
        self.trim();
        Some(entry)
    }

    fn remove_stray(&mut self, key: u64) -> Option<T> {
        let stray = self.stray.as_mut()?;
        let entry = stray.remove(&key);
        if stray.is_empty() {
            self.stray = None;
        }
        entry
    }

    fn trim(&mut self) {
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.base += 1;
        }
        if self.ring.capacity() > RING_MIN && self.ring.len() < self.ring.capacity() / 4 {
            self.ring.shrink_to(self.ring.len() * 2);
        }
    }

    /// Moves the oldest entries of a ring that is mostly empty to the tree.
    #[inline]
    fn make_room(&mut self) {
        if self.ring.len() > RING_MIN {
            self.move_strays();
        }
    }

    fn move_strays(&mut self) {
        let strays = |side: &Self| side.stray.as_ref().map_or(0, |stray| stray.len());
        while self.ring.len() > RING_MIN && self.ring.len() > 4 * (self.len - strays(self)) {
            if let Some(Some(entry)) = self.ring.pop_front() {
                self.stray.get_or_insert_default().insert(self.base, entry);
            }
            self.base += 1;
            self.trim();
        }
    }

    fn shrink(&mut self) {
        if self.ring.len() < RING_SHRINKS {
            self.ring.shrink_to_fit();
        }
    }

    fn into_entries(self) -> impl Iterator<Item = T> {
        self.stray.into_iter().flat_map(|stray| stray.into_values()).chain(self.ring.into_iter().flatten())
    }

    /// Iterates over the entries in the order of their ids. Strays may be on both sides of the
    /// ring, and in its gaps if it has grown around them.
    fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let ring = self.ring.iter().enumerate();
        let mut ring = ring.filter_map(|(at, entry)| Some((self.base + at as u64, entry.as_ref()?))).peekable();
        let mut strays = self.stray.iter().flat_map(|stray| stray.iter()).map(|(&key, entry)| (key, entry)).peekable();
        iter::from_fn(move || match (strays.peek(), ring.peek()) {
            (Some((stray, _)), Some((key, _))) if stray > key => ring.next(),
            (Some(_), _) => strays.next(),
            (None, _) => ring.next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lived_entry_does_not_keep_the_ring_long() {
        let mut table = Table::default();
        table.insert(ImportId(1), "old");
        for id in (2..100_000).map(ImportId) {
            table.insert(id, "call");
            assert_eq!(table.remove(id), Some("call"));
        }
        assert_eq!((table.get(ImportId(1)), table.len()), (Some(&"old"), 1));
        assert!(table.up.ring.capacity() <= 4 * RING_MIN, "{}", table.up.ring.capacity());
    }

    #[test]
    fn arbitrary_ids_cost_one_entry_each() {
        let mut table = Table::default();
        let ids = [-1, -(1 << 53), -7, 1 << 53, 0].map(ImportId);
        for id in ids {
            table.insert(id, id);
        }
        assert_eq!(table.len(), 5);
        assert!(table.down.as_ref().unwrap().ring.len() <= 8 && table.up.ring.len() <= 1);
        for id in ids {
            assert_eq!(table.remove(id), Some(id));
            assert_eq!(table.get(id), None);
        }
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn table_behaves_like_a_map() {
        let (mut table, mut model, mut state) = (Table::default(), BTreeMap::new(), 1u64);
        for step in 0..20_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let id = ImportId(((state >> 33) % 600 + step / 8) as i64 - 700);
            if state >> 63 == 0 {
                table.insert(id, step);
                model.insert(id, step);
            } else {
                assert_eq!(table.remove(id), model.remove(&id));
            }
            assert_eq!((table.get(id), table.len()), (model.get(&id), model.len()));
        }
        let (below, above): (Vec<_>, Vec<_>) = model.iter().partition(|(id, _)| id.0 < 0);
        let in_order = above.into_iter().chain(below.into_iter().rev()).map(|(&id, step)| (id, step));
        assert_eq!(table.iter().collect::<Vec<_>>(), in_order.collect::<Vec<_>>());
    }

    #[test]
    fn entries_are_in_id_order_across_ring_and_tree() {
        let far = 2 * GAP_MAX as i64 + 10;
        let mut table = Table::default();
        for id in [1, far, 2, far + 1, 0, -far, -1, -2] {
            table.insert(ImportId(id), id);
        }
        assert!(table.up.stray.as_ref().is_some_and(|stray| stray.len() >= 2), "entries below and beyond the ring");
        let ids: Vec<i64> = table.iter().map(|(_, &id)| id).collect();
        assert_eq!(ids, [0, 1, 2, far, far + 1, -1, -2, -far]);
        // The ring grows up to the strays and around them.
        for id in 3..far {
            table.insert(ImportId(id), id);
        }
        let ids: Vec<i64> = table.iter().map(|(_, &id)| id).filter(|&id| id >= 0).collect();
        assert_eq!(ids, (0..=far + 1).collect::<Vec<_>>());
    }
}
