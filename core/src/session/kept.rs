//! What an application wants to have again when its own process was another, by names of its own: of
//! all that it holds, this alone outlives it.

use super::{Ref, Session};

impl Session {
    /// Keeps a reference under a name, in place of what was kept under it. It is held until
    /// [`unkeep`](Self::unkeep).
    pub fn keep(&mut self, name: &str, of: Ref) {
        if self.closed.is_some() {
            return;
        }
        self.hold(of);
        let before = self.kept.insert(name.to_owned(), of);
        before.into_iter().for_each(|before| self.release(before));
    }

    /// What is kept under this name.
    pub fn kept(&self, name: &str) -> Option<Ref> {
        self.kept.get(name).copied()
    }

    /// Keeps it no longer; says whether there was something.
    pub fn unkeep(&mut self, name: &str) -> bool {
        let before = self.kept.remove(name);
        before.into_iter().for_each(|before| self.release(before));
        before.is_some()
    }

    /// All names, in order.
    pub fn kept_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.kept.keys().map(String::as_str)
    }
}
