//! The data types of the interfaces, some of which contain references and promises.

use bowline::error::ErrorValue;
use bowline::{Bytes, Func, Promise, Reader, Value};
use serde::{Deserialize, Serialize};

use crate::contract::{CounterRef, TrackedRef, Unary};

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Outcome {
    pub(crate) result: Value,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) nested: Nested,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Nested {
    pub(crate) list: Vec<f64>,
    pub(crate) on: bool,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Tools {
    pub(crate) add: Func<(f64, f64), f64>,
    pub(crate) deep: DeepTools,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct DeepTools {
    pub(crate) mul: Func<(f64, f64), f64>,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Caught {
    pub(crate) message: String,
    pub(crate) name: String,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Deep {
    pub(crate) level: DeepLevel,
    pub(crate) plain: String,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct DeepLevel {
    pub(crate) list: Vec<DeepEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum DeepEntry {
    Counter { counter: CounterRef },
    Func { func: Unary<Value, String> },
}

/// A result that contains the promise of a counter.
#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Promised {
    pub(crate) counter: Promise<CounterRef, ErrorValue>,
    pub(crate) now: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct PromisedValue {
    pub(crate) value: Promise<Value>,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Record {
    pub(crate) id: f64,
    pub(crate) name: String,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Repeated {
    pub(crate) list: Vec<TrackedRef>,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct TrackedTree {
    pub(crate) a: TrackedRef,
    pub(crate) list: (TrackedRef, TrackedBranch),
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct TrackedBranch {
    pub(crate) b: TrackedRef,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) i: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Labelled {
    pub(crate) label: String,
    pub(crate) stream: Reader<Bytes>,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct Uploaded {
    pub(crate) bytes: usize,
    pub(crate) chunks: usize,
    /// Lowercase hexadecimal digits.
    pub(crate) sha256: String,
}

/// The number of chunks that a stream had, and the error that ended it, if any.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) chunks: usize,
    pub(crate) error: Option<Caught>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) error: Option<Caught>,
}

/// The state of a sink and what was written to it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct SinkStatus {
    pub(crate) bytes: usize,
    pub(crate) chunks: usize,
    pub(crate) reason: Option<String>,
    pub(crate) state: SinkState,
    /// Chunks other than bytes.
    pub(crate) values: Vec<Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SinkState {
    #[default]
    Open,
    Closed,
    Aborted,
    Failed,
}

#[derive(Serialize, Deserialize, bowline::Pipeline)]
pub(crate) struct BlobInfo {
    /// Lowercase hexadecimal digits.
    pub(crate) sha256: String,
    pub(crate) size: usize,
    #[serde(rename = "type")]
    pub(crate) mime: String,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RequestInfo {
    pub(crate) body: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) method: String,
    pub(crate) url: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResponseInfo {
    pub(crate) body: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) status: u16,
    pub(crate) status_text: String,
}
