//! Indexes into large values, so that looking up a part does not read the whole value.
//!
//! An index is built when a part of a settled value is first looked up. It is derived from the
//! value's text, so it is not part of snapshots or comparisons.

use std::collections::BTreeMap;

use crate::session::state::Ref;
use crate::value::text::{Cursor, TextError, hash_name};
use crate::value::{PLACEHOLDER, Payload};

/// Values with shorter texts have no index and are read from the front.
pub(crate) const INDEX_BYTES: usize = 16 << 10;

/// Objects and arrays with shorter texts are not indexed and are read from their front.
const LARGE_BYTES: usize = 1 << 10;

/// The position of every `STRIDE`-th element of an array is indexed, and that of each element that
/// begins `LARGE_BYTES` or more after the last indexed one.
const STRIDE: u32 = 32;

/// The positions of a value's parts, as byte offsets into its text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Objects and arrays with long texts, sorted by their start.
    containers: Vec<Container>,
    members: Vec<Member>,
    placeholders: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Container {
    start: u32,
    end: u32,
    /// The range of this container in `Index::members`.
    members: (u32, u32),
}

/// A member of an object, keyed by the hash of its name, or an element of an array, keyed by its
/// number. Members with equal hashes are compared by name, and the comparisons are charged as work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    key: u32,
    at: u32,
}

/// A container that is being read.
struct Frame {
    start: usize,
    is_object: bool,
    /// The start of its members in `Builder::pending`.
    pending: usize,
    /// The number of elements read, and the position of the last indexed one.
    elements: u32,
    noted: usize,
}

/// An index that is being built.
struct Builder<'a> {
    cursor: Cursor<'a>,
    index: Index,
    frames: Vec<Frame>,
    /// Members of the open containers, innermost last. They are moved to the index when their
    /// container is closed and turns out to be long.
    pending: Vec<Member>,
}

impl Index {
    /// Builds the index of a value. Returns `None` if it would take more than twice as much memory
    /// as the value.
    pub(crate) fn of(value: &Payload<Ref>) -> Option<Self> {
        u32::try_from(value.text_len()).ok()?;
        let builder =
            Builder { cursor: value.cursor(), index: Self::default(), frames: Vec::new(), pending: Vec::new() };
        let mut index = builder.build().ok()?;
        index.containers.sort_unstable_by_key(|container| container.start);
        index.containers.shrink_to_fit();
        index.members.shrink_to_fit();
        index.placeholders.shrink_to_fit();
        (index.bytes() <= 2 * value.text_len()).then_some(index)
    }

    /// Returns the size of the index in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Container>() * self.containers.len()
            + size_of::<Member>() * self.members.len()
            + size_of::<u32>() * self.placeholders.len()
    }

    /// Returns the number of placeholders before `at`.
    pub(crate) fn placeholders_before(&self, at: usize) -> usize {
        self.placeholders.partition_point(|&place| (place as usize) < at)
    }

    /// Returns the end of the object or array that begins at `start`, if it is indexed.
    pub(crate) fn end_of(&self, start: usize) -> Option<usize> {
        self.container(start).map(|container| container.end as usize)
    }

    /// Returns the positions of the members whose names may be `name`, if the object at `start` is
    /// indexed.
    pub(crate) fn members(&self, start: usize, name: &str) -> Option<impl Iterator<Item = usize>> {
        let members = self.members_of(start)?;
        let key = hash_name(name);
        let first = members.partition_point(|member| member.key < key);
        Some(members[first..].iter().take_while(move |member| member.key == key).map(|member| member.at as usize))
    }

    /// Returns the number and position of the last indexed element up to `number`, if the array at
    /// `start` is indexed.
    pub(crate) fn element(&self, start: usize, number: u64) -> Option<(u64, usize)> {
        let members = self.members_of(start)?;
        let behind = members.partition_point(|member| u64::from(member.key) <= number);
        let member = members.get(behind.checked_sub(1)?)?;
        Some((member.key.into(), member.at as usize))
    }

    fn container(&self, start: usize) -> Option<&Container> {
        let at = self.containers.binary_search_by_key(&start, |container| container.start as usize).ok()?;
        self.containers.get(at)
    }

    fn members_of(&self, start: usize) -> Option<&[Member]> {
        let (first, end) = self.container(start)?.members;
        self.members.get(first as usize..end as usize)
    }
}

