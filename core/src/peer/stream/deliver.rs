//! Deliveries to a local writable: `write`, `close`, and `abort`, and nothing else.

use std::sync::Arc;

use super::only_argument;
use super::pipe::Receipt;
use super::writer::Writable;
use crate::id::PromiseId;
use crate::peer::host::shared::Shared;
use crate::peer::interface::error::closed_payload;
use crate::peer::interface::object::error_payload;
use crate::peer::reference::local::WritableEnd;
use crate::session::{CloseReason, Step};
use crate::value::{self, Cap, Payload, Value};

impl WritableEnd for Writable {
    /// A write is answered when its chunk is taken.
    fn deliver(&self, shared: &Arc<Shared>, call: PromiseId, path: &[Step], args: Option<Payload<Cap>>) {
        let receipt = Receipt::call(shared, call);
        let Some(args) = args else {
            return refuse(receipt, "Cannot access properties on a WritableStream stub");
        };
        let [Step::Name(method)] = path else {
            return refuse(receipt, "WritableStream stub only supports direct method calls");
        };
        match &**method {
            "write" => self.write(args, receipt),
            "close" => self.close(receipt),
            "abort" => self.abort(reason(args), receipt),
            _ => refuse(receipt, &format!("Unknown WritableStream method: {method:.200}")),
        }
    }

    fn lose_writer(&self, closed: &CloseReason) {
        match self {
            Self::Pipe(entry) => entry.lose_writer(closed_payload(closed)),
            Self::Remote(outlet) => outlet.lose_writer(closed_payload(closed)),
        }
    }

    fn is_read(&self) -> bool {
        matches!(self, Self::Pipe(entry) if entry.is_read())
    }
}

fn refuse(receipt: Receipt, message: &str) {
    receipt.settle(Err(error_payload("Error", message)));
}

/// The most bytes of the reason of an abort. The reason is kept as long as the reader.
const REASON_BYTES: usize = 4 << 10;

/// Returns the first argument.
fn reason(args: Payload<Cap>) -> Payload<Cap> {
    let reason = value::decode_args::<(Value,)>(args).map_or(Value::Undefined, |(reason,)| reason);
    match value::encode(&reason) {
        Ok(reason) if reason.text_len() <= REASON_BYTES => reason,
        Ok(_) => {
            let message = format!("limit: bytes of the reason of an aborted stream (at most {REASON_BYTES})");
            error_payload("RangeError", &message)
        }
        Err(error) => error_payload("TypeError", &error.to_string()),
    }
}

impl Writable {
    pub(super) fn write(&self, args: Payload<Cap>, receipt: Receipt) {
        match self {
            Self::Pipe(entry) => entry.write(args, receipt),
            Self::Remote(outlet) => outlet.send("write", args, receipt),
        }
    }

    pub(super) fn close(&self, receipt: Receipt) {
        match self {
            Self::Pipe(entry) => entry.close(receipt),
            Self::Remote(outlet) => outlet.send("close", Payload::plain("[]"), receipt),
        }
    }

    pub(super) fn abort(&self, reason: Payload<Cap>, receipt: Receipt) {
        match self {
            Self::Pipe(entry) => entry.abort(reason, receipt),
            Self::Remote(outlet) => outlet.send("abort", only_argument(reason), receipt),
        }
    }
}
