//! Objects of a recovered session that have not been restored. Calls on them wait, in order.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::id::TargetId;
use crate::peer::host::jobs::Job;
use crate::peer::host::shared::{Shared, State};
use crate::peer::host::target::Call;
use crate::session::Recipe;
use crate::value::Payload;

/// The objects of a recovered session, which are restored on demand.
#[derive(Default)]
pub(crate) struct Dormant {
    pub(crate) objects: Vec<DormantObject>,
    /// Starts to restore an object.
    pub(crate) restore: Option<fn(&Arc<Shared>, usize)>,
}

/// An object that may not have been restored yet.
pub(crate) struct DormantObject {
    /// The targets that refer to the object in the session.
    pub(crate) targets: Vec<TargetId>,
    /// The recipe. Until the object is restored, it holds one reference count for each reference among its
    /// parameters.
    pub(crate) recipe: Recipe,
    /// The objects that it is built from.
    pub(crate) parts: Vec<usize>,
    pub(crate) progress: Progress,
}

pub(crate) enum Progress {
    /// No call has needed the object yet.
    Unneeded,
    /// It is being restored, and these wait for it.
    Restoring {
        calls: Vec<Call>,
        waiters: Vec<oneshot::Sender<()>>,
    },
    Done,
}

impl DormantObject {
    /// Creates an entry that needs no restoring.
    pub(crate) fn done() -> Self {
        let recipe = Recipe { restorer: String::new(), version: 0, params: Payload::default() };
        Self { targets: Vec::new(), recipe, parts: Vec::new(), progress: Progress::Done }
    }
}

impl State {
    /// Queues a call until its object is restored.
    pub(crate) fn await_object(&mut self, at: usize, call: Call) -> Option<Job> {
        self.need_object(at);
        match self.dormant.objects.get_mut(at).map(|object| &mut object.progress) {
            Some(Progress::Restoring { calls, .. }) => {
                calls.push(call);
                None
            }
            // The object was released, and its target was removed.
            _ => Some(Job::Deliver(Call { entry: None, ..call })),
        }
    }

    /// Removes a target of an object that has not been restored. Without targets, the object never will be.
    pub(crate) fn forget_dormant(&mut self, at: usize, target: TargetId) {
        let Some(object) = self.dormant.objects.get_mut(at) else { return };
        object.targets.retain(|&other| other != target);
        if object.targets.is_empty() && matches!(object.progress, Progress::Unneeded) {
            let object = std::mem::replace(object, DormantObject::done());
            object.recipe.params.into_refs().into_iter().for_each(|of| self.endpoint.session.release(of));
        }
    }

    /// Starts to restore an object, unless that has begun before.
    pub(crate) fn need_object(&mut self, at: usize) {
        let Some(object) = self.dormant.objects.get_mut(at) else { return };
        if let Progress::Unneeded = object.progress {
            object.progress = Progress::Restoring { calls: Vec::new(), waiters: Vec::new() };
            self.deferred.push(Job::Restore(at));
        }
    }
}
