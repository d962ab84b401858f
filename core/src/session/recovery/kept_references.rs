//! References that an application keeps by name. They are all that its next process receives.

use crate::session::state::{Ref, Session};

impl Session {
    /// Keeps a reference under a name, replacing an earlier one. The reference is held until
    /// [`forget`](Self::forget).
    pub fn keep(&mut self, name: &str, of: Ref) {
        if self.closed.is_some() {
            return;
        }
        self.hold(of);
        let before = self.recovery.kept.insert(name.to_owned(), of);
        before.into_iter().for_each(|before| self.release(before));
    }

    /// Returns the reference that is kept under `name`.
    pub fn kept(&self, name: &str) -> Option<Ref> {
        self.recovery.kept.get(name).copied()
    }

    /// Stops keeping a reference. Returns `true` if there was one.
    pub fn forget_kept(&mut self, name: &str) -> bool {
        let before = self.recovery.kept.remove(name);
        before.into_iter().for_each(|before| self.release(before));
        before.is_some()
    }

    /// Returns the names of all kept references, sorted.
    pub fn kept_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.recovery.kept.keys().map(String::as_str)
    }
}
