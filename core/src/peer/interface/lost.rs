//! The failures of calls whose object, or whose outcome, was lost with a process.

use crate::error::ErrorCode;
use crate::value::Payload;
use crate::wire::coded_error_text;

/// The code with which calls fail whose object was not restored, or whose outcome cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestoreFailure(pub(crate) ErrorCode);

impl RestoreFailure {
    /// Returns the rejection of a call on the object.
    pub(crate) fn payload<R>(&self) -> Payload<R> {
        let message = match &self.0 {
            ErrorCode::PermissionDenied => "The object was not restored: access is not permitted.",
            ErrorCode::RestorerUnknown => "The object was not restored: no restorer is registered for it.",
            ErrorCode::CapabilityLost => "The object was lost with the process that held it.",
            ErrorCode::StreamInterrupted => "The stream was interrupted by the end of the process that held it.",
            // The log of recorded calls refuses a call.
            ErrorCode::StoreUnavailable => "The call did not run: the session store is not available.",
            ErrorCode::SessionElsewhere => "The call did not run: another process has taken over its session.",
            ErrorCode::StoreCorrupt => "The call did not run: its outcome in the session store cannot be read.",
            _ => "The object could not be restored.",
        };
        Payload::plain(coded_error_text(self.0.as_str(), message))
    }
}

/// Returns the rejection of a call that may or may not have run.
pub(crate) fn outcome_unknown<R>() -> Payload<R> {
    let message = "The other side was restarted; the call may or may not have run.";
    Payload::plain(coded_error_text(ErrorCode::CallOutcomeUnknown.as_str(), message))
}
