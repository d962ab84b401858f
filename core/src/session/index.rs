//! Where the parts of a large value are, so that looking one up does not read the value again.
//!
//! An index is made of the text of a settled value when a part of it is first looked up. It is
//! derived from the text: it is in no snapshot, and sessions compare without it.

use std::collections::BTreeMap;

use super::Ref;
use crate::value::text::{Cursor, TextError, hash_name};
use crate::value::{PLACEHOLDER, Payload};

/// Values with shorter texts are read from the front.
pub(super) const INDEX_BYTES: usize = 16 << 10;

/// Objects and arrays with shorter texts are read from their front.
const LARGE_BYTES: usize = 1 << 10;

/// One element of this many has its place in the index, and each that begins so many bytes behind
/// the last that has.
const STRIDE: u32 = 32;

/// The places of a value's parts, as bytes of its text.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Objects and arrays with long texts, by where they begin.
    containers: Vec<Container>,
    members: Vec<Member>,
    placeholders: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Container {
    start: u32,
    end: u32,
    /// Where in `members` those of the container begin and end.
    members: (u32, u32),
}

/// A member of an object, by the hash of its name, or an element of an array, by its number. Names
/// with equal hashes are compared one by one, which counts as work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    key: u32,
    at: u32,
}

/// A container that is being read.
struct Frame {
    start: usize,
    is_object: bool,
    /// Where in the pending members its own begin.
    pending: usize,
    /// Elements so far, and where the last one begins that has its place.
    elements: u32,
    noted: usize,
}

/// An index in the making.
struct Builder<'a> {
    cursor: Cursor<'a>,
    index: Index,
    frames: Vec<Frame>,
    /// Members of the containers that are open, innermost last.
    pending: Vec<Member>,
}

impl Index {
    /// Returns the index of a value, unless it would be larger than the value.
    pub(super) fn of(value: &Payload<Ref>) -> Option<Self> {
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

    /// Returns how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Container>() * self.containers.len()
            + size_of::<Member>() * self.members.len()
            + size_of::<u32>() * self.placeholders.len()
    }

    /// Returns the number of placeholders before a place.
    pub(super) fn placeholders_before(&self, at: usize) -> usize {
        self.placeholders.partition_point(|&place| (place as usize) < at)
    }

    /// Returns where the object or array ends that begins at `start`, if it is long.
    pub(super) fn end_of(&self, start: usize) -> Option<usize> {
        self.container(start).map(|container| container.end as usize)
    }

    /// Returns the places of the members whose names may be `name`, of a long object.
    pub(super) fn members(&self, start: usize, name: &str) -> Option<impl Iterator<Item = usize>> {
        let members = self.members_of(start)?;
        let key = hash_name(name);
        let first = members.partition_point(|member| member.key < key);
        Some(members[first..].iter().take_while(move |member| member.key == key).map(|member| member.at as usize))
    }

    /// Returns the number and the place of an element at or before the element `number`, of a long
    /// array.
    pub(super) fn element(&self, start: usize, number: u64) -> Option<(u64, usize)> {
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
            // A value has ended.
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

    /// Steps over a value, or into one that has parts; true then.
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

    /// Notes the member before the cursor and steps to its value.
    fn member(&mut self) -> Result<(), TextError> {
        self.cursor.peek();
        let at = self.cursor.at() as u32;
        let key = hash_name(&self.cursor.string()?);
        self.pending.push(Member { key, at });
        self.cursor.expect(b':')
    }

    /// Notes the element before the cursor, if it is one that has its place.
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

    /// The innermost container has ended.
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

/// The indexes of a session, by the entry that has the value. Most sessions never have one.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes(Option<Box<Made>>);

#[derive(Clone, Debug, Default)]
struct Made {
    /// `None` for a value whose index would be too large.
    by_entry: BTreeMap<Ref, Option<Index>>,
    bytes: usize,
}

/// What is derived makes no difference.
impl PartialEq for Indexes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Indexes {
    /// Returns how many bytes they take.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |made| made.bytes)
    }

    /// Returns the index of the value of an entry, `None` if it has yet to be made.
    pub(super) fn get(&self, of: Ref) -> Option<Option<&Index>> {
        self.0.as_ref()?.by_entry.get(&of).map(Option::as_ref)
    }

    /// Keeps the index of the value of an entry. They take `most` bytes at most: beyond, the others
    /// are dropped and rebuilt when they are needed.
    pub(super) fn insert(&mut self, of: Ref, index: Option<Index>, most: usize) {
        let index = index.filter(|index| index.bytes() <= most);
        let bytes = index.as_ref().map_or(0, Index::bytes) + size_of::<(Ref, Option<Index>)>();
        if self.bytes() + bytes > most {
            self.clear();
        }
        let made = self.0.get_or_insert_default();
        made.bytes += bytes;
        made.by_entry.insert(of, index);
    }

    /// Drops the index of a value that is dropped.
    #[inline]
    pub(super) fn remove(&mut self, of: Ref) {
        if let Some(made) = &mut self.0
            && let Some(index) = made.by_entry.remove(&of)
        {
            made.bytes -= index.as_ref().map_or(0, Index::bytes) + size_of::<(Ref, Option<Index>)>();
            if made.by_entry.is_empty() {
                self.clear();
            }
        }
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
