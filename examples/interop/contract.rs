//! The interfaces that client and server share. Their data types are in `data`.

use std::sync::Arc;

use bowline::error::ErrorValue;
use bowline::value::Blob;
use bowline::value::{Request, Response};
use bowline::{Bytes, Func, Reader, Stub, Thrown, Value, Writer};

pub(crate) use crate::data::*;

/// A counter that starts at a given number.
#[bowline::interface]
pub(crate) trait Counter {
    /// Adds `amount`, or 1 if it is absent, and returns the new value.
    async fn increment(&self, amount: Option<f64>) -> f64;
    #[rpc(get)]
    async fn value(&self) -> f64;
}

/// An object that is counted under its tag while it exists.
#[bowline::interface]
pub(crate) trait Tracked {
    async fn ping(&self) -> String;
    #[rpc(get)]
    async fn tag(&self) -> String;
    #[rpc(get)]
    async fn index(&self) -> f64;
    /// Returns a new object with the same tag and the next index.
    async fn child(&self) -> TrackedRef;
}

/// A number that leads to other numbers.
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

/// An append-only list.
#[bowline::interface]
pub(crate) trait Log {
    async fn append(&self, entry: Value) -> usize;
    /// Appends after `ms` milliseconds, without delaying other calls.
    async fn append_later(&self, ms: f64, entry: Value) -> usize;
    async fn entries(&self) -> Vec<Value>;
}

/// An object that can be introduced to another one.
#[bowline::interface]
pub(crate) trait Guest {
    async fn meet(&self, other: Value) -> Result<Value, Thrown>;
}

/// A function of one argument, which can fail with any value.
pub(crate) type Unary<A, R> = Func<(A,), R, Thrown>;

/// The root object of every session. Methods that need no state are implemented here.
#[bowline::interface]
pub(crate) trait Interop {
    async fn square(&self, i: f64) -> f64 {
        i * i
    }
    #[rpc(name = "callSquare")]
    async fn call_square(&self, other: InteropRef, i: f64) -> Result<Outcome, Thrown>;
    async fn call_function(&self, func: Unary<f64, Value>, i: f64) -> Result<Outcome, Thrown>;
    async fn throw_error(&self) -> Result<(), ErrorValue>;
    async fn make_counter(&self, i: f64) -> CounterRef;
    async fn increment_counter(&self, c: CounterRef, i: Option<f64>) -> Result<f64, Thrown>;
    async fn generate_fibonacci(&self, n: u32) -> Vec<f64> {
        let pairs = std::iter::successors(Some((0.0, 1.0)), |&(a, b)| Some((b, a + b)));
        pairs.map(|(a, _)| a).take(n as usize).collect()
    }
    async fn return_null(&self) -> Option<f64> {
        None
    }
    async fn return_undefined(&self) {}
    async fn return_number(&self, i: f64) -> f64 {
        i
    }

