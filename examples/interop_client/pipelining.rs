//! Calls on results that have not arrived yet, and the order of calls.

use bowline::{CallError, Promise, Value};
use serde_json::json;

use crate::contract::{InteropRef, LogRef};
use crate::kit::{Context, Outcome, caught, json};

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let outcome = async {
        Ok(Some(match step {
            "pipeline-chain" => json!(m.make_node(0.0).next().next().next().next().add(10.0).value().await?),
            "pipeline-argument" => json!(m.square(m.square(3.0)).await?),
            "pipeline-capability-argument" => {
                json!(m.increment_counter(m.make_counter(4.0), Some(9.0)).await?)
            }
            "pipeline-error" => json!(caught(Promise::stub(&m.throw_error()).call("foo", ()).await)),
            "pipeline-late" => json!(m.late_counter(60.0, 4.0).increment(Some(3.0)).await?),
            "promise-in-result" => {
                let result = m.promise_in_result(40.0, 4.0).await?;
                json!([result.now, result.counter.increment(Some(2.0)).await?])
            }
            "unpulled-call" => json!(unpulled(m).await?),
            "order-log" => json(&Value::Array(in_order(&m.make_log(), 30).await?)),
            "order-late" => json(&Value::Array(in_order(&m.late_log(40.0), 20).await?)),
            _ => return Ok(None),
        }))
    };
    outcome.await.transpose()
}

async fn unpulled(m: &InteropRef) -> Result<f64, CallError> {
    let _unpulled = m.shared().increment(Some(4.0));
    m.shared().value().await
}

/// Appends `n` entries without awaiting the calls, then reads the list.
async fn in_order(log: &LogRef, n: u32) -> Result<Vec<Value>, CallError> {
    let _unpulled: Vec<_> = (0..n).map(|i| log.append(Value::from(i))).collect();
    log.entries().await
}
