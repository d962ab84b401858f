//! The account of a session: how many bytes it holds for its peer.
//!
//! Items are counted where they are stored: [`Account::add`] when one goes into a table or a queue,
//! [`Account::remove`] when it leaves. The count of an item depends on the item alone ([`Held`]),
//! so additions and removals always match. [`Account::of`] counts a whole session: a restored
//! session starts with that count, and audits compare it with the running one.

use crate::session::state::gathers::Gather;
use crate::session::state::maps::{Mapper, Mapping};
use crate::session::state::promises::{Call, PromiseState, Queued, Settled, Waiter, Waiters};
use crate::session::state::{Delivery, ImportState, Kind, Path, Recipe, Ref, Rerun, Session, Step, Target};
use crate::value::Payload;
use crate::value::text::Cursor;

/// The bytes counted for a reference: its size.
const REF_BYTES: usize = size_of::<Ref>();

/// Names up to this length are stored inline.
const INLINE_BYTES: usize = size_of::<String>();

/// The bytes counted for each JSON value in the arguments of a running method, in addition to its
/// text. A decoded [`Value`](crate::value::Value) never takes more. A type with many or large
/// default fields may.
const DECODED_BYTES: usize = 64;

/// Arguments up to this length are counted as their text alone. Their number is bounded by
/// `Limits::running_calls`, and so most calls need not be searched for values.
const SHORT_BYTES: usize = 256;

/// The bytes counted for a stub in the arguments of a running method.
const STUB_BYTES: usize = 128;

/// The bytes counted for the readable end of a stream: its pipe, and twice the longest reason with
/// which it may be aborted. Chunks in the pipe are counted as arguments of calls that are not
/// settled.
const READER_BYTES: usize = 10 << 10;

/// The number of bytes that a session holds for its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    bytes: usize,
    /// Those of them that the application holds for the peer, outside of the session.
    outside: usize,
}

/// An item that a session holds for its peer.
pub(crate) trait Held {
    /// Returns the bytes counted for the item: what its contents take in addition to its table
    /// entry.
    fn held_bytes(&self) -> usize;
}

impl Account {
    /// Returns the number of bytes.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }

    /// Adds an item that is being stored.
    #[inline]
    pub(crate) fn add(&mut self, item: &impl Held) {
        self.bytes += item.held_bytes();
    }

    /// Subtracts an item that is no longer stored.
    #[inline]
    pub(crate) fn remove(&mut self, item: &impl Held) {
        debug_assert!(item.held_bytes() <= self.bytes, "removed items were added before");
        self.bytes = self.bytes.saturating_sub(item.held_bytes());
    }

    /// Replaces the number of bytes that are held outside of the session.
    pub(crate) fn set_outside(&mut self, before: usize, after: usize) {
        let before = before.min(self.outside);
        self.outside = self.outside - before + after;
        self.bytes = self.bytes - before + after;
    }

    /// Counts everything that is stored in `session`.
    pub(crate) fn of(session: &Session) -> Self {
        let outside = session.account.outside;
        let mut account = Self { bytes: outside, outside };
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
        session.recovery.recipes.iter().for_each(|(_, recipe)| account.add_stored(recipe));
        session.recovery.reruns.iter().for_each(|(_, rerun)| account.add_stored(rerun));
        account
    }

    /// Adds an item that comes from a snapshot and may be of any size, so the sum saturates.
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

/// A path that is stored inline counts nothing.
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

/// A queued map is counted in `Session::maps`.
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

/// Only waiters of a gather are counted. All other kinds are bounded by the entries of a table; a
/// gather has one waiter for each missing part, and the parts may be the same.
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

/// The bytes counted for a call from its delivery until its method has returned: its path and
/// arguments, and the decoded arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Delivered(usize);

impl Delivered {
    /// Counts a delivery whose decoded arguments take `decoded` bytes.
    #[inline]
    pub(crate) fn of(delivery: &Delivery, decoded: usize) -> Self {
        Self(delivery.path.held_bytes() + delivery.args.held_bytes() + decoded)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        self.0 == 0
    }
}

impl Held for Delivered {
    #[inline]
    fn held_bytes(&self) -> usize {
        self.0
    }
}

/// Returns the bytes that the capabilities in the arguments of a method take.
pub(crate) fn lifted_bytes(session: &Session, args: &Payload<Ref>) -> usize {
    let bytes = |&of: &Ref| if session.kind(of) == Kind::Readable { READER_BYTES } else { STUB_BYTES };
    args.refs().iter().map(bytes).sum()
}

/// Returns the bytes that decoded arguments take, in addition to their text. The arguments were
/// part of a message of at most `nodes` JSON values.
pub(crate) fn decoded_bytes(args: &Payload<Ref>, nodes: usize) -> usize {
    let len = args.text_len();
    if len <= SHORT_BYTES {
        return 0;
    }
    // A message that consists mostly of one long string need not be searched.
    let most = nodes.saturating_mul(DECODED_BYTES);
    if most <= len { most } else { DECODED_BYTES * values(args.cursor()) }
}

/// Returns the number of JSON values at the cursor.
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
    // The text was checked when it was received, so there is no error; if there were one, the
    // values before it would count.
    drop(cursor.walk(&mut count));
    count.0
}
