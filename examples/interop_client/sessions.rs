//! Several sessions, HTTP batches, and servers that misbehave.

use std::time::Duration;

use bowline::error::ConnectError;
use bowline::{CallError, Func, Reference, Session, Thrown, Value, batch};
use serde_json::json;
use tokio::time::sleep;

use crate::contract::InteropRef;
use crate::describe::describe;
use crate::disposal::counted;
use crate::kit::{Context, Outcome, caught, json};

pub(crate) async fn run(step: &str, context: &Context) -> Option<Outcome> {
    let Context { m, url, .. } = context;
    Some(match step {
        "session-isolation" => isolation(url).await,
        "three-party" => three_party(m, url).await,
        "disconnect-releases" => disconnect(m, url).await,
        "leak-free" => leak_free(url).await,
        "batch" | "batch-pipeline" | "batch-error" => in_batch(step, url).await,
        "still-alive" => m.square(12.0).await.map_err(Into::into).map(|n| json!(n)),
        _ => hostile(step.strip_prefix("hostile-")?, context).await,
    })
}

async fn isolation(url: &str) -> Outcome {
    let (first, second) = (connect(url).await?, connect(url).await?);
    let counts = [root(&first).shared().increment(Some(9.0)).await?, root(&second).shared().value().await?];
    first.close().await;
    second.close().await;
    Ok(json!(counts))
}

async fn three_party(m: &InteropRef, url: &str) -> Outcome {
    let other = connect(url).await?;
    let double = Func::<(f64,), f64>::new(|(x,)| async move { x * 2.0 });
    root(&other).hold("three-party", double.stub()).await?;
    let doubled = m.call_held("three-party", [Value::from(21)]).await?;
    other.close().await;
    Ok(json(&doubled))
}

async fn disconnect(m: &InteropRef, url: &str) -> Outcome {
    let other = connect(url).await?;
    let _kept = root(&other).make_tracked_tree("dx").await?;
    let before = m.live_count("dx").await?;
    other.close().await;
    Ok(json!([before, counted(m, "dx", 0).await?]))
}

async fn leak_free(url: &str) -> Outcome {
    let session = connect(url).await?;
    let m = root(&session);
    m.mark("leak-free").await?;
    let mut calls = 0;
    for i in (0..10).map(f64::from) {
        m.square(i).await?;
        m.call_function(Func::try_new(|(x,): (f64,)| async move { Ok::<_, Thrown>(x.into()) }), i).await?;
        caught(m.throw_error().await);
        m.make_counter(i).increment(Some(1.0)).await?;
        drop(m.deep_result().await?);
        calls += 5;
    }
    sleep(Duration::from_millis(50)).await;
    session.close().await;
    Ok(json!(calls))
}

async fn in_batch(step: &str, url: &str) -> Outcome {
    let batch = batch(url)?;
    let m: InteropRef = batch.root();
    match step {
        "batch" => {
            let (square, number, null) =
                batch.send(async { tokio::join!(m.square(6.0), m.return_number(4.0), m.return_null()) }).await;
            let null = null?.map_or(Value::Null, Value::from);
            Ok(json!([square?, number?, describe(&null)]))
        }
        "batch-pipeline" => {
            let counter = m.make_counter(2.0);
            let calls = (counter.increment(Some(3.0)), m.increment_counter(&counter, Some(4.0)));
            let (five, nine) = batch.send(async { tokio::join!(calls.0, calls.1) }).await;
            Ok(json!([five?, nine?]))
        }
        _ => {
            let (nine, error) = batch.send(async { tokio::join!(m.square(3.0), m.throw_error()) }).await;
            Ok(json!([nine?, caught(error)]))
        }
    }
}

async fn hostile(kind: &str, context: &Context) -> Outcome {
    let session = connect(format!("{}/{kind}", context.hostile)).await?;
    let result: Result<f64, CallError> = root(&session).square(2.0).await;
    Ok(match (kind, result) {
        (_, Ok(n)) => json!(n),
        ("abort", error) => json!(caught(error)),
        (_, Err(_)) => json!("rejected"),
    })
}

fn root(session: &Session) -> InteropRef {
    session.root()
}

/// Opens a plain session, as any Cap'n Web client does.
async fn connect(url: impl Into<String>) -> Result<Session, ConnectError> {
    Session::builder(url).plain().connect().await
}
