//! Calls, arguments, and properties.

use std::future::IntoFuture;

use bowline::{CallError, Promise, Value};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use crate::contract::InteropRef;
use crate::describe::describe;
use crate::kit::{Context, Outcome, json};

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let outcome = async {
        Ok(Some(match step {
            "square" => json!(m.square(5.0).await?),
            "args-none" => json!(m.arg_count([]).await?),
            "args-many" => json!(m.sum((1..=12).map(f64::from)).await?),
            "property" => json!(m.answer().await?),
            "property-path" => json!(m.config().nested().on().await?),
            "property-missing" => json!(describe(&Promise::stub(&m.config()).get("nothing").await?)),
            "path-call" => json!(m.tools().deep().mul().call((4.0, 5.0)).await?),
            "concurrent" => json(&Value::Array(concurrent(m).await?)),
            "calls-200" => json!(calls(m).await?),
            _ => return Ok(None),
        }))
    };
    outcome.await.transpose()
}

/// Returns the results in the order in which they arrive.
async fn concurrent(m: &InteropRef) -> Result<Vec<Value>, CallError> {
    let calls = [m.delay(120.0, Value::from("slow")), m.delay(10.0, Value::from("fast"))];
    let mut arriving: FuturesUnordered<_> = calls.into_iter().map(IntoFuture::into_future).collect();
    let mut arrived = Vec::new();
    while let Some(value) = arriving.next().await {
        arrived.push(value?);
    }
    Ok(arrived)
}

async fn calls(m: &InteropRef) -> Result<f64, CallError> {
    let calls: Vec<_> = (0..200).map(|i| m.square(f64::from(i))).collect();
    Ok(try_join_all(calls.into_iter().map(IntoFuture::into_future)).await?.iter().sum())
}
