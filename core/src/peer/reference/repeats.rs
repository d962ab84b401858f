//! Repeated calls of durable sessions: which ones run again, which return their recorded outcome, and
//! which fail with `CALL_OUTCOME_UNKNOWN`. See docs/durable.md.

use std::sync::Arc;

use crate::id::PromiseId;
use crate::peer::host::shared::Shared;
use crate::peer::host::target::Origin;
use crate::peer::interface::call_log::{Begun, CallId, CallLog, Named};
use crate::peer::interface::description::{MemberKind, Repeat};
use crate::peer::interface::lost::{RestoreFailure, outcome_unknown};
use crate::peer::interface::object::{Answer, Args, Object, Reply, error_payload};
use crate::peer::reference::local::Body;
use crate::session::{Path, Step};
use crate::value::{Cap, Payload};

/// Bytes of an outcome, beyond which it is not recorded.
const OUTCOME_BYTES_MAX: usize = 64 << 10;

/// How to run a delivery.
pub(crate) enum Plan {
    /// Run it; never run it again.
    Once,
    /// Run it, and let another process run it again if this one ends before the call does.
    Repeat,
    /// Run it unless it ran before, and record its outcome in the log, where another process finds it.
    Record(Arc<dyn CallLog>, i64),
    /// Fail it without running it.
    Refuse,
}

impl Shared {
    /// Decides how to run a delivery of a durable session.
    pub(crate) fn plan(&self, origin: &Origin, repeat: Repeat) -> Plan {
        match repeat {
            Repeat::Idempotent => Plan::Repeat,
            Repeat::Recorded => {
                let log = self.settings().persistence.as_ref().and_then(|persistence| persistence.log());
                match (log, &origin.name) {
                    (Some(log), Some(name)) => Plan::Record(log, name.number()),
                    _ if origin.again => Plan::Refuse,
                    _ => Plan::Once,
                }
            }
            Repeat::Never if origin.again => Plan::Refuse,
            Repeat::Never => Plan::Once,
        }
    }

    /// Lets another process run a delivery again, if the references in its arguments survive a change of the
    /// process.
    pub(crate) fn keep_for_rerun(self: &Arc<Self>, call: PromiseId, kept: Kept) {
        let Kept { target, path, args } = kept;
        let mut state = self.lock();
        if state.closed.is_some() {
            drop(state);
            return drop(args);
        }
        let mut lowering = self.lowering(&mut state);
        let held = args.as_ref().map(|args| lowering.hold_durably(args)).transpose();
        let lowered = lowering.done();
        if let Ok(held) = held {
            state.endpoint.session.keep_for_rerun(call, target, path, held);
        }
        self.finish_lowering(state, lowered);
    }
}

/// What is stored of a delivery so that it can run again.
pub(crate) struct Kept {
    pub(crate) target: crate::id::TargetId,
    pub(crate) path: Path,
    pub(crate) args: Option<Payload<Cap>>,
}

/// Returns what the member at a path declares about repeated calls. Reads can always be repeated.
pub(crate) fn repeat_of(body: &Body, path: &Path, args: Option<&Payload<Cap>>) -> Repeat {
    if args.is_none() {
        return Repeat::Idempotent;
    }
    match (body, &**path) {
        (Body::Object(object), [Step::Name(name)]) => {
            let mut members = object.members().iter();
            let member = members.find(|member| member.name == name && member.kind == MemberKind::Method);
            member.map_or(Repeat::Never, |member| member.repeat)
        }
        _ => Repeat::Never,
    }
}

/// A call of a recorded method.
pub(crate) struct Recorded {
    pub(crate) object: Arc<dyn Object>,
    pub(crate) method: String,
    pub(crate) args: Payload<Cap>,
    pub(crate) name: Option<CallId>,
    pub(crate) log: Arc<dyn CallLog>,
    pub(crate) number: i64,
}

impl Recorded {
    /// Calls the method, unless the log has an entry for the call.
    pub(crate) fn run(self) -> Reply {
        Box::pin(async move {
            match self.log.begin(self.number).await {
                Ok(Begun::Now) => {}
                Ok(Begun::Before) => return Err(outcome_unknown()),
                Ok(Begun::Ended(outcome)) => return read(&outcome),
                Err(code) => return Err(RestoreFailure(code).payload()),
            }
            let started = {
                let _named = self.name.as_ref().map(Named::enter);
                self.object.call(&self.method, Args::new(self.args))
            };
            let answer = match started {
                Some(reply) => reply.await,
                None => Err(error_payload("TypeError", "The method does not exist.")),
            };
            if let Some(outcome) = write(&answer)
                && let Err(code) = self.log.end(self.number, &outcome).await
            {
                tracing::warn!(call = self.number, %code, "the outcome of a call was not recorded");
            }
            answer
        })
    }
}

/// Encodes an outcome for the log. Returns `None` if it contains references or is too long.
fn write(answer: &Answer) -> Option<String> {
    let (mark, payload) = match answer {
        Ok(value) => ('+', value),
        Err(error) => ('-', error),
    };
    let is_kept = payload.refs().is_empty() && payload.text_len() < OUTCOME_BYTES_MAX;
    is_kept.then(|| format!("{mark}{}", payload.text()))
}

fn read(outcome: &str) -> Answer {
    match outcome.split_at_checked(1) {
        Some(("+", text)) => Ok(Payload::plain(text)),
        Some(("-", text)) => Err(Payload::plain(text)),
        _ => Err(outcome_unknown()),
    }
}
