//! Objects and functions of the client that the server calls, and objects of the server that are passed
//! back to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bowline::error::ErrorValue;
use bowline::value::Object;
use bowline::{Func, Reference, RpcError, Stub, Thrown, Value};
use serde_json::json;

use crate::contract::{CounterRef, Guest, GuestRef, InteropRef, Unary};
use crate::counter::Count;
use crate::kit::{Context, Outcome, failure, json};

/// The object of the client that the server pipelines and maps over.
#[bowline::interface]
pub(crate) trait Local {
    async fn make_counter(&self, i: f64) -> CounterRef;
    /// Returns the numbers from 1 to `n`.
    async fn list_numbers(&self, n: u32) -> Vec<f64>;
    async fn square(&self, x: f64) -> f64;
}

/// An object with a name.
#[bowline::interface]
pub(crate) trait Named {
    #[rpc(get)]
    async fn name(&self) -> String;
}

struct Here;

impl Local for Here {
    async fn make_counter(&self, i: f64) -> CounterRef {
        counter(i)
    }

    async fn list_numbers(&self, n: u32) -> Vec<f64> {
        (1..=n).map(f64::from).collect()
    }

    async fn square(&self, x: f64) -> f64 {
        x * x
    }
}

struct Ant;

impl Guest for Ant {
    async fn meet(&self, other: Value) -> Result<Value, Thrown> {
        let other = Stub::from_value(&other).map(NamedRef::from_stub);
        match other {
            Some(other) => Ok(format!("met {}", other.name().await?).into()),
            None => Ok("met nobody".into()),
        }
    }
}

struct Bee;

impl Named for Bee {
    async fn name(&self) -> String {
        "bee".to_owned()
    }
}

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let outcome = async {
        Ok(Some(match step {
            "callback" => json!({ "result": json(&m.call_function(plus(1.0, 0), 4.0).await?.result) }),
            "callback-async" => json!({ "result": json(&m.call_function(plus(2.0, 20), 4.0).await?.result) }),
            "callback-error" => callback_error(m).await?,
            "callback-order" => callback_order(m).await?,
            "client-object" => {
                let own = counter(4.0);
                json!([m.increment_counter(&own, Some(9.0)).await?, own.value().await?])
            }
            "server-stub" => {
                let theirs = m.make_counter(5.0).await?;
                let two = theirs.increment(Some(2.0)).await?;
                // `None` would be sent as null, which is not a number. This sends no argument.
                let one_more = json(&theirs.stub().call("increment", ()).await?);
                json!([two, one_more, theirs.value().await?])
            }
            "stub-back" => {
                let theirs = m.make_counter(4.0).await?;
                json!([m.increment_counter(&theirs, Some(6.0)).await?, theirs.value().await?])
            }
            "own-capability-back" => own_back(m).await?,
            "held-callback" => held_callback(m).await?,
            "composed" => composed(m).await?,
            "self-reference" => json!(m.itself().await?.itself().square(3.0).await?),
            "server-pipelines" => {
                let local = InteropRef::from_stub(LocalRef::new(Here).stub().clone());
                json!(m.client_pipeline(local, 10.0, 5.0).await?)
            }
            "server-maps" => {
                let local = InteropRef::from_stub(LocalRef::new(Here).stub().clone());
                json!(m.client_map(local, 4_u32).await?)
            }
            "introduce" => {
                let bee = NamedRef::new(Bee).stub().clone().into_value();
                json(&m.introduce(GuestRef::new(Ant), bee).await?)
            }
            _ => return Ok(None),
        }))
    };
    outcome.await.transpose()
}

fn counter(start: f64) -> CounterRef {
    CounterRef::new(Count::from(start))
}

/// A function that adds `n` after `ms` milliseconds.
fn plus(n: f64, ms: u64) -> Unary<f64, Value> {
    Func::try_new(move |(x,): (f64,)| async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(Value::from(x + n))
    })
}

async fn callback_error(m: &InteropRef) -> Outcome {
    let error = || Thrown(ErrorValue::new("TypeError", "from the client").to_value());
    let fails = Func::try_new(move |(): ()| async move { Err(error()) });
    let caught = m.catch_from(fails).await?;
    Ok(json!({ "message": caught.message, "name": caught.name }))
}

async fn callback_order(m: &InteropRef) -> Outcome {
    let (notes, note) = notes();
    let square = Func::try_new(move |(i,): (f64,)| {
        note(i.into());
        async move { Ok(Value::from(i * i)) }
    });
    let squares = m.call_concurrent(square, 5).await?;
    Ok(json!([json(&Value::Array(squares)), json(&taken(&notes))]))
}

async fn own_back(m: &InteropRef) -> Outcome {
    let own = counter(1.0);
    let object = Object::from([("cap", own.stub().clone().into_value())]);
    let back = m.echo(Value::from(object)).await?;
    let cap = back.get("cap").and_then(Stub::from_value).ok_or_else(|| failure("no capability came back"))?;
    Ok(json!([CounterRef::from_stub(cap).increment(Some(4.0)).await?, own.value().await?]))
}

async fn held_callback(m: &InteropRef) -> Outcome {
    let (notes, note) = notes();
    let noting = Stub::function(move |args| {
        let count = note(args.into_iter().next().unwrap_or_default());
        async move { Ok(Value::Number(count as f64)) }
    });
    m.hold("held-callback", noting).await?;
    let mut printed = vec![];
    for text in ["a", "b"] {
        printed.push(m.call_held("held-callback", [Value::from(text)]).await?);
    }
    if let Value::Array(notes) = taken(&notes) {
        printed.extend(notes);
    }
    Ok(json(&Value::Array(printed)))
}

async fn composed(m: &InteropRef) -> Outcome {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let first = Func::try_new(move |(x,)| async move { Ok(Value::from(number(&x) + 1.0)) });
    let second = Func::try_new(move |(x,)| async move { Ok(Value::from(number(&x) * 10.0)) });
    let composed = m.compose(first, second).await?;
    Ok(json(&composed.call((Value::from(4),)).await?))
}

type Notes = Arc<Mutex<Vec<Value>>>;

/// Returns a list, and a function that appends to it and returns its length.
fn notes() -> (Notes, impl Fn(Value) -> usize + Send + Sync + 'static) {
    let notes = Notes::default();
    let list = Arc::clone(&notes);
    let note = move |value| {
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(value);
        list.len()
    };
    (notes, note)
}

fn taken(notes: &Notes) -> Value {
    Value::Array(std::mem::take(&mut *notes.lock().unwrap_or_else(PoisonError::into_inner)))
}
