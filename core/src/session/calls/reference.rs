//! Reference counting.

use crate::id::ImportId;
use crate::session::state::promises::PromiseState;
use crate::session::state::{ImportState, Output, Ref, Session};
use crate::value::Payload;

impl Session {
    /// Increments the reference count of `of` and returns it.
    pub(in crate::session) fn held(&mut self, of: Ref) -> Ref {
        self.hold(of);
        of
    }

    pub(in crate::session) fn hold(&mut self, of: Ref) {
        match of {
            Ref::Import(id) => {
                if let Some(import) = self.imports.get_mut(id) {
                    import.holds += 1;
                }
            }
            Ref::Target(id) => {
                if let Some(target) = self.targets.get_mut(id) {
                    target.holds += 1;
                }
            }
            Ref::Promise(id) => {
                if let Some(promise) = self.promises.get_mut(id) {
                    promise.holds += 1;
                }
            }
        }
    }

    /// Decrements the reference count of `of`. Drops it, and whatever only it held, when the count
    /// reaches 0.
    pub(in crate::session) fn let_go(&mut self, of: Ref) {
        if !self.let_go_of_many(of) {
            self.let_go_wholly(of);
        }
    }

    /// Decrements the reference count if it is greater than 1. Returns whether it did.
    fn let_go_of_many(&mut self, of: Ref) -> bool {
        let holds = match of {
            Ref::Import(id) => self.imports.get_mut(id).map(|import| &mut import.holds),
            Ref::Target(id) => self.targets.get_mut(id).map(|target| &mut target.holds),
            Ref::Promise(id) => self.promises.get_mut(id).map(|promise| &mut promise.holds),
        };
        match holds {
            Some(holds) if *holds > 1 => {
                *holds -= 1;
                true
            }
            _ => false,
        }
    }

    fn let_go_wholly(&mut self, of: Ref) {
        self.garbage.push(of);
        while let Some(of) = self.garbage.pop() {
            match of {
                Ref::Import(id) => self.let_go_import(id),
                Ref::Target(id) => {
                    let Some(target) = self.targets.get_mut(id) else { continue };
                    target.holds -= 1;
                    if target.holds == 0 {
                        let target = self.targets.remove(id);
                        self.account.remove(&target);
                        if !self.recovery.recipes.is_empty()
                            && let Some(recipe) = self.recovery.recipes.remove(id)
                        {
                            self.account.remove(&recipe);
                            self.garbage.extend(recipe.params.into_refs());
                        }
                        self.outputs.push_back(Output::DropTarget(id));
                    }
                }
                Ref::Promise(id) => {
                    let Some(promise) = self.promises.get_mut(id) else { continue };
                    promise.holds = promise.holds.saturating_sub(1);
                    if promise.holds > 0 {
                        continue;
                    }
                    if let PromiseState::Pending { running, .. } = promise.state {
                        // The method keeps running. It is canceled only if its result was awaited
                        // and the last reference to that is gone; a call that was never awaited
                        // runs to its end.
                        if running && promise.awaited {
                            self.outputs.push_back(Output::Cancel(id));
                        }
                        continue;
                    }
                    self.indexes.remove(of);
                    match self.promises.remove(id).map(|promise| promise.state) {
                        Some(PromiseState::Forwarded(to)) => self.garbage.push(to),
                        Some(PromiseState::Settled(Ok(payload) | Err(payload))) => self.discard(payload),
                        _ => {}
                    }
                }
            }
        }
    }

    fn let_go_import(&mut self, id: ImportId) {
        let Some(import) = self.imports.get_mut(id) else { return };
        import.holds = import.holds.saturating_sub(1);
        if import.holds > 0 || id == ImportId::MAIN {
            import.holds = import.holds.max(u32::from(id == ImportId::MAIN));
            return;
        }
        let Some(import) = self.imports.remove(id) else { return };
        self.indexes.remove(Ref::Import(id));
        self.give_back(id, import.mentions);
        match import.state {
            ImportState::Settled(Ok(payload) | Err(payload)) => self.discard(payload),
            ImportState::Pending { waiters, .. } => self.account.remove(&waiters),
            ImportState::Stub => {}
        }
    }

    /// Releases `mentions` references of an import at the peer, or withholds that until a snapshot
    /// covers it.
    pub(in crate::session) fn give_back(&mut self, id: ImportId, mentions: i64) {
        if mentions == 0 {
            return;
        }
        if self.recovery.withheld.is_on && id.0 < 0 {
            self.recovery.withheld.releases.push_back((id, mentions));
        } else {
            self.transmit.push_release(id.0, mentions);
        }
    }

    /// Drops a payload that was counted. Its references join the garbage that is being released.
    fn discard(&mut self, payload: Payload<Ref>) {
        self.account.remove(&payload);
        let refs = payload.into_refs();
        if !refs.is_empty() {
            self.garbage.extend(refs);
        }
    }

    /// Releases the references of a payload that was not counted.
    pub(in crate::session) fn let_go_all(&mut self, payload: Payload<Ref>) {
        for of in payload.into_refs() {
            self.let_go(of);
        }
    }
}
