//! The interfaces that both sides agree on, and the data in them.

use std::sync::Arc;

use bowline::{ErrorValue, Func, Promise, Stub, Thrown, Value};
use serde::{Deserialize, Serialize};

/// Counts from the number it was made with.
#[bowline::interface]
pub(crate) trait Counter {
    /// Adds `amount`, or 1, and returns the new value.
    async fn increment(&self, amount: Option<f64>) -> f64;
    #[rpc(get)]
    async fn value(&self) -> f64;
}

/// An object whose life is counted under its tag.
#[bowline::interface]
pub(crate) trait Tracked {
    async fn ping(&self) -> String;
    #[rpc(get)]
    async fn tag(&self) -> String;
    #[rpc(get)]
    async fn index(&self) -> f64;
    /// Another one of the same tag, its index one higher.
    async fn child(&self) -> TrackedRef;
}

/// A number to walk from.
#[bowline::interface]
pub(crate) trait Node {
    #[rpc(get)]
    async fn value(&self) -> f64;
    async fn next(&self) -> NodeRef;
    #[rpc(get, name = "self")]
    async fn itself(self: Arc<Self>) -> NodeRef;
    async fn add(&self, amount: f64) -> NodeRef;
    async fn sum_with(&self, other: NodeRef) -> Result<f64, Thrown>;
    async fn fail(&self, message: String) -> Result<(), ErrorValue>;
}

/// A list that only grows.
#[bowline::interface]
pub(crate) trait Log {
    async fn append(&self, entry: Value) -> usize;
    /// Appends after `ms` milliseconds, and holds up nobody meanwhile.
    async fn append_later(&self, ms: f64, entry: Value) -> usize;
    async fn entries(&self) -> Vec<Value>;
}

/// Somebody who can be introduced to anybody else.
#[bowline::interface]
pub(crate) trait Guest {
    async fn meet(&self, other: Value) -> Result<Value, Thrown>;
}

/// A function of one argument; it may fail with anything.
pub(crate) type Unary<A, R> = Func<(A,), R, Thrown>;

/// The main object of every session.
#[bowline::interface]
pub(crate) trait Interop {
    async fn square(&self, i: f64) -> f64;
    #[rpc(name = "callSquare")]
    async fn call_square(&self, other: InteropRef, i: f64) -> Result<Outcome, Thrown>;
    async fn call_function(&self, func: Unary<f64, Value>, i: f64) -> Result<Outcome, Thrown>;
    async fn throw_error(&self) -> Result<(), ErrorValue>;
    async fn make_counter(&self, i: f64) -> CounterRef;
    async fn increment_counter(&self, c: CounterRef, i: Option<f64>) -> Result<f64, Thrown>;
    async fn generate_fibonacci(&self, n: u32) -> Vec<f64>;
    async fn return_null(&self) -> Option<f64>;
    async fn return_undefined(&self);
    async fn return_number(&self, i: f64) -> f64;

    async fn echo(&self, v: Value) -> Value;
    async fn describe(&self, v: Value) -> String;
    async fn describe_args(&self, #[rpc(rest)] args: Vec<Value>) -> Vec<String>;
    async fn make(&self, kind: String) -> Result<Value, ErrorValue>;
    async fn arg_count(&self, #[rpc(rest)] args: Vec<Value>) -> usize;
    async fn sum(&self, #[rpc(rest)] numbers: Vec<f64>) -> f64;

    #[rpc(get)]
    async fn answer(&self) -> u32;
    #[rpc(get)]
    async fn config(&self) -> Config;
    #[rpc(get)]
    async fn tools(&self) -> Tools;
    /// The same counter throughout the session.
    #[rpc(get)]
    async fn shared(&self) -> CounterRef;
    #[rpc(get)]
    async fn failing_property(&self) -> Result<(), ErrorValue>;

    async fn throw_named(&self, name: String, message: String) -> Result<(), ErrorValue>;
    async fn throw_detailed(&self) -> Result<(), ErrorValue>;
    async fn throw_cause(&self, depth: u32) -> Result<(), ErrorValue>;
    async fn throw_aggregate(&self) -> Result<(), ErrorValue>;
    async fn throw_value(&self, v: Value) -> Result<(), Thrown>;
    async fn throw_with_capability(&self) -> Result<(), ErrorValue>;
    async fn throw_later(&self, ms: f64, name: String, message: String) -> Result<(), ErrorValue>;
    async fn return_error(&self, name: String, message: String) -> ErrorValue;
    async fn catch_from(&self, func: Func<(), Value, Thrown>) -> Caught;

    async fn delay(&self, ms: f64, v: Value) -> Value;
    async fn make_adder(&self, n: f64) -> Unary<f64, f64>;
    async fn deep_result(&self) -> Deep;

    async fn make_node(&self, value: f64) -> NodeRef;
    async fn late_counter(&self, ms: f64, i: f64) -> CounterRef;
    async fn promise_in_result(&self, ms: f64, i: f64) -> Promised;
    async fn promised_value(&self, ms: f64, v: Value) -> PromisedValue;
    async fn broken_promise_in_result(&self, ms: f64, message: String) -> Promised;
    async fn late_failure(&self, ms: f64, message: String) -> Result<(), ErrorValue>;

    async fn list_numbers(&self, n: u32) -> Vec<f64>;
    async fn list_counters(&self, n: u32) -> Vec<CounterRef>;
    async fn list_records(&self, n: u32) -> Vec<Record>;
    async fn matrix(&self, rows: u32, cols: u32) -> Vec<Vec<f64>>;

    #[rpc(name = "self")]
    async fn itself(self: Arc<Self>) -> InteropRef;
    async fn repeat_cap(&self, tag: String, n: usize) -> Repeated;
    async fn hold(&self, key: String, cap: Stub);
    async fn call_held(&self, key: String, #[rpc(rest)] args: Vec<Value>) -> Result<Value, Thrown>;
    async fn call_held_method(&self, key: String, name: String, #[rpc(rest)] args: Vec<Value>)
    -> Result<Value, Thrown>;
    async fn get_held(&self, key: String) -> Result<Stub, ErrorValue>;
    async fn drop_held(&self, key: String) -> bool;
    async fn is_held(&self, key: String) -> bool;
    async fn call_method(&self, cap: Value, name: String, args: Vec<Value>) -> Result<Value, Thrown>;
    async fn call_many(&self, func: Unary<f64, Value>, n: u32) -> Result<Vec<Value>, Thrown>;
    /// As [`call_many`](Self::call_many), all sent before the first answer.
    async fn call_concurrent(&self, func: Unary<f64, Value>, n: u32) -> Result<Vec<Value>, Thrown>;
    async fn client_pipeline(&self, cap: InteropRef, i: f64, amount: f64) -> Result<f64, Thrown>;
    async fn compose(&self, f: Unary<Value, Value>, g: Unary<Value, Value>) -> Unary<Value, Value>;
    async fn introduce(&self, a: GuestRef, b: Value) -> Result<Value, Thrown>;

    async fn make_tracked(&self, tag: String) -> TrackedRef;
    async fn make_tracked_tree(&self, tag: String) -> TrackedTree;
    async fn late_tracked(&self, ms: f64, tag: String) -> TrackedRef;
    async fn live_count(&self, tag: String) -> usize;
    /// Does not keep it.
    async fn take_cap(&self, cap: Value) -> String;

    async fn make_log(&self) -> LogRef;
    async fn late_log(&self, ms: f64) -> LogRef;

    async fn mark(&self, label: String) -> String;
}

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

/// A counter that was promised, in a result that is there.
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
