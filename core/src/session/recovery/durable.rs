//! State that is recorded while a session runs, so that another process can recover it.

use crate::id::{Ids, PromiseId, TargetId};
use crate::session::state::{Path, Recipe, Ref, Rerun, Session};
use crate::value::Payload;

impl Session {
    /// Sets the recipe of a local object, replacing an earlier one. Takes over one hold of each
    /// reference in it.
    pub fn set_recipe(&mut self, target: TargetId, recipe: Recipe) {
        if self.targets.get(target).is_none() {
            return self.let_go_all(recipe.params);
        }
        let before = self.recovery.recipes.remove(target);
        self.account.remove(&before);
        self.account.add(&recipe);
        self.recovery.recipes.insert(target, recipe);
        before.into_iter().for_each(|before| self.let_go_all(before.params));
    }

    /// Returns the recipe of a local object, if it has one.
    pub fn recipe(&self, target: TargetId) -> Option<&Recipe> {
        self.recovery.recipes.get(target)
    }

    /// Keeps a delivery that was returned, so that another process repeats it if it is not
    /// settled in this one. Takes over one hold of each reference in `args`.
    pub fn keep_for_rerun(&mut self, call: PromiseId, target: TargetId, path: Path, args: Option<Payload<Ref>>) {
        if !self.is_pending(call) || self.targets.get(target).is_none() {
            return args.into_iter().for_each(|args| self.let_go_all(args));
        }
        self.hold(Ref::Target(target));
        // It was kept before if it has waited for its object.
        self.drop_rerun(call);
        let rerun = Rerun { target, path, args };
        self.account.add(&rerun);
        self.recovery.reruns.insert(call, rerun);
    }

    /// Withholds releases of the peer's exports until [`release_withheld`](Self::release_withheld).
    pub fn withhold_releases(&mut self) {
        self.recovery.withheld.is_on = true;
    }

    /// Returns the number of withheld releases. A snapshot taken now covers them.
    pub fn withheld_len(&self) -> usize {
        self.recovery.withheld.releases.len()
    }

    /// Sends the first `count` withheld releases.
    pub fn release_withheld(&mut self, count: usize) {
        let count = count.min(self.recovery.withheld.releases.len());
        let releases: Vec<_> = self.recovery.withheld.releases.drain(..count).collect();
        for (id, mentions) in releases {
            self.transmit.push_release(id.0, mentions);
        }
    }

    /// Returns the next ids of both sides.
    pub fn ids(&self) -> Ids {
        Ids {
            next_positive: self.next.import,
            next_negative: self.next.export,
            peer_next_positive: self.next.answer,
            peer_next_negative: self.next.peer_export - 1,
        }
    }
}
