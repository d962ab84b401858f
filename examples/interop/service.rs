//! The root object, which implements the contract.

use std::future::IntoFuture;
use std::sync::Arc;

use bowline::error::ErrorValue;
use bowline::value::Blob;
use bowline::value::{Request, Response};
use bowline::{Bytes, Func, Promise, Reader, Stub, Thrown, Value, Writer};
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;

use crate::contract::{
    BlobInfo, Caught, CounterRef, Deep, DeepEntry, DeepLevel, DeepTools, Ended, GuestRef, Interop, InteropRef, Item,
    Labelled, LogRef, NodeRef, Outcome, Promised, PromisedValue, Repeated, RequestInfo, ResponseInfo, SinkStatus,
    Tools, TrackedBranch, TrackedRef, TrackedTree, Unary, Uploaded, Written,
};
use crate::counter::Count;
use crate::describe::describe;
use crate::fetch;
use crate::made::{self, range_error};
use crate::objects::{Alive, Entries, Number, pause};
use crate::streams::{self, Manner, caught};
use crate::tables::{HELD, LIVE, SINKS};
use crate::text::text;

/// The root object. Each session has its own.
pub(crate) struct Main {
    shared: CounterRef,
}

impl Main {
    pub(crate) fn new() -> Self {
        Self { shared: counter(0.0) }
    }
}

fn counter(start: f64) -> CounterRef {
    CounterRef::new(Count::from(start))
}

fn numbers(n: u32) -> Vec<f64> {
    (0..n).map(f64::from).collect()
}

/// Calls `target[name](...args)`, where the target is a remote object, or plain data that contains
/// functions.
async fn call_property(target: &Value, name: &str, args: Vec<Value>) -> Result<Value, Thrown> {
    let method = match (target, Stub::from_value(target)) {
        (_, Some(stub)) => stub.get(name),
        (Value::Object(object), None) => {
            object.get(name).and_then(Stub::from_value).ok_or_else(|| no_function(name))?
        }
        _ => return Err(no_function(name)),
    };
    Ok(method.apply(args).await?)
}

fn no_function(name: &str) -> Thrown {
    ErrorValue::new("TypeError", format!("'{name}' is not a function.")).into()
}

impl Interop for Main {
    async fn call_square(&self, other: InteropRef, i: f64) -> Result<Outcome, Thrown> {
        Ok(Outcome { result: other.square(i).await?.into() })
    }

    async fn call_function(&self, func: Unary<f64, Value>, i: f64) -> Result<Outcome, Thrown> {
        Ok(Outcome { result: func.call((i,)).await? })
    }

    async fn throw_error(&self) -> Result<(), ErrorValue> {
        Err(range_error("test error"))
    }

    async fn make_counter(&self, i: f64) -> CounterRef {
        counter(i)
    }

    async fn increment_counter(&self, c: CounterRef, i: Option<f64>) -> Result<f64, Thrown> {
        Ok(c.increment(Some(i.unwrap_or(1.0))).await?)
    }

    async fn describe(&self, v: Value) -> Result<String, Thrown> {
        fetch::arrived(&v).await?;
        Ok(describe(&v))
    }

    async fn describe_args(&self, args: Vec<Value>) -> Result<Vec<String>, Thrown> {
        let args = Value::Array(args);
        fetch::arrived(&args).await?;
        Ok(args.as_array().unwrap_or_default().iter().map(describe).collect())
    }

    async fn make(&self, kind: String) -> Result<Value, ErrorValue> {
        made::make(&kind)
    }

    async fn tools(&self) -> Tools {
        Tools {
            add: Func::new(|(a, b)| async move { a + b }),
            deep: DeepTools { mul: Func::new(|(a, b)| async move { a * b }) },
        }
    }

    async fn shared(&self) -> CounterRef {
        self.shared.clone()
    }

    async fn failing_property(&self) -> Result<(), ErrorValue> {
        Err(range_error("property error"))
    }

    async fn throw_detailed(&self) -> Result<(), ErrorValue> {
        Err(made::detailed())
    }

    async fn throw_cause(&self, depth: u32) -> Result<(), ErrorValue> {
        Err(made::caused(depth))
    }

    async fn throw_aggregate(&self) -> Result<(), ErrorValue> {
        Err(made::aggregate())
    }

    async fn throw_with_capability(&self) -> Result<(), ErrorValue> {
        Err(made::with_capability())
    }

    async fn throw_later(&self, ms: f64, name: String, message: String) -> Result<(), ErrorValue> {
        pause(ms).await;
        Err(ErrorValue::new(name, message))
    }

