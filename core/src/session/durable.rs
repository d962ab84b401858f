//! What is noted while a session runs so that it can be made again in another process.

use super::{Path, Recipe, Ref, Rerun, Session};
use crate::id::{Ids, PromiseId, TargetId};
use crate::value::Payload;

impl Session {
    /// How a local object is made again in another process, in place of what was said before.
    /// Takes over one hold for each reference in it.
    pub fn set_recipe(&mut self, target: TargetId, recipe: Recipe) {
        if self.targets.get(target).is_none() {
            return self.let_go_all(recipe.params);
        }
        let before = self.recipes.remove(target);
        self.account.remove(&before);
        self.account.add(&recipe);
        self.recipes.insert(target, recipe);
        before.into_iter().for_each(|before| self.let_go_all(before.params));
    }

    /// How a local object is made again, if it can be.
    pub fn recipe(&self, target: TargetId) -> Option<&Recipe> {
        self.recipes.get(target)
    }

    /// A delivery that was handed out can be handed out once more in another process, should it
    /// not be settled in this one. Takes over one hold for each reference in `args`.
    pub fn keep_for_rerun(&mut self, call: PromiseId, target: TargetId, path: Path, args: Option<Payload<Ref>>) {
        if !self.is_pending(call) || self.targets.get(target).is_none() {
            return args.into_iter().for_each(|args| self.let_go_all(args));
        }
        self.hold(Ref::Target(target));
        let rerun = Rerun { target, path, args };
        self.account.add(&rerun);
        self.reruns.insert(call, rerun);
    }

    /// From now on, releases of what the peer exports wait for `release_withheld`.
    pub fn withhold_releases(&mut self) {
        self.withheld.is_on = true;
    }

    /// Releases that wait. A snapshot taken now covers them.
    pub fn withheld_len(&self) -> usize {
        self.withheld.releases.len()
    }

    /// The first so many releases that wait are sent.
    pub fn release_withheld(&mut self, count: usize) {
        let count = count.min(self.withheld.releases.len());
        let releases: Vec<_> = self.withheld.releases.drain(..count).collect();
        for (id, mentions) in releases {
            self.transmit.push_release(id.0, mentions);
        }
    }

    /// Where both sides stand with the ids they give.
    pub fn ids(&self) -> Ids {
        Ids {
            next_positive: self.next.import,
            next_negative: self.next.export,
            peer_next_positive: self.next.answer,
            peer_next_negative: self.next.peer_export - 1,
        }
    }
}
