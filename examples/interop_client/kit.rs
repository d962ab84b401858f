//! Helpers for steps.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bowline::error::{ErrorValue, SessionError};
use bowline::{CallError, RpcError, Value};
use serde_json::{Value as Json, json};

use crate::contract::InteropRef;
use crate::describe::describe;

/// The value that a step prints, or the error that stopped it.
pub(crate) type Outcome = Result<Json, Box<dyn Error + Send + Sync>>;

/// The attempt of one module to run a step; `None` if the step is not one of its steps.
pub(crate) type Area<'c> = Pin<Box<dyn Future<Output = Option<Outcome>> + Send + 'c>>;

/// What steps need.
pub(crate) struct Context {
    /// The root object of a session that lasts from the first step to the last.
    pub(crate) m: InteropRef,
    pub(crate) url: String,
    pub(crate) hostile: String,
}

pub(crate) fn failure(text: &str) -> Box<dyn Error + Send + Sync> {
    text.into()
}

/// Describes the error that a call failed with.
pub(crate) fn caught<T, E: RpcError>(result: Result<T, CallError<E>>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(CallError::Session(SessionError::Closed(closed))) => {
            describe(&ErrorValue::new(closed.cause.name(), &closed.message).into())
        }
        Err(error) => describe(&error.to_value()),
    }
}

/// Polls every 10 ms, for at most two seconds, until the result is `want`. Returns the last result.
pub(crate) async fn until<T: PartialEq, E, F>(mut ask: impl FnMut() -> F, want: T) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    for _ in 0..200 {
        let answer = ask().await?;
        if answer == want {
            return Ok(answer);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ask().await
}

/// Converts plain data to JSON.
pub(crate) fn json(value: &Value) -> Json {
    match value {
        Value::Bool(b) => json!(b),
        Value::Number(n) => json!(n),
        Value::String(text) => json!(text),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Object(object) => object.iter().map(|(key, value)| (key.to_owned(), json(value))).collect(),
        _ => Json::Null,
    }
}