    async fn catch_from(&self, func: Func<(), Value, Thrown>) -> Caught {
        match func.call(()).await {
            Ok(_) => Caught { message: String::new(), name: "none".to_owned() },
            Err(error) => caught(error),
        }
    }

    async fn delay(&self, ms: f64, v: Value) -> Value {
        pause(ms).await;
        v
    }

    async fn make_adder(&self, n: f64) -> Unary<f64, f64> {
        Func::try_new(move |(x,)| async move { Ok(x + n) })
    }

    async fn deep_result(&self) -> Deep {
        let func = Func::try_new(|(x,): (Value,)| async move { Ok(format!("got {}", text(&x))) });
        let list = vec![DeepEntry::Counter { counter: counter(7.0) }, DeepEntry::Func { func }];
        Deep { level: DeepLevel { list }, plain: "text".to_owned() }
    }

    async fn make_node(&self, value: f64) -> NodeRef {
        NodeRef::new(Number(value))
    }

    async fn late_counter(&self, ms: f64, i: f64) -> CounterRef {
        pause(ms).await;
        counter(i)
    }

    async fn promise_in_result(&self, ms: f64, i: f64) -> Promised {
        let counter = Promise::new(async move {
            pause(ms).await;
            Ok(counter(i))
        });
        Promised { counter, now: true }
    }

    async fn promised_value(&self, ms: f64, v: Value) -> PromisedValue {
        let value = Promise::new(async move {
            pause(ms).await;
            Ok(v)
        });
        PromisedValue { value }
    }

    async fn broken_promise_in_result(&self, ms: f64, message: String) -> Promised {
        let counter = Promise::new(async move {
            pause(ms).await;
            Err(range_error(message))
        });
        Promised { counter, now: true }
    }

    async fn late_failure(&self, ms: f64, message: String) -> Result<(), ErrorValue> {
        pause(ms).await;
        Err(range_error(message))
    }

    async fn list_counters(&self, n: u32) -> Vec<CounterRef> {
        numbers(n).into_iter().map(counter).collect()
    }

    async fn itself(self: Arc<Self>) -> InteropRef {
        InteropRef::from_arc(self)
    }

    async fn repeat_cap(&self, tag: String, n: usize) -> Repeated {
        Repeated { list: vec![Alive::make(&tag, 0.0); n] }
    }

    async fn hold(&self, key: String, cap: Stub) {
        HELD.put(key, cap);
    }

    async fn call_held(&self, key: String, args: Vec<Value>) -> Result<Value, Thrown> {
        Ok(HELD.get(&key)?.apply(args).await?)
    }

    async fn call_held_method(&self, key: String, name: String, args: Vec<Value>) -> Result<Value, Thrown> {
        Ok(HELD.get(&key)?.get(name).apply(args).await?)
    }

    async fn get_held(&self, key: String) -> Result<Stub, ErrorValue> {
        HELD.get(&key)
    }

    async fn drop_held(&self, key: String) -> bool {
        HELD.remove(&key).is_some()
    }

    async fn is_held(&self, key: String) -> bool {
        HELD.contains(&key)
    }

    async fn call_method(&self, cap: Value, name: String, args: Vec<Value>) -> Result<Value, Thrown> {
        call_property(&cap, &name, args).await
    }

    async fn call_many(&self, func: Unary<f64, Value>, n: u32) -> Result<Vec<Value>, Thrown> {
        let mut results = Vec::new();
        for i in numbers(n) {
            results.push(func.call((i,)).await?);
        }
        Ok(results)
    }

    async fn call_concurrent(&self, func: Unary<f64, Value>, n: u32) -> Result<Vec<Value>, Thrown> {
        let calls: Vec<_> = numbers(n).into_iter().map(|i| func.call((i,))).collect();
        Ok(try_join_all(calls.into_iter().map(IntoFuture::into_future)).await?)
    }

    async fn client_pipeline(&self, cap: InteropRef, i: f64, amount: f64) -> Result<f64, Thrown> {
        Ok(cap.make_counter(i).increment(Some(amount)).await?)
    }

    async fn client_map(&self, cap: InteropRef, n: u32) -> Result<Vec<f64>, Thrown> {
        Ok(cap.list_numbers(n).map_each(|x| cap.square(x)).await?)
    }

    async fn compose(&self, f: Unary<Value, Value>, g: Unary<Value, Value>) -> Unary<Value, Value> {
        Func::try_new(move |(x,)| {
            let between = f.call((x,));
            let g = g.clone();
            async move { Ok(g.call((between.await?,)).await?) }
        })
    }

