//! The objects that Bowline's server offers to programs, equivalent to those of programs.mjs.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline::error::ErrorValue;
use bowline::value::Object;
use bowline::{Promise, Reference, Stub, Thrown, Value};
use serde::Serialize;
use tokio::sync::oneshot;

#[bowline::interface]
pub(super) trait Workshop {
    async fn echo(&self, value: Value) -> Value;
    async fn list(&self, #[rpc(rest)] values: Vec<Value>) -> Vec<Value>;
    async fn counter(&self, n: Value) -> CounterRef;
    #[rpc(get)]
    async fn tools(&self) -> Value;
    #[rpc(get)]
    async fn gauge(&self) -> CounterRef;
    async fn fail(&self, message: String) -> Result<Value, ErrorValue>;
    async fn later(&self, name: String) -> Result<Value, ErrorValue>;
    async fn pair(&self, name: String) -> Pair;
    async fn finish(&self, name: String, value: Value) -> bool;
    async fn fault(&self, name: String) -> bool;
    async fn apply(&self, func: Value, value: Value) -> Result<Value, Thrown>;
    async fn hold(&self, value: Value) -> bool;
    #[rpc(get)]
    async fn held(&self) -> Value;
}

#[bowline::interface]
pub(super) trait Counter {
    async fn inc(&self, by: Value) -> f64;
    #[rpc(get)]
    async fn value(&self) -> f64;
    async fn peer(&self) -> CounterRef;
}

#[derive(Serialize)]
pub(super) struct Pair {
    n: u32,
    counter: Promise<Value, ErrorValue>,
}

struct Count(Mutex<f64>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(n: f64) -> CounterRef {
    CounterRef::new(Count(Mutex::new(n)))
}

impl Counter for Count {
    async fn inc(&self, by: Value) -> f64 {
        let mut n = locked(&self.0);
        *n += by.as_f64().unwrap_or(1.0);
        *n
    }

    async fn value(&self) -> f64 {
        *locked(&self.0)
    }

    async fn peer(&self) -> CounterRef {
        count(*locked(&self.0) + 100.0)
    }
}

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Result<Value, ErrorValue>>>>>;

/// The root object. Each session has its own.
#[derive(Default)]
pub(super) struct Bench {
    waiting: Waiting,
    held: Mutex<Value>,
}

impl Bench {
    fn wait(&self, name: String) -> impl Future<Output = Result<Value, ErrorValue>> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        locked(&self.waiting).insert(name, sender);
        // A promise that is replaced is never settled, as in JavaScript.
        async move {
            match receiver.await {
                Ok(outcome) => outcome,
                Err(_) => pending().await,
            }
        }
    }
}

impl Workshop for Bench {
    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn list(&self, values: Vec<Value>) -> Vec<Value> {
        values
    }

    async fn counter(&self, n: Value) -> CounterRef {
        count(n.as_f64().unwrap_or_default())
    }

    async fn tools(&self) -> Value {
        let list = Value::Array(vec![1.into(), vec![Value::from(2), 3.into()].into()]);
        let deep = Object::from([("n", Value::from(1)), ("list", list), ("none", Value::Null)]);
        let counter = count(5.0).stub().clone().into_value();
        Object::from([("deep", Value::from(deep)), ("counter", counter)]).into()
    }

    async fn gauge(&self) -> CounterRef {
        count(7.0)
    }

    async fn fail(&self, message: String) -> Result<Value, ErrorValue> {
        Err(ErrorValue::new("TypeError", message).with_prop("code", 7))
    }

    async fn later(&self, name: String) -> Result<Value, ErrorValue> {
        self.wait(name).await
    }

    async fn pair(&self, name: String) -> Pair {
        Pair { n: 1, counter: Promise::new(self.wait(name)) }
    }

    async fn finish(&self, name: String, value: Value) -> bool {
        let value = if value.as_str() == Some("counter") { count(20.0).stub().clone().into_value() } else { value };
        let waiting = locked(&self.waiting).remove(&name);
        waiting.map(|waiting| drop(waiting.send(Ok(value)))).is_some()
    }

    async fn fault(&self, name: String) -> bool {
        let waiting = locked(&self.waiting).remove(&name);
        waiting.map(|waiting| drop(waiting.send(Err(ErrorValue::new("RangeError", "broken"))))).is_some()
    }

    async fn apply(&self, func: Value, value: Value) -> Result<Value, Thrown> {
        match Stub::from_value(&func) {
            // Arguments are held until the call ends, as in JavaScript.
            Some(func) => Ok(func.apply([value.clone()]).await?),
            None => Err(ErrorValue::new("TypeError", "func is not a function").into()),
        }
    }

    async fn hold(&self, value: Value) -> bool {
        *locked(&self.held) = value;
        true
    }

    async fn held(&self) -> Value {
        locked(&self.held).clone()
    }
}
