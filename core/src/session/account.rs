//! The account of a session: how many bytes it holds for its peer.
//!
//! What a session holds is counted where it is stored: [`Account::add`] when it goes into a table
//! or a queue, [`Account::remove`] when it leaves. What an item counts is a function of the item
//! alone ([`Held`]), so both always agree, and [`Account::of`] can count a whole session anew: a
//! session that was restored starts with that, and audits compare it with the running count.

use super::gather::Gather;
use super::map::{Mapper, Mapping};
use super::promise::{Call, PromiseState, Queued, Settled, Waiter, Waiters};
use super::{Delivery, ImportState, Kind, Path, Recipe, Ref, Rerun, Session, Step, Target};
use crate::value::Payload;
use crate::value::text::Cursor;

/// The number of bytes that a reference counts: those that it takes.
const REF_BYTES: usize = size_of::<Ref>();

/// Names up to this length are stored in place.
const INLINE_BYTES: usize = size_of::<String>();

/// The bytes that one JSON value of the arguments of a running method counts beside its text. A
/// decoded [`Value`](crate::value::Value) takes less, whatever it is; a type with many or large
/// fields that have defaults may take more.
const DECODED_BYTES: usize = 64;

/// Arguments up to this length count as much as their text. `Limits::running_calls` bounds how
/// many there are, and most calls need not be searched for values.
const SHORT_BYTES: usize = 256;

/// What a stub counts that is an argument of a running method.
const STUB_BYTES: usize = 128;

/// What the reading end of a stream counts: its pipe, and twice the longest reason for which it
/// may be aborted. Chunks that wait in the pipe are arguments of calls that are not settled.
const READER_BYTES: usize = 10 << 10;

/// The number of bytes that a session holds for its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    bytes: usize,
}

/// Something that a session holds for its peer.
pub(super) trait Held {
    /// Returns the bytes that it counts: what its contents take beside the entry it is in.
    fn held_bytes(&self) -> usize;
}

impl Account {
    /// Returns the number of bytes.
    #[inline]
    pub(super) fn bytes(self) -> usize {
        self.bytes
    }

    /// Counts `item`, which is stored from now on.
    #[inline]
    pub(super) fn add(&mut self, item: &impl Held) {
        self.bytes += item.held_bytes();
    }

    /// Counts `item` no more, which was stored.
    #[inline]
    pub(super) fn remove(&mut self, item: &impl Held) {
        debug_assert!(item.held_bytes() <= self.bytes, "what is removed was added");
        self.bytes = self.bytes.saturating_sub(item.held_bytes());
    }

    /// Counts everything that is stored in `session`.
    pub(super) fn of(session: &Session) -> Self {
        let mut account = Self::default();
        for (_, import) in session.imports.iter() {
            match &import.state {
                ImportState::Stub => {}
                ImportState::Pending { waiters, .. } => account.add_stored(waiters),
                ImportState::Settled(settled) => account.add_stored(settled),
            }
        }
        for (_, promise) in session.promises.iter() {
            match &promise.state {
                PromiseState::Pending { calls, waiters, delivered, .. } => {
                    calls.iter().for_each(|queued| account.add_stored(queued));
                    account.add_stored(waiters);
                    account.add_stored(delivered);
                }
                PromiseState::Forwarded(_) => {}
                PromiseState::Settled(settled) => account.add_stored(settled),
            }
        }
        session.targets.iter().for_each(|(_, target)| account.add_stored(target));
        session.gathers.iter().for_each(|(_, gather)| account.add_stored(gather));
        session.maps.iter().for_each(|(_, mapper)| account.add_stored(mapper));
        session.recipes.iter().for_each(|(_, recipe)| account.add_stored(recipe));
        session.reruns.iter().for_each(|(_, rerun)| account.add_stored(rerun));
        account
    }

    /// Counts `item`, which comes from a snapshot and may be of any size: the sum saturates.
    fn add_stored(&mut self, item: &impl Held) {
        self.bytes = self.bytes.saturating_add(item.held_bytes());
    }
}

impl Held for Payload<Ref> {
    #[inline]
    fn held_bytes(&self) -> usize {
        self.text_len() + REF_BYTES * self.refs().len()
    }
}

impl<T: Held> Held for Option<T> {
    #[inline]
    fn held_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::held_bytes)
    }
}

impl Held for Settled {
    #[inline]
    fn held_bytes(&self) -> usize {
        let (Ok(payload) | Err(payload)) = self;
        payload.held_bytes()
    }
}