impl Builder<'_> {
    fn build(mut self) -> Result<Index, TextError> {
        loop {
            if self.value()? {
                continue;
            }
            // The value has ended. Close the containers that end with it.
            loop {
                let Some(frame) = self.frames.last() else { return Ok(self.index) };
                if self.cursor.take(b',') {
                    if frame.is_object {
                        self.member()?
                    } else {
                        self.element()
                    }
                    break;
                }
                self.cursor.expect(if frame.is_object { b'}' } else { b']' })?;
                self.close();
            }
        }
    }

    /// Skips a value, or enters it if it has parts. Returns `true` if it was entered.
    fn value(&mut self) -> Result<bool, TextError> {
        let first = self.cursor.peek();
        let at = self.cursor.at();
        match first {
            Some(open @ (b'[' | b'{')) => {
                let is_object = open == b'{';
                self.cursor.take(open);
                if self.cursor.take(if is_object { b'}' } else { b']' }) {
                    return Ok(false);
                }
                let frame = Frame { start: at, is_object, pending: self.pending.len(), elements: 0, noted: at };
                self.frames.push(frame);
                if is_object {
                    self.member()?
                } else {
                    self.element()
                }
                return Ok(true);
            }
            Some(b'"') => drop(self.cursor.raw_string()?),
            _ => {
                if first == Some(PLACEHOLDER.as_bytes()[0]) {
                    self.index.placeholders.push(at as u32);
                }
                self.cursor.scalar()?;
            }
        }
        Ok(false)
    }

    /// Records the member at the cursor and moves to its value.
    fn member(&mut self) -> Result<(), TextError> {
        self.cursor.peek();
        let at = self.cursor.at() as u32;
        let key = hash_name(&self.cursor.string()?);
        self.pending.push(Member { key, at });
        self.cursor.expect(b':')
    }

    /// Records the element at the cursor, if it is to be indexed.
    fn element(&mut self) {
        self.cursor.peek();
        let at = self.cursor.at();
        let Some(frame) = self.frames.last_mut() else { return };
        if frame.elements.is_multiple_of(STRIDE) || at - frame.noted >= LARGE_BYTES {
            frame.noted = at;
            self.pending.push(Member { key: frame.elements, at: at as u32 });
        }
        frame.elements += 1;
    }

    /// Closes the innermost container.
    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let end = self.cursor.at();
        if end - frame.start >= LARGE_BYTES {
            let own = &mut self.pending[frame.pending..];
            if frame.is_object {
                own.sort_unstable();
            }
            let first = self.index.members.len();
            self.index.members.extend_from_slice(own);
            let members = (first as u32, self.index.members.len() as u32);
            self.index.containers.push(Container { start: frame.start as u32, end: end as u32, members });
        }
        self.pending.truncate(frame.pending);
    }
}

/// The indexes of a session, by the entry that contains the value. Most sessions have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes(Option<Box<Made>>);

#[derive(Clone, Debug, Default)]
struct Made {
    /// `None` if the index of the value would be too large.
    by_entry: BTreeMap<Ref, Option<Index>>,
    bytes: usize,
}

/// Indexes are derived from values, so they make no difference.
impl PartialEq for Indexes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Indexes {
    /// Returns the size of all indexes in bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |made| made.bytes)
    }

    /// Returns the index of an entry's value; `Some(None)` if the value cannot have one, and `None`
    /// if it has not been built.
    pub(crate) fn get(&self, of: Ref) -> Option<Option<&Index>> {
        self.0.as_ref()?.by_entry.get(&of).map(Option::as_ref)
    }

    /// Stores the index of an entry's value. If all indexes together would exceed `most` bytes, the
    /// others are dropped, and rebuilt when they are needed.
    pub(crate) fn insert(&mut self, of: Ref, index: Option<Index>, most: usize) {
        let index = index.filter(|index| index.bytes() <= most);
        let bytes = index.as_ref().map_or(0, Index::bytes) + size_of::<(Ref, Option<Index>)>();
        if self.bytes() + bytes > most {
            self.clear();
        }
        let made = self.0.get_or_insert_default();
        made.bytes += bytes;
        made.by_entry.insert(of, index);
    }

    /// Drops the index of an entry.
    #[inline]
    pub(crate) fn remove(&mut self, of: Ref) {
        if let Some(made) = &mut self.0
            && let Some(index) = made.by_entry.remove(&of)
        {
            made.bytes -= index.as_ref().map_or(0, Index::bytes) + size_of::<(Ref, Option<Index>)>();
            if made.by_entry.is_empty() {
                self.clear();
            }
        }
    }

    /// Drops all indexes.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
