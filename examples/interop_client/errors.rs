//! Calls that fail.

use bowline::value::Object;
use bowline::{Reference, Value};
use serde_json::json;

use crate::kit::{Context, Outcome, caught};

pub(crate) async fn run(step: &str, Context { m, .. }: &Context) -> Option<Outcome> {
    let described = match step {
        "error-class" => caught(m.throw_error().await),
        "error-properties" => caught(m.throw_detailed().await),
        "error-cause" => caught(m.throw_cause(1).await),
        "error-aggregate" => caught(m.throw_aggregate().await),
        "error-unknown-method" => caught(m.stub().call("nope", ()).await),
        "error-value" => caught(m.throw_value(Value::from(Object::from([("code", 7)]))).await),
        "error-then-continue" => {
            caught(m.throw_error().await);
            return Some(m.square(9.0).await.map_err(Into::into).map(|n| json!(n)));
        }
        _ => return None,
    };
    Some(Ok(json!(described)))
}