/// A path that takes no room beside its entry counts nothing.
impl Held for Path {
    #[inline]
    fn held_bytes(&self) -> usize {
        let names = self.iter().map(|step| match step {
            Step::Name(name) if name.len() > INLINE_BYTES => name.len(),
            _ => 0,
        });
        let steps = if self.len() > 1 { self.len() * size_of::<Step>() } else { 0 };
        steps + names.sum::<usize>()
    }
}

impl Held for Call {
    fn held_bytes(&self) -> usize {
        self.path.held_bytes() + self.args.held_bytes()
    }
}

/// A map in a queue is counted where it is kept.
impl Held for Queued {
    fn held_bytes(&self) -> usize {
        match self {
            Self::Call(_, call) => call.held_bytes(),
            Self::Map(_) => 0,
        }
    }
}

impl Held for Mapper {
    fn held_bytes(&self) -> usize {
        self.instructions.len() + REF_BYTES * self.captures.len() + self.path.held_bytes()
    }
}

impl Held for Mapping {
    fn held_bytes(&self) -> usize {
        self.mapper.held_bytes() + self.list.held_bytes() + REF_BYTES * self.results.len()
    }
}

/// Only a value that waits for parts has more than one waiter for each entry of a table: one for
/// each part, and the parts may be one.
impl Held for Waiter {
    #[inline]
    fn held_bytes(&self) -> usize {
        if matches!(self, Self::Gather(_)) { REF_BYTES } else { 0 }
    }
}

impl Held for Waiters {
    #[inline]
    fn held_bytes(&self) -> usize {
        self.iter().map(Waiter::held_bytes).sum()
    }
}

impl Held for Gather {
    fn held_bytes(&self) -> usize {
        self.value.held_bytes() + self.then.path().map_or(0, Path::held_bytes)
    }
}

impl Held for Target {
    #[inline]
    fn held_bytes(&self) -> usize {
        if self.kind == Kind::Readable { READER_BYTES } else { 0 }
    }
}

impl Held for Recipe {
    fn held_bytes(&self) -> usize {
        self.restorer.len() + self.params.held_bytes()
    }
}

impl Held for Rerun {
    fn held_bytes(&self) -> usize {
        self.path.held_bytes() + self.args.held_bytes()
    }
}

/// What a call counts from its delivery until its method has returned: the bytes that its path
/// and arguments have, and what the arguments take when they are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Delivered(usize);

impl Delivered {
    /// Counts a delivery whose arguments take `decoded` bytes when they are decoded.
    #[inline]
    pub(super) fn of(delivery: &Delivery, decoded: usize) -> Self {
        Self(delivery.path.held_bytes() + delivery.args.held_bytes() + decoded)
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.0 == 0
    }
}

impl Held for Delivered {
    #[inline]
    fn held_bytes(&self) -> usize {
        self.0
    }
}

/// Returns what the capabilities among arguments take that are handed to a method.
pub(super) fn lifted_bytes(session: &Session, args: &Payload<Ref>) -> usize {
    let bytes = |&of: &Ref| if session.kind(of) == Kind::Readable { READER_BYTES } else { STUB_BYTES };
    args.refs().iter().map(bytes).sum()
}

/// Returns what arguments take when they are decoded, beside their text. They came in a message of
/// at most `nodes` JSON values.
pub(super) fn decoded_bytes(args: &Payload<Ref>, nodes: usize) -> usize {
    let len = args.text_len();
    if len <= SHORT_BYTES {
        return 0;
    }
    // A message that is mostly one long string need not be searched.
    let most = nodes.saturating_mul(DECODED_BYTES);
    if most <= len { most } else { DECODED_BYTES * values(args.cursor()) }
}

/// Returns the number of JSON values before the cursor.
fn values(mut cursor: Cursor<'_>) -> usize {
    struct Count(usize);
    impl<'a> crate::value::text::Watch<'a> for Count {
        type Error = crate::value::text::TextError;
        fn value(&mut self, _: usize) -> Result<(), Self::Error> {
            self.0 += 1;
            Ok(())
        }
        fn object(&mut self) {}
        fn key(&mut self, _: &'a str, _: bool) -> Result<(), Self::Error> {
            Ok(())
        }
        fn object_end(&mut self) {}
    }
    let mut count = Count(0);
    // Arguments were checked; of a text that were none, what is read counts.
    drop(cursor.walk(&mut count));
    count.0
}