    async fn introduce(&self, a: GuestRef, b: Value) -> Result<Value, Thrown> {
        Ok(a.meet(b).await?)
    }

    async fn make_tracked(&self, tag: String) -> TrackedRef {
        Alive::make(&tag, 0.0)
    }

    async fn make_tracked_tree(&self, tag: String) -> TrackedTree {
        let branch = TrackedBranch { b: Alive::make(&tag, 2.0) };
        TrackedTree { a: Alive::make(&tag, 0.0), list: (Alive::make(&tag, 1.0), branch) }
    }

    async fn late_tracked(&self, ms: f64, tag: String) -> TrackedRef {
        pause(ms).await;
        Alive::make(&tag, 0.0)
    }

    async fn live_count(&self, tag: String) -> usize {
        LIVE.count(&tag)
    }

    async fn make_log(&self) -> LogRef {
        LogRef::new(Entries::default())
    }

    async fn late_log(&self, ms: f64) -> LogRef {
        pause(ms).await;
        LogRef::new(Entries::default())
    }

    async fn download(&self, n: u32, size: usize) -> Reader<Bytes> {
        streams::download(n, size)
    }

    async fn download_values(&self, n: u32) -> Reader<Item> {
        streams::items(n)
    }

    async fn download_failing(&self, n: u32, message: String) -> Reader<Item> {
        streams::failing(n, message)
    }

    async fn download_endless(&self, tag: String) -> Reader<Item> {
        streams::endless(&tag)
    }

    async fn stream_of_counters(&self, n: u32) -> Reader<CounterRef> {
        streams::counters(n)
    }

    async fn stream_in_object(&self, n: u32, size: usize) -> Labelled {
        Labelled { label: "s".to_owned(), stream: streams::download(n, size) }
    }

    async fn upload(&self, readable: Reader<Bytes>) -> Result<Uploaded, Thrown> {
        streams::digest(readable).await
    }

    async fn upload_values(&self, readable: Reader<Value>) -> Result<Vec<Value>, Thrown> {
        Ok(readable.try_collect().await?)
    }

    async fn upload_some(&self, readable: Reader<Value>, n: usize) -> Result<Vec<Value>, Thrown> {
        streams::some(readable, n).await
    }

    async fn upload_until_error(&self, readable: Reader<Value>) -> Ended {
        streams::until_error(readable).await
    }

    async fn upload_counters(&self, readable: Reader<CounterRef>) -> Result<f64, Thrown> {
        streams::incremented(readable).await
    }

    async fn open_sink(&self, key: String) -> Writer<Value> {
        streams::sink(key, Manner::default())
    }

    async fn open_slow_sink(&self, key: String, ms: f64) -> Writer<Value> {
        streams::sink(key, Manner { ms, refuses: None })
    }

    async fn open_failing_sink(&self, key: String, fail_at: usize, message: String) -> Writer<Value> {
        streams::sink(key, Manner { ms: 0.0, refuses: Some((fail_at, message)) })
    }

    async fn sink_status(&self, key: String) -> Result<SinkStatus, ErrorValue> {
        SINKS.status(&key)
    }

    async fn write_to(&self, writable: Writer<Bytes>, n: u32, size: usize) -> Result<u32, Thrown> {
        streams::write(writable, n, size).await
    }

    async fn write_and_abort(&self, writable: Writer<Item>, n: u32, message: String) -> Result<u32, Thrown> {
        streams::write_and_abort(writable, n, message).await
    }

    async fn write_until_error(&self, writable: Writer<Item>, n: u32) -> Written {
        Written { error: streams::write_items(writable, n).await.err().map(caught) }
    }

    async fn blob_info(&self, blob: Blob) -> Result<BlobInfo, Thrown> {
        fetch::info(blob).await
    }

    async fn inspect_request(&self, req: Request) -> Result<RequestInfo, Thrown> {
        fetch::inspect_request(req).await
    }

    async fn inspect_response(&self, resp: Response) -> Result<ResponseInfo, Thrown> {
        fetch::inspect_response(resp).await
    }

    async fn make_request(
        &self,
        url: String,
        method: String,
        headers: Vec<(String, String)>,
        body: Option<String>,
    ) -> Result<Request, ErrorValue> {
        fetch::request(&url, method, &headers, body)
    }

    async fn make_response(
        &self,
        status: u16,
        headers: Vec<(String, String)>,
        body: Option<String>,
    ) -> Result<Response, ErrorValue> {
        fetch::response(status, &headers, body)
    }
}