    async fn echo(&self, v: Value) -> Value {
        v
    }
    async fn describe(&self, v: Value) -> Result<String, Thrown>;
    async fn describe_args(&self, #[rpc(rest)] args: Vec<Value>) -> Result<Vec<String>, Thrown>;
    async fn make(&self, kind: String) -> Result<Value, ErrorValue>;
    async fn arg_count(&self, #[rpc(rest)] args: Vec<Value>) -> usize {
        args.len()
    }
    async fn sum(&self, #[rpc(rest)] numbers: Vec<f64>) -> f64 {
        numbers.iter().fold(0.0, |sum, n| sum + n)
    }

    #[rpc(get)]
    async fn answer(&self) -> u32 {
        42
    }
    #[rpc(get)]
    async fn config(&self) -> Config {
        Config { name: "interop".to_owned(), nested: Nested { list: vec![10.0, 20.0, 30.0], on: true } }
    }
    #[rpc(get)]
    async fn tools(&self) -> Tools;
    /// Returns the session's counter, the same one on every call.
    #[rpc(get)]
    async fn shared(&self) -> CounterRef;
    #[rpc(get)]
    async fn failing_property(&self) -> Result<(), ErrorValue>;

    async fn throw_named(&self, name: String, message: String) -> Result<(), ErrorValue> {
        Err(ErrorValue::new(name, message))
    }
    async fn throw_detailed(&self) -> Result<(), ErrorValue>;
    async fn throw_cause(&self, depth: u32) -> Result<(), ErrorValue>;
    async fn throw_aggregate(&self) -> Result<(), ErrorValue>;
    async fn throw_value(&self, v: Value) -> Result<(), Thrown> {
        Err(Thrown(v))
    }
    async fn throw_with_capability(&self) -> Result<(), ErrorValue>;
    async fn throw_later(&self, ms: f64, name: String, message: String) -> Result<(), ErrorValue>;
    async fn return_error(&self, name: String, message: String) -> ErrorValue {
        ErrorValue::new(name, message)
    }
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

    async fn list_numbers(&self, n: u32) -> Vec<f64> {
        (0..n).map(f64::from).collect()
    }
    async fn list_counters(&self, n: u32) -> Vec<CounterRef>;
    async fn list_records(&self, n: u32) -> Vec<Record> {
        (0..n).map(f64::from).map(|id| Record { id, name: format!("item-{id}") }).collect()
    }
    async fn matrix(&self, rows: u32, cols: u32) -> Vec<Vec<f64>> {
        (0..rows).map(|r| (0..cols).map(|c| f64::from(r) * f64::from(cols) + f64::from(c)).collect()).collect()
    }

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
    /// Calls `func` `n` times, all before the first result arrives.
    async fn call_concurrent(&self, func: Unary<f64, Value>, n: u32) -> Result<Vec<Value>, Thrown>;
    async fn client_pipeline(&self, cap: InteropRef, i: f64, amount: f64) -> Result<f64, Thrown>;
    async fn client_map(&self, cap: InteropRef, n: u32) -> Result<Vec<f64>, Thrown>;
    async fn compose(&self, f: Unary<Value, Value>, g: Unary<Value, Value>) -> Unary<Value, Value>;
    async fn introduce(&self, a: GuestRef, b: Value) -> Result<Value, Thrown>;

    async fn make_tracked(&self, tag: String) -> TrackedRef;
    async fn make_tracked_tree(&self, tag: String) -> TrackedTree;
    async fn late_tracked(&self, ms: f64, tag: String) -> TrackedRef;
    async fn live_count(&self, tag: String) -> usize;
    /// Takes a capability and drops it.
    async fn take_cap(&self, cap: Value) -> String {
        "taken".to_owned()
    }

    async fn make_log(&self) -> LogRef;
    async fn late_log(&self, ms: f64) -> LogRef;

    async fn download(&self, n: u32, size: usize) -> Reader<Bytes>;
    async fn download_values(&self, n: u32) -> Reader<Item>;
    async fn download_failing(&self, n: u32, message: String) -> Reader<Item>;
    /// Streams about one item per millisecond. The stream is counted under the tag until it is canceled.
    async fn download_endless(&self, tag: String) -> Reader<Item>;
    async fn stream_of_counters(&self, n: u32) -> Reader<CounterRef>;
    async fn stream_in_object(&self, n: u32, size: usize) -> Labelled;
    async fn upload(&self, readable: Reader<Bytes>) -> Result<Uploaded, Thrown>;
    async fn upload_values(&self, readable: Reader<Value>) -> Result<Vec<Value>, Thrown>;
    async fn upload_some(&self, readable: Reader<Value>, n: usize) -> Result<Vec<Value>, Thrown>;
    async fn upload_until_error(&self, readable: Reader<Value>) -> Ended;
    async fn upload_counters(&self, readable: Reader<CounterRef>) -> Result<f64, Thrown>;
    async fn echo_stream(&self, readable: Reader<Value>) -> Reader<Value> {
        readable
    }
    async fn open_sink(&self, key: String) -> Writer<Value>;
    async fn open_slow_sink(&self, key: String, ms: f64) -> Writer<Value>;
    async fn open_failing_sink(&self, key: String, fail_at: usize, message: String) -> Writer<Value>;
    async fn sink_status(&self, key: String) -> Result<SinkStatus, ErrorValue>;
    async fn write_to(&self, writable: Writer<Bytes>, n: u32, size: usize) -> Result<u32, Thrown>;
    async fn write_and_abort(&self, writable: Writer<Item>, n: u32, message: String) -> Result<u32, Thrown>;
    async fn write_until_error(&self, writable: Writer<Item>, n: u32) -> Written;

    async fn echo_blob(&self, blob: Blob) -> Blob {
        blob
    }
    async fn make_blob(&self, text: String, mime: String) -> Blob {
        Blob::new(mime, text)
    }
    async fn make_blobs(&self, n: u32) -> Vec<Blob> {
        (0..n).map(|i| Blob::new("text/plain", format!("blob {i}"))).collect()
    }
    async fn blob_info(&self, blob: Blob) -> Result<BlobInfo, Thrown>;
    async fn inspect_request(&self, req: Request) -> Result<RequestInfo, Thrown>;
    async fn inspect_response(&self, resp: Response) -> Result<ResponseInfo, Thrown>;
    async fn make_request(
        &self,
        url: String,
        method: String,
        headers: Vec<(String, String)>,
        body: Option<String>,
    ) -> Result<Request, ErrorValue>;
    async fn make_response(
        &self,
        status: u16,
        headers: Vec<(String, String)>,
        body: Option<String>,
    ) -> Result<Response, ErrorValue>;

    async fn mark(&self, label: String) -> String {
        label
    }
}
