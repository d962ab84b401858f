//! The main object: what the contract promises, method by method.

use std::future::IntoFuture;
use std::sync::Arc;

use bowline::{ErrorValue, Func, Promise, Stub, Thrown, Value};
use futures_util::future::try_join_all;

use crate::contract::{
    Caught, Config, CounterRef, Deep, DeepEntry, DeepLevel, DeepTools, GuestRef, Interop, InteropRef, LogRef, Nested,
    NodeRef, Outcome, Promised, PromisedValue, Record, Repeated, Tools, TrackedBranch, TrackedRef, TrackedTree, Unary,
};
use crate::counter::Count;
use crate::describe::{class, describe};
use crate::made::{self, range_error};
use crate::objects::{Alive, Entries, Number, pause};
use crate::tables::{HELD, LIVE};
use crate::text::text;

/// One for each session.
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

/// `target[name](...args)`, whether the target is an object of a peer's or plain data with
/// functions in it.
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
    async fn square(&self, i: f64) -> f64 {
        i * i
    }

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

    async fn describe(&self, v: Value) -> String {
        describe(&v)
    }

    async fn describe_args(&self, args: Vec<Value>) -> Vec<String> {
        args.iter().map(describe).collect()
    }

    async fn make(&self, kind: String) -> Result<Value, ErrorValue> {
        made::make(&kind)
    }

    async fn arg_count(&self, args: Vec<Value>) -> usize {
        args.len()
    }

    async fn sum(&self, numbers: Vec<f64>) -> f64 {
        numbers.iter().fold(0.0, |sum, n| sum + n)
    }

    async fn answer(&self) -> u32 {
        42
    }

    async fn config(&self) -> Config {
        Config { name: "interop".to_owned(), nested: Nested { list: vec![10.0, 20.0, 30.0], on: true } }
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

    async fn throw_named(&self, name: String, message: String) -> Result<(), ErrorValue> {
        Err(ErrorValue::new(name, message))
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

    async fn throw_value(&self, v: Value) -> Result<(), Thrown> {
        Err(Thrown(v))
    }

    async fn throw_with_capability(&self) -> Result<(), ErrorValue> {
        Err(made::with_capability())
    }

    async fn throw_later(&self, ms: f64, name: String, message: String) -> Result<(), ErrorValue> {
        pause(ms).await;
        Err(ErrorValue::new(name, message))
    }

    async fn return_error(&self, name: String, message: String) -> ErrorValue {
        ErrorValue::new(name, message)
    }

    async fn catch_from(&self, func: Func<(), Value, Thrown>) -> Caught {
        match func.call(()).await {
            Ok(_) => Caught { message: String::new(), name: "none".to_owned() },
            Err(error) => match Thrown::from(error).0 {
                Value::Error(error) => Caught { message: error.message.clone(), name: class(&error).to_owned() },
                other => Caught { message: text(&other), name: "value".to_owned() },
            },
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

    async fn list_numbers(&self, n: u32) -> Vec<f64> {
        numbers(n)
    }

    async fn list_counters(&self, n: u32) -> Vec<CounterRef> {
        numbers(n).into_iter().map(counter).collect()
    }

    async fn list_records(&self, n: u32) -> Vec<Record> {
        numbers(n).into_iter().map(|id| Record { id, name: format!("item-{id}") }).collect()
    }

    async fn matrix(&self, rows: u32, cols: u32) -> Vec<Vec<f64>> {
        (0..rows).map(|r| (0..cols).map(|c| f64::from(r) * f64::from(cols) + f64::from(c)).collect()).collect()
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

    async fn take_cap(&self, _cap: Value) -> String {
        "taken".to_owned()
    }

    async fn make_log(&self) -> LogRef {
        LogRef::new(Entries::default())
    }

    async fn late_log(&self, ms: f64) -> LogRef {
        pause(ms).await;
        LogRef::new(Entries::default())
    }

    async fn mark(&self, label: String) -> String {
        label
    }
}
